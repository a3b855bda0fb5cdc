from .atlas.reader import Atlas, open_atlas
from .auditing.audit import audit
from .demo_atlas import demo
from .engine.rules import DECONVNET, GRADIENT, GUIDED, Rule, RuleBook
from .errors import RetroscopeError
from .geometry import Box, Field, ReceptiveField, Window
from .imaging.image import Fit, Image, read_image
from .methods.activations import activations
from .methods.cam.cam import cam, cam_many
from .methods.deconv.deconv import deconv, deconv_many
from .methods.explain import explain
from .methods.filters import filters
from .methods.occlusion.occlusion import occlusion
from .methods.saliency import saliency
from .methods.synthesis.objectives import (
    Objective,
    excite,
    excite_class,
    excite_direction,
    excite_output,
)
from .methods.synthesis.recipes import RECIPES, Recipe
from .methods.synthesis.synthesize import (
    synthesize,
    synthesize_many,
    synthesize_varied,
)
from .module_inputs import ImageInput, NumberInput
from .network import Network
from .render.draw import draw
from .results.as_json import as_json
from .results.audits import AtlasAudit, AuditFinding
from .results.comparisons import AtlasComparison
from .results.explanations import Explanation
from .results.heat_maps import HeatMap, OcclusionMap, Target
from .results.layers import Layer
from .results.patterns import Pattern
from .results.plates import Patch, Plate
from .results.projections import Activations, Filters, Projection
from .scanning.illustrate import illustrate
from .scanning.job import scan
from .scanning.lots.make_plan import make_plan
from .scanning.lots.sweep_part import sweep
from .scanning.merging.merge import merge
from .scanning.scoring.score import score
from .scanning.scoring.unit_names import name_units
from .unit import Unit
from .web.compare_atlases import compare
from .web.export import export
from .web.server import serve
from .world import scene, write_world
from .zoo import open_model

__version__: str

__all__ = [
    "DECONVNET",
    "GRADIENT",
    "GUIDED",
    "RECIPES",
    "Activations",
    "Atlas",
    "AtlasAudit",
    "AtlasComparison",
    "AuditFinding",
    "Box",
    "Explanation",
    "Field",
    "Filters",
    "Fit",
    "HeatMap",
    "Image",
    "ImageInput",
    "Layer",
    "Network",
    "NumberInput",
    "Objective",
    "OcclusionMap",
    "Patch",
    "Pattern",
    "Plate",
    "Projection",
    "ReceptiveField",
    "Recipe",
    "RetroscopeError",
    "Rule",
    "RuleBook",
    "Target",
    "Unit",
    "Window",
    "activations",
    "as_json",
    "audit",
    "cam",
    "cam_many",
    "compare",
    "deconv",
    "deconv_many",
    "demo",
    "draw",
    "excite",
    "excite_class",
    "excite_direction",
    "excite_output",
    "explain",
    "export",
    "filters",
    "illustrate",
    "make_plan",
    "merge",
    "name_units",
    "occlusion",
    "open_atlas",
    "open_model",
    "read_image",
    "saliency",
    "scan",
    "scene",
    "score",
    "serve",
    "sweep",
    "synthesize",
    "synthesize_many",
    "synthesize_varied",
    "write_world",
]
