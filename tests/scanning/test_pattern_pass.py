"""Patterns in an atlas: made once, kept with what they reach, gone on with."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import RetroscopeError
from retroscope.methods.synthesis.recipes import MACO, ZOOM, with_steps
from retroscope.methods.synthesis.synthesize import synthesize
from retroscope.network import Network
from retroscope.progress import Progress
from retroscope.scanning.job import scan
from retroscope.scanning.pattern_pass import estimate_seconds, missing_patterns, synthesize_into
from tests.scanning.scans import table_rows, tiny, write_images

STEPS = 4


@pytest.fixture
def scanned(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.atlas"
    images = write_images(tmp_path / "photos", 3)
    scan(tiny(), images, to=path, layers=["first", "second"], projections=False).close()
    return path


def run_synthesis(path: Path, net: Network | None = None, **options: object) -> None:
    options = {"steps": STEPS, **options}
    synthesize_into(path, net or tiny(), **options)  # type: ignore[arg-type]


def test_an_atlas_keeps_the_pattern_of_every_channel(scanned: Path) -> None:
    run_synthesis(scanned)
    with open_atlas(scanned) as atlas:
        for unit in atlas:
            (kept,) = atlas.patterns(unit)
            alone = synthesize(tiny(), unit, steps=STEPS)
            assert kept.unit == alone.unit == unit
            np.testing.assert_array_equal(kept.image, alone.image)
            assert kept.activation == pytest.approx(alone.activation, rel=1e-6)
            assert (kept.recipe, kept.steps, kept.seed) == ("zoom", STEPS, 0)
            assert kept.natural == atlas.stats(unit).maximum
            assert kept.notes == alone.notes
            assert kept.caveats == alone.caveats


def test_an_atlas_without_patterns_has_none(scanned: Path) -> None:
    with open_atlas(scanned) as atlas:
        assert atlas.patterns("first:0") == ()


def test_the_layers_asked_for_get_patterns(scanned: Path) -> None:
    run_synthesis(scanned, layers=["conv2"])
    with open_atlas(scanned) as atlas:
        assert not atlas.patterns("first:0")
        assert atlas.patterns("second:0")


def test_an_interrupted_run_resumes(scanned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retroscope.scanning.pattern_pass.PATTERNS_PER_TRANSACTION", 2)
    told: list[int] = []

    def stop(progress: Progress) -> None:
        told.append(progress.completed)
        if progress.completed == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_synthesis(scanned, progress=stop)
    with AtlasWriter(scanned) as writer:
        left = missing_patterns(writer, ["first", "second"], with_steps(ZOOM, STEPS))
    assert left == {"first": [4], "second": [0, 1, 2, 3, 4, 5]}
    run_synthesis(scanned)
    again: list[int] = []
    run_synthesis(scanned, progress=lambda progress: again.append(progress.total))
    assert not again
    with open_atlas(scanned) as atlas:
        assert all(atlas.patterns(unit) for unit in atlas)


def test_an_atlas_made_in_two_runs_is_that_made_in_one(scanned: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.atlas"
    other.write_bytes(scanned.read_bytes())
    run_synthesis(scanned, layers=["first"])
    run_synthesis(scanned)
    run_synthesis(other)
    assert table_rows(scanned)["patterns"] == table_rows(other)["patterns"]


def test_another_recipe_is_added_and_other_steps_replace(scanned: Path) -> None:
    run_synthesis(scanned, layers=["first"])
    run_synthesis(scanned, layers=["first"], recipe="maco")
    run_synthesis(scanned, layers=["first"], steps=STEPS + 1)
    with open_atlas(scanned) as atlas:
        found = {pattern.recipe: pattern for pattern in atlas.patterns("first:1")}
    assert {name: one.steps for name, one in found.items()} == {"zoom": STEPS + 1, "maco": STEPS}
    alone = synthesize(tiny(), "first:1", recipe=MACO, steps=STEPS)
    opacity = found["maco"].opacity
    assert opacity is not None
    assert alone.opacity is not None
    np.testing.assert_allclose(opacity, alone.opacity, rtol=0, atol=1 / 255)


def test_another_network_is_refused(scanned: Path) -> None:
    with pytest.raises(RetroscopeError, match="different weights"):
        run_synthesis(scanned, tiny(seed=1))


WRONG: dict[str, Callable[[Path], object]] = {
    "no layer": lambda path: run_synthesis(path, layers=["frist"]),
    "no recipe": lambda path: run_synthesis(path, recipe="olaf"),
}


@pytest.mark.parametrize("case", WRONG)
def test_unknown_names_are_refused(scanned: Path, case: str) -> None:
    with pytest.raises(RetroscopeError, match="did you mean"):
        WRONG[case](scanned)


def test_an_estimate_is_reported_first(scanned: Path) -> None:
    told: list[tuple[int, float]] = []
    run_synthesis(scanned, layers=["first"], estimate=lambda *facts: told.append(facts))
    run_synthesis(scanned, estimate=lambda *facts: told.append(facts))
    run_synthesis(scanned, estimate=lambda *facts: told.append(facts))
    assert [count for count, _ in told] == [5, 6]
    assert all(seconds >= 0 for _, seconds in told)


def test_more_steps_of_more_patterns_take_longer() -> None:
    some = estimate_seconds(tiny(), {"first": [0, 1], "second": []}, with_steps(ZOOM, 10))
    more = estimate_seconds(tiny(), {"first": list(range(5))}, with_steps(ZOOM, 100_000))
    assert 0 <= some < more
    assert estimate_seconds(tiny(), {"first": []}) == 0


def test_the_file_is_open_to_sql(scanned: Path) -> None:
    run_synthesis(scanned, layers=["first"])
    with closing(open_atlas(scanned)) as atlas:
        ((count, best),) = atlas.sql("SELECT count(*), max(activation) FROM patterns")
    assert count == 5
    assert isinstance(best, float)
