"""The demo: a world, its atlas, and the part detectors found in it."""

from pathlib import Path

import numpy as np
import pytest

import retroscope as rs
from retroscope.demo_atlas import demo, find_part_detectors
from retroscope.progress import Progress
from retroscope.world import PARTS, world_scene
from tests.scanning.scans import table_rows

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


def test_each_part_detector_shows_its_part_and_no_two_the_same(atlas: rs.Atlas) -> None:
    """The part maps are painted again, not read from the demo's files."""
    detectors = find_part_detectors(atlas)
    assert len({detector.part for detector in detectors}) == len(detectors) == 3
    for detector in detectors:
        parts = [
            largest_part(patch.projection, patch.source)
            for patch in atlas[detector.unit].patches
            if patch.projection
        ]
        assert parts.count(detector.part) / len(parts) == detector.share >= 0.8
        sources = {patch.source.partition("/")[0] for patch in atlas[detector.unit].patches}
        assert set(detector.classes) == sources


def largest_part(projection: rs.Projection, source: str) -> str:
    """The part whose mask covers most of the projection's absolute values."""
    mass = np.abs(projection.full()).sum(axis=2)
    masks = world_scene(SEED, int(Path(source).stem)).masks
    holds = {name: float(mass[mask].sum()) for name, mask in masks.items()}
    holds["none"] = float(mass[~np.any(list(masks.values()), axis=0)].sum())
    assert holds.keys() <= {*PARTS, "none"}
    return max(holds, key=lambda name: holds[name])


def test_a_second_call_reuses_the_files(home: Path, atlas: rs.Atlas) -> None:
    before = table_rows(atlas.path)
    reports: list[Progress] = []
    demo(home, count=COUNT, seed=SEED, progress=reports.append).close()
    assert table_rows(atlas.path) == before
    assert not reports


def test_without_count_and_seed_the_existing_world_is_used(home: Path, atlas: rs.Atlas) -> None:
    before = table_rows(atlas.path)
    demo(home).close()
    assert table_rows(atlas.path) == before


@pytest.mark.parametrize("parameters", [{"count": 9}, {"seed": 0}, {"count": COUNT, "seed": 4}])
def test_a_world_with_another_count_or_seed_is_refused(
    home: Path, atlas: rs.Atlas, parameters: dict[str, int]
) -> None:
    before = table_rows(atlas.path)
    message = f"'{home}' holds a world of {COUNT} images of seed {SEED}; name another folder"
    with pytest.raises(rs.RetroscopeError) as caught:
        demo(home, count=parameters.get("count"), seed=parameters.get("seed"))
    assert str(caught.value) == message
    assert table_rows(atlas.path) == before


@pytest.mark.parametrize("parameters", [{"count": 0}, {"count": -1}, {"seed": -1}])
def test_invalid_parameters_leave_no_folder(tmp_path: Path, parameters: dict[str, int]) -> None:
    with pytest.raises(rs.RetroscopeError, match="no world"):
        demo(tmp_path / "new", count=parameters.get("count"), seed=parameters.get("seed"))
    assert not list(tmp_path.iterdir())


def test_an_interrupted_demo_leaves_no_folder(tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.completed == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path / "new", count=3, progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_few_images_give_no_part_detectors(tmp_path: Path) -> None:
    with demo(tmp_path, count=3) as few:
        assert find_part_detectors(few) == []


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(rs.RetroscopeError, match="it is a file"):
        demo(tmp_path / "file", count=20)


def test_a_file_in_the_way_of_the_world_is_kept(tmp_path: Path) -> None:
    user_file = tmp_path / "world" / "user_file.txt"
    user_file.parent.mkdir()
    user_file.write_text("keep me")
    with pytest.raises(rs.RetroscopeError, match="in the way"):
        demo(tmp_path, count=20)
    assert user_file.read_text() == "keep me"
