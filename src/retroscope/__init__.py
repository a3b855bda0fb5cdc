"""A microscope that looks back through a convolutional network.

From any unit of any layer to the pixels that made it fire. The names below are the whole public
library; torch is imported when one of them first needs it.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas, open_atlas
    from retroscope.demo_atlas import demo
    from retroscope.engine.rules import DECONVNET, GRADIENT, GUIDED, Rule, RuleBook
    from retroscope.errors import RetroscopeError
    from retroscope.geometry import Box, Field, ReceptiveField, Window
    from retroscope.imaging.image import Fit, Image, read_image
    from retroscope.methods.activations import activations
    from retroscope.methods.cam.cam import cam, cam_many
    from retroscope.methods.deconv.deconv import deconv, deconv_many
    from retroscope.methods.explain import explain
    from retroscope.methods.filters import filters
    from retroscope.methods.occlusion.occlusion import occlusion
    from retroscope.methods.saliency import saliency
    from retroscope.methods.synthesis.objective import Objective, excite, of_class, towards
    from retroscope.methods.synthesis.recipes import RECIPES, Recipe
    from retroscope.methods.synthesis.synthesize import (
        synthesize,
        synthesize_many,
        synthesize_varied,
    )
    from retroscope.network import Network
    from retroscope.render.draw import draw
    from retroscope.results.heat_maps import Explanation, HeatMap, OcclusionMap, Target
    from retroscope.results.values import (
        Activations,
        Filters,
        Layer,
        Patch,
        Pattern,
        Plate,
        Projection,
    )
    from retroscope.scanning.illustrate import illustrate
    from retroscope.scanning.job import scan
    from retroscope.unit import Unit
    from retroscope.web.export import export
    from retroscope.web.server import serve
    from retroscope.world import scene, write_world
    from retroscope.zoo import open_model

__version__ = "0.1.0.dev0"

_HOMES = {
    "scanning.illustrate": ["illustrate"],
    "atlas.reader": ["Atlas", "open_atlas"],
    "scanning.job": ["scan"],
    "errors": ["RetroscopeError"],
    "geometry": ["Box", "Field", "ReceptiveField", "Window"],
    "results.heat_maps": ["Explanation", "HeatMap", "OcclusionMap", "Target"],
    "imaging.image": ["Fit", "Image", "read_image"],
    "methods.activations": ["activations"],
    "methods.cam.cam": ["cam", "cam_many"],
    "methods.deconv.deconv": ["deconv", "deconv_many"],
    "methods.explain": ["explain"],
    "methods.occlusion.occlusion": ["occlusion"],
    "methods.filters": ["filters"],
    "methods.saliency": ["saliency"],
    "methods.synthesis.objective": ["Objective", "excite", "of_class", "towards"],
    "methods.synthesis.recipes": ["RECIPES", "Recipe"],
    "methods.synthesis.synthesize": ["synthesize", "synthesize_many", "synthesize_varied"],
    "network": ["Network"],
    "render.draw": ["draw"],
    "results.values": [
        "Activations",
        "Filters",
        "Layer",
        "Patch",
        "Pattern",
        "Plate",
        "Projection",
    ],
    "engine.rules": ["DECONVNET", "GRADIENT", "GUIDED", "Rule", "RuleBook"],
    "demo_atlas": ["demo"],
    "unit": ["Unit"],
    "web.export": ["export"],
    "web.server": ["serve"],
    "world": ["scene", "write_world"],
    "zoo": ["open_model"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DECONVNET",
    "GRADIENT",
    "GUIDED",
    "RECIPES",
    "Activations",
    "Atlas",
    "Box",
    "Explanation",
    "Field",
    "Filters",
    "Fit",
    "HeatMap",
    "Image",
    "Layer",
    "Network",
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
    "cam",
    "cam_many",
    "deconv",
    "deconv_many",
    "demo",
    "draw",
    "excite",
    "explain",
    "export",
    "filters",
    "illustrate",
    "occlusion",
    "of_class",
    "open_atlas",
    "open_model",
    "read_image",
    "saliency",
    "scan",
    "scene",
    "serve",
    "synthesize",
    "synthesize_many",
    "synthesize_varied",
    "towards",
    "write_world",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'retroscope' has no attribute {name!r}")
    return getattr(import_module(f"retroscope.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


if "IPython" in sys.modules:
    import_module("retroscope.notebook").display_results()
