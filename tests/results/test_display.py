"""What results look like at a prompt."""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from retroscope.results import (
    comparisons,
    explanations,
    heat_maps,
    layers,
    patterns,
    plates,
    projections,
)
from retroscope.results.display import ArraySummary
from retroscope.unit import Unit
from tests.render.specimens import patch, projection

HOLDERS = [
    kind
    for module in (comparisons, explanations, heat_maps, layers, patterns, plates, projections)
    for kind in vars(module).values()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.__name__
]


@pytest.mark.parametrize("kind", HOLDERS, ids=lambda kind: kind.__name__)
def test_whatever_can_hold_an_array_is_brief(kind: type) -> None:
    assert is_dataclass(kind)
    arrays = {"ndarray", "Map", "Pixels", "RGB", "NDArray"}
    holds = any(any(name in str(one.type) for name in arrays) for one in fields(kind))
    assert issubclass(kind, ArraySummary) or not holds


def test_a_projection_is_told_in_a_few_words() -> None:
    shown = projection(40, 30)
    told = repr(shown)
    assert told.startswith(f"Projection(unit={shown.unit}, activation={shown.activation!r}")
    assert "pixels=<float32 40x30x3>" in told
    assert "notes" not in told
    assert len(told) < 400


def test_values_inside_are_brief_too() -> None:
    inside = patch(40, 20, 20)
    finding = explanations.UnusualUnit(Unit("conv5", 3, (1, 2)), 1.0, 2.0, None, projection())
    assert "array" not in repr(inside)
    assert f"projection={projection()!r}" in repr(finding)


def test_a_unit_is_written_as_its_address() -> None:
    found = heat_maps.HeatMap(
        np.zeros((2, 2), np.float32), "", Unit("conv5", 3), None, 1.0, "x", (), (2, 2)
    )
    assert "target=conv5:3" in repr(found)
