"""Results as JSON: every kind of result, in the same keys everywhere."""

import json
from dataclasses import is_dataclass, replace
from math import nan

import numpy as np
import pytest

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.results import (
    audits,
    comparisons,
    explanations,
    heat_maps,
    layers,
    patterns,
    plates,
    projections,
    statistics,
    unit_numbers,
)
from retroscope.results.as_json import CONVERSIONS, as_json
from retroscope.results.audits import (
    AtlasAudit,
    AuditCheck,
    AuditFinding,
    AuditHit,
    Severity,
)
from retroscope.results.comparisons import AtlasComparison, LayerComparison, UnitComparison
from retroscope.results.explanations import Explanation, LayerFinding, OtherImage, UnusualUnit
from retroscope.results.heat_maps import HeatMap, OcclusionMap, Prediction, Target
from retroscope.results.patterns import Pattern
from retroscope.results.projections import Filters
from retroscope.results.statistics import STATISTICS, ClassStats, stored_statistics
from retroscope.results.unit_numbers import UnitName, UnitNumber
from retroscope.unit import Unit
from tests.render import specimens

TABBY = Target(281, "tabby")
LAYER = specimens.layers(1)[0]
HEAT = HeatMap(
    np.array([[0, 1], [2, nan]], np.float32), "conv5", TABBY, 0.5, 1.0, "gradcam", (), (4, 4)
)
UNUSUAL = UnusualUnit(
    Unit("conv5", 3, (1, 2)), 1.0, 2.0, None, specimens.projection(), specimens.projection()
)
CHANGE = UnitComparison(Unit("conv5", 3), (0.5,), (2,), (nan,), (False, True))
LAYER_CHANGE = LayerComparison(LAYER, (0.5,), (CHANGE,))
AUDIT_HIT = AuditHit(Unit("conv5", 3, (1, 2)), 1.5, 7, "cat/7.png", None, Box(0, 0, 4, 4))
AUDIT_FINDING = AuditFinding(
    "shortcut-units",
    Severity.HIGH,
    "a unit cheats",
    (Unit("conv5", 3),),
    {"units": 1},
    "if",
    "unless",
    label="cat",
    place=Box(2, 2, 4, 4),
    evidence=(AUDIT_HIT,),
)
AUDIT_CHECK = AuditCheck("dead", "dead channels", Severity.MEDIUM, "lost", "if", 8, 0, ("some",))
EXAMPLES: tuple[object, ...] = (
    LAYER,
    specimens.activations(specimens.blobs(4, 6, 8)),
    Filters(LAYER, specimens.float32(np.ones((2, 3, 3, 3)))),
    specimens.projection(),
    layers.UnlistedLayer("blocks.0.attn", "linear", "maps stacked in the batch dimension"),
    specimens.plate(),
    specimens.patch(40, 20, 20),
    plates.MaximaSample(np.array([7]), specimens.float32([nan]), np.array([[-1, -1]], np.int32)),
    specimens.stats(),
    ClassStats("tabby", 3, nan, 0.5),
    Prediction(TABBY, 0.5),
    HEAT,
    OcclusionMap(
        probabilities=specimens.float32(np.array([[0.25]])),
        classes=np.array([[281]]),
        activations=None,
        tops=(0,),
        lefts=(0,),
        occluder=(4, 4),
        fill="grey",
        target=TABBY,
        probability=0.5,
        unit=None,
        activation=nan,
        class_names=(TABBY,),
        caveats=(),
        size=(4, 4),
    ),
    LayerFinding(LAYER, (UNUSUAL,)),
    UNUSUAL,
    OtherImage("depth", specimens.scene(4, 6)),
    Explanation((Prediction(TABBY, 0.5),), HEAT, (), "net", "", (), specimens.scene(4, 4)),
    Pattern(specimens.scene(4, 4), "conv5:3", nan, "olah", 0, 512, 1.0, 0.0),
    AtlasComparison(("before", "after"), (LAYER_CHANGE,), (CHANGE,)),
    LAYER_CHANGE,
    CHANGE,
    UnitNumber(Unit("conv5", 3), "mis", 0.75, nan, nan, 0.5),
    UnitName(Unit("conv5", 3), "wheel"),
    AUDIT_HIT,
    AUDIT_FINDING,
    AUDIT_CHECK,
    AtlasAudit("a.atlas", "net", 9, 1, 8, False, (AUDIT_FINDING,), (AUDIT_CHECK,)),
)
NOT_A_RESULT = {
    heat_maps.Target,
    layers.GraphStep,
    statistics.Statistic,
    unit_numbers.NumberKind,
}


def test_every_kind_of_result_has_a_conversion_and_an_example() -> None:
    kinds = {
        kind
        for module in (
            audits,
            comparisons,
            explanations,
            heat_maps,
            layers,
            patterns,
            plates,
            projections,
            statistics,
            unit_numbers,
        )
        for kind in vars(module).values()
        if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.__name__
    }
    assert kinds - NOT_A_RESULT == CONVERSIONS.keys() == {type(result) for result in EXAMPLES}


@pytest.mark.parametrize("result", EXAMPLES, ids=lambda result: type(result).__name__)
def test_a_result_becomes_valid_json(result: object) -> None:
    facts = as_json(result)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_a_list_of_results_becomes_a_list() -> None:
    projection = specimens.projection()
    assert as_json([projection, projection]) == [as_json(projection)] * 2


def test_a_value_that_is_not_finite_is_null() -> None:
    facts = as_json(replace(HEAT, probability=nan))
    assert isinstance(facts, dict)
    assert facts["values"] == [[0.0, 1.0], [2.0, None]]
    assert facts["probability"] is None


def test_json_has_every_statistic_that_an_atlas_stores() -> None:
    facts = as_json(specimens.stats())
    assert isinstance(facts, dict)
    assert {row.name for row in stored_statistics()} <= facts.keys()
    assert len(STATISTICS) >= len(stored_statistics())


def test_what_is_not_a_result_is_refused() -> None:
    with pytest.raises(RetroscopeError, match="no JSON for 'int'; there is JSON for Layer, "):
        as_json(3)
