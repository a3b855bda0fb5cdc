"""The whole way on the embedded world: what is told of a plate is so."""

from pathlib import Path

import numpy as np
import pytest

import retroscope as rs
from retroscope.demo_atlas import demo, telling
from retroscope.progress import Progress
from retroscope.world import PARTS, scene_of
from tests.scanning.scans import content

COUNT, SEED = 120, 3


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def atlas(home: Path) -> rs.Atlas:
    return demo(home, count=COUNT, seed=SEED)


def test_every_plate_has_its_projections(atlas: rs.Atlas) -> None:
    assert len(atlas.images) == COUNT
    assert all(
        patch.projection for unit in atlas for patch in atlas[unit].patches if patch.score > 0
    )


def test_what_tells_most_shows_one_part_and_each_another(atlas: rs.Atlas) -> None:
    """The parts are painted again here, and not read from the demo's files."""
    found = telling(atlas)
    assert len({one.part for one in found}) == len(found) == 3
    for one in found:
        shown = [
            largest_part(patch.projection, patch.source)
            for patch in atlas[one.unit].patches
            if patch.projection
        ]
        assert shown.count(one.part) / len(shown) == one.share >= 0.8
        sources = {patch.source.partition("/")[0] for patch in atlas[one.unit].patches}
        assert set(one.classes) == sources


def largest_part(projection: rs.Projection, source: str) -> str:
    """The part whose mask holds most of the whole projection."""
    mass = np.abs(projection.full()).sum(axis=2)
    masks = scene_of(SEED, int(Path(source).stem)).masks
    holds = {name: float(mass[mask].sum()) for name, mask in masks.items()}
    holds["none"] = float(mass[~np.any(list(masks.values()), axis=0)].sum())
    assert holds.keys() <= {*PARTS, "none"}
    return max(holds, key=lambda name: holds[name])


def test_called_again_what_is_there_is_used(home: Path, atlas: rs.Atlas) -> None:
    before = content(atlas.path)
    told: list[Progress] = []
    demo(home, count=COUNT, seed=SEED, progress=told.append).close()
    assert content(atlas.path) == before
    assert not told


def test_where_nothing_is_asked_the_world_that_is_there_is_used(
    home: Path, atlas: rs.Atlas
) -> None:
    before = content(atlas.path)
    demo(home).close()
    assert content(atlas.path) == before


@pytest.mark.parametrize("asked", [{"count": 9}, {"seed": 0}, {"count": COUNT, "seed": 4}])
def test_a_world_of_others_than_were_asked_for_is_refused(
    home: Path, atlas: rs.Atlas, asked: dict[str, int]
) -> None:
    before = content(atlas.path)
    said = f"'{home}' holds a world of {COUNT} pictures of seed {SEED}; name another folder"
    with pytest.raises(rs.RetroscopeError) as caught:
        demo(home, count=asked.get("count"), seed=asked.get("seed"))
    assert str(caught.value) == said
    assert content(atlas.path) == before


@pytest.mark.parametrize("asked", [{"count": 0}, {"count": -1}, {"seed": -1}])
def test_a_world_that_cannot_be_leaves_no_folder(tmp_path: Path, asked: dict[str, int]) -> None:
    with pytest.raises(rs.RetroscopeError, match="no world"):
        demo(tmp_path / "new", count=asked.get("count"), seed=asked.get("seed"))
    assert not list(tmp_path.iterdir())


def test_a_demo_stopped_while_it_paints_leaves_no_folder(tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path / "new", count=3, progress=stop)
    assert not list(tmp_path.iterdir())


def test_of_few_pictures_nothing_is_told(tmp_path: Path) -> None:
    with demo(tmp_path, count=3) as few:
        assert telling(few) == []


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(rs.RetroscopeError, match="it is a file"):
        demo(tmp_path / "file", count=20)


def test_what_is_in_the_way_of_the_world_stays(tmp_path: Path) -> None:
    mine = tmp_path / "world" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("keep me")
    with pytest.raises(rs.RetroscopeError, match="in the way"):
        demo(tmp_path, count=20)
    assert mine.read_text() == "keep me"
