"""Atlases compared from Python."""

from collections.abc import Iterator
from contextlib import ExitStack
from math import isnan
from pathlib import Path

import numpy as np
import pytest

import retroscope as rs
from retroscope.atlas.reader import Atlas
from retroscope.render.comparison_figures import draw_comparison
from retroscope.web.compare_atlases import compare
from tests.render.figure_search import margin_is_empty
from tests.web.sample_atlases import bare_atlas, odd_atlas


@pytest.fixture(scope="module")
def atlases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Atlas]]:
    folder = tmp_path_factory.mktemp("compared")
    with ExitStack() as stack:
        paths = [folder / f"epoch {seed}.atlas" for seed in range(3)]
        yield [stack.enter_context(odd_atlas(path, seed=n)) for n, path in enumerate(paths)]


def change_by_definition(first: Atlas, second: Atlas, unit: rs.Unit) -> float:
    """One less the mean of the share of common best images and the cosine over the classes."""
    stats = [atlas.stats(unit) for atlas in (first, second)]
    if all(each.dead for each in stats):
        return 0.0
    if any(each.dead for each in stats):
        return 1.0
    images = [{hit.image for hit in atlas.hits(unit)} for atlas in (first, second)]
    similarities = []
    if any(images):
        similarities.append(len(images[0] & images[1]) / max(map(len, images)))
    means = [
        {each.label: max(each.mean_maximum, 0) for each in one.classes if each.images}
        for one in stats
    ]
    common = sorted(means[0].keys() & means[1].keys())
    rows = [np.array([row[name] for name in common]) for row in means]
    lengths = np.linalg.norm(rows[0]) * np.linalg.norm(rows[1])
    if lengths > 0:
        similarities.append(rows[0] @ rows[1] / lengths)
    return float(1 - np.mean(similarities)) if similarities else 0.0


def test_the_change_of_each_unit_is_that_of_the_definition(atlases: list[Atlas]) -> None:
    first, *others = atlases
    comparison = compare(first, *others, layers=["features.0", "head"])
    assert [layer.layer.name for layer in comparison.layers] == ["features.0", "head"]
    for layer in comparison.layers:
        assert len(layer.units) == layer.layer.channels
        for unit in layer.units:
            expected = [change_by_definition(first, other, unit.unit) for other in others]
            assert unit.changes == pytest.approx(expected, abs=1e-6)
            assert unit.change == pytest.approx(max(expected), abs=1e-6)
            assert unit.dead == tuple(atlas.stats(unit.unit).dead for atlas in atlases)
        means = np.mean([unit.changes for unit in layer.units], axis=0)
        np.testing.assert_allclose(layer.changes, means)


def test_the_units_that_changed_most_come_first_with_their_plates(atlases: list[Atlas]) -> None:
    comparison = compare(*atlases, top=5)
    every = sorted(unit.change for layer in comparison.layers for unit in layer.units)[::-1]
    assert [unit.change for unit in comparison.units] == every[:5]
    for unit in comparison.units:
        for plate, atlas in zip(unit.plates, atlases, strict=True):
            scores = [patch.score for patch in atlas.plate(unit.unit).patches]
            assert [patch.score for patch in plate.patches] == scores


def test_an_atlas_has_not_changed_from_itself(atlases: list[Atlas]) -> None:
    comparison = compare(atlases[0], atlases[0])
    changes = [unit.change for layer in comparison.layers for unit in layer.units]
    assert changes
    np.testing.assert_allclose(changes, 0, atol=1e-6)


def test_paths_are_opened_and_named_by_their_files(atlases: list[Atlas], tmp_path: Path) -> None:
    comparison = compare(atlases[0].path, str(atlases[1].path), top=1)
    assert comparison.atlases == ("epoch 0", "epoch 1")
    assert comparison.units[0].changes == compare(*atlases[:2], top=1).units[0].changes
    assert atlases[0].layers  # an open atlas stays open
    with odd_atlas(tmp_path / "epoch 0.atlas", seed=1) as other:
        names = compare(atlases[0], other, top=0).atlases
    assert names == (f"{atlases[0].path.parent.name}/epoch 0", f"{tmp_path.name}/epoch 0")


def test_what_cannot_be_compared_is_refused(atlases: list[Atlas], tmp_path: Path) -> None:
    with pytest.raises(rs.RetroscopeError, match="compare takes two atlases or more"):
        compare(atlases[0])
    with pytest.raises(rs.RetroscopeError, match=r"no atlas 'no.atlas'"):
        compare(atlases[0], "no.atlas")
    with pytest.raises(rs.RetroscopeError, match="int is not an Atlas"):
        compare(atlases[0], 3)  # type: ignore[arg-type]
    with pytest.raises(rs.RetroscopeError, match=r"layers is a list of layers, .*\['head'\]"):
        compare(*atlases, layers="head")
    with pytest.raises(rs.RetroscopeError, match="did you mean 'head'"):
        compare(*atlases, layers=["heat"])
    with pytest.raises(rs.RetroscopeError, match="-1 units"):
        compare(*atlases, top=-1)
    message = r"other.atlas' has no layer of .*one network"
    with (
        bare_atlas(tmp_path / "other.atlas") as other,
        pytest.raises(rs.RetroscopeError, match=message),
    ):
        compare(atlases[0], other)


def test_the_json_has_every_unit_and_no_nan(atlases: list[Atlas]) -> None:
    comparison = compare(*atlases, top=2)
    told = rs.as_json(comparison)
    assert isinstance(told, dict)
    assert told["atlases"] == ["epoch 0", "epoch 1", "epoch 2"]
    assert told["changed_most"] == [str(unit.unit) for unit in comparison.units]
    for layer, listed in zip(comparison.layers, told["layers"], strict=True):
        assert listed["changes"] == list(layer.changes)
        for unit, entry in zip(layer.units, listed["units"], strict=True):
            assert (entry["unit"], entry["changes"]) == (str(unit.unit), list(unit.changes))
            expected = [None if isnan(value) else value for value in unit.class_similarities]
            assert entry["class_similarities"] == expected


def test_the_figure_has_a_column_for_each_atlas(atlases: list[Atlas]) -> None:
    two, three = (draw_comparison(compare(*atlases[:n], top=3)) for n in (2, 3))
    assert three.width > two.width
    assert margin_is_empty(three)
    assert rs.draw(compare(*atlases[:2], top=3)).tobytes() == two.tobytes()
    assert draw_comparison(compare(*atlases[:2], top=0)).height < two.height
