"""world and demo, as somebody at a terminal meets them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import retroscope as rs
from retroscope.demo_atlas import find_part_detectors
from retroscope.world import Scene, world_scene
from tests.cli.terminal import Retroscope, check_is_drawing


def test_a_world_is_painted_with_its_labels_and_masks(retroscope: Retroscope) -> None:
    said = retroscope("world", "small", "--count", "20", "--seed", "5", "--masks")
    assert (said.status, said.out) == (0, "small\n")
    rows = Path("small/labels.csv").read_text().splitlines()
    assert len(rows) == 21
    path, label = rows[1].split(",")
    with PIL.Image.open(Path("small") / path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), painted(path).pixels)
    assert painted(path).label == label
    with PIL.Image.open(Path("small-parts") / path) as mask:
        np.testing.assert_array_equal(np.asarray(mask), painted(path).parts)


def test_boxes_are_written_into_the_world(retroscope: Retroscope) -> None:
    said = retroscope("world", "crowds", "--count", "2", "--objects", "3", "--boxes")
    assert (said.status, said.out) == (0, "crowds\n")
    coco = json.loads(Path("crowds/annotations.json").read_text())
    scenes = [world_scene(0, number, objects=3) for number in range(2)]
    assert len(coco["annotations"]) == sum(len(crowd.objects) for crowd in scenes)


def painted(path: str) -> Scene:
    return world_scene(5, int(Path(path).stem))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["world", "folder/../cat.png"], "is a file; name a new folder"),
        (["world", "new", "--count", "0"], "no world of 0 images"),
        (["world", "new", "--seed", "-1"], "no world -1; a seed is a number from 0"),
        (["world", "new", "--objects", "9"], "no scene of 9 objects; a scene has from 1 to 6"),
        (["world", "."], "is not empty; name a new folder"),
        (["demo", "cat.png", "--no-open"], "'cat.png' is a file; name a new folder for the demo"),
        (["demo", ".", "--no-open"], "'.' has files that are not from a demo, such as 'broken.py'"),
        (["demo", "no/demo", "--no-open"], "the folder 'no' does not exist"),
        (["world", "no/world"], "cannot write 'no/world': the folder 'no' does not exist"),
        (["export", "a.atlas", "no/site"], "cannot write 'no/site': the folder 'no' does not exi"),
        (["layers", "demo@7"], "no demo checkpoint '7'; choose from 0, "),
        (
            ["layers", "demo-shortcuts"],
            "no demo model 'demo-shortcuts'; did you mean 'demo-shortcut', 'demo-",
        ),
    ],
)
def test_mistakes_are_one_line(retroscope: Retroscope, words: list[str], says: str) -> None:
    said = retroscope(*words)
    assert (said.status, said.out) == (2, "")
    assert said.err.splitlines()[-1].startswith("retroscope: ")
    assert says in said.err


def test_a_folder_in_use_is_refused_before_anything_is_painted(retroscope: Retroscope) -> None:
    said = retroscope("world", ".")
    assert len(said.err.splitlines()) == 1


@pytest.fixture
def _one_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Demos of the last layer, by maximum: tests of `rs.demo` have the whole one."""

    def scan(*given: Any, **options: Any) -> rs.Atlas:
        return rs.scan(*given, **options | {"layers": "relu7", "projections": "max"})

    monkeypatch.setattr("retroscope.demo_atlas.scan", scan)


@pytest.mark.usefixtures("_one_layer")
def test_another_world_than_the_one_that_is_there_is_refused(retroscope: Retroscope) -> None:
    said = retroscope("demo", "here", "--count", "3", "--no-open")
    assert (said.status, said.out.splitlines()[-1]) == (0, str(Path("here/demo.atlas")))
    assert said.out.startswith("in 3 images no channel shows one part consistently; ")
    for words in (["--count", "9"], ["--seed", "3"]):
        again = retroscope("demo", "here", "--no-open", *words)
        line = "'here' holds a world of 3 images of seed 0; name another folder"
        assert (again.status, again.err) == (2, f"retroscope: {line}\n")
    assert retroscope("demo", "here", "--no-open").status == 0


def test_help_says_which_folder_is_meant(retroscope: Retroscope) -> None:
    said = retroscope("demo", "--help").out
    assert "retroscope-demo" in said
    assert "500" in said


@pytest.mark.usefixtures("_one_layer")
def test_the_demo_says_where_everything_is(retroscope: Retroscope) -> None:
    said = retroscope("demo", "here", "--count", "60", "--no-open")
    assert said.status == 0
    *told, place = said.out.splitlines()
    assert told
    assert place == str(Path("here/demo.atlas"))
    with rs.open_atlas(place) as atlas:
        for one, words, path in zip(find_part_detectors(atlas), told[::2], told[1::2], strict=True):
            assert words.startswith(f"{one.unit} shows {one.part!r} in ")
            check_is_drawing(path, atlas[one.unit])
