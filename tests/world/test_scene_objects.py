"""Objects of a scene: their classes, visible pixels and boxes, against slow definitions."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.world import CLASSES, LABELS, scene
from retroscope.world.painting import Light, Material, Pose, SceneCanvas
from retroscope.world.scene import MOST_OBJECTS, Draw
from retroscope.world.seeded_random import SeededRandom
from retroscope.world.shapes import Shape

SIZE = 48
FLAT_LIGHT = Light(0, 0, 1, ambient=(0, 0, 0), sun=(1, 1, 1))
OwnerMap = npt.NDArray[np.str_]


def cover_of(side: int, pose: Pose, shape: Shape, material: Material) -> npt.NDArray[np.float32]:
    """How much of each pixel a shape hides: how white it makes a black canvas."""
    black = SceneCanvas(side, FLAT_LIGHT)
    flat = replace(material, colour=(1, 1, 1), bulge=0, rim=0, gloss=0, texture="")
    PAINT(black, pose, shape, flat)
    cover: npt.NDArray[np.float32] = black.colours[0]
    return cover


PAINT = SceneCanvas.paint


@contextmanager
def record_owners(patch: pytest.MonkeyPatch) -> Iterator[OwnerMap]:
    """The class whose drawing function hid most of each pixel last; empty for none.

    Shapes are painted one by one on canvases of their own.
    """
    owners: OwnerMap = np.full((SIZE, SIZE), "", dtype="<U16")
    at_work = [""]

    def record(
        canvas: SceneCanvas, pose: Pose, shape: Shape, material: Material, *, part: str = ""
    ) -> None:
        owners[cover_of(canvas.side, pose, shape, material) > 0.5] = at_work[-1]
        PAINT(canvas, pose, shape, material, part=part)

    def wrap(label: str, draw: Draw) -> Draw:
        def wrapped(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
            at_work.append(label)
            draw(canvas, pose, random)
            at_work.pop()

        return wrapped

    for label, object_class in list(CLASSES.items()):
        patch.setitem(CLASSES, label, replace(object_class, draw=wrap(label, object_class.draw)))
    patch.setattr(SceneCanvas, "paint", record)
    yield owners


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, MOST_OBJECTS))
def test_an_object_has_the_pixels_that_its_drawing_hid_last(seed: int, count: int) -> None:
    with pytest.MonkeyPatch.context() as patch, record_owners(patch) as owners:
        painted = scene(seed, objects=count, size=SIZE)
    by_label = {item.label: item.mask for item in painted.objects}
    assert set(by_label) == set(np.unique(owners).tolist()) - {""}
    for label, mask in by_label.items():
        assert np.array_equal(mask, owners == label)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, MOST_OBJECTS))
def test_a_box_is_the_smallest_around_the_visible_pixels(seed: int, count: int) -> None:
    for item in scene(seed, objects=count, size=SIZE).objects:
        points = [(y, x) for y in range(SIZE) for x in range(SIZE) if item.mask[y, x]]
        ys, xs = zip(*points, strict=True)
        assert item.box == Box(min(ys), min(xs), max(ys) + 1, max(xs) + 1)


def test_parts_belong_to_objects_but_for_the_watermark() -> None:
    for seed in range(20):
        painted = scene(seed, watermark=True)
        (item,) = painted.objects
        assert item.label == painted.label
        for name, mask in painted.masks.items():
            assert (mask & item.mask).any() == (name != "watermark")
            assert not (mask & ~item.mask).any() or name == "watermark"


def test_the_bells_of_a_clock_are_of_the_clock_and_of_no_part() -> None:
    clocks = [scene(seed, label="clock") for seed in range(12)]
    bells = [clock.objects[0].mask & (clock.parts == 0) for clock in clocks]
    assert any(mask.sum() > 40 for mask in bells)


# Several objects


def test_each_object_has_a_class_of_its_own_and_the_first_that_of_the_scene() -> None:
    for seed in range(60):
        count = 2 + seed % (MOST_OBJECTS - 1)
        painted = scene(seed, objects=count, size=SIZE)
        assert len(set(painted.labels)) == len(painted.labels) == count
        assert painted.labels[0] == painted.label == LABELS[seed % len(LABELS)]
        assert {item.label for item in painted.objects} <= set(painted.labels)


def test_most_objects_of_a_crowd_are_seen() -> None:
    counts = [len(scene(seed, objects=4, size=SIZE).objects) for seed in range(60)]
    assert np.mean(counts) > 3.9


def test_objects_of_a_crowd_are_all_over_the_image() -> None:
    """So a heat map in the middle finds few of them."""
    boxes = [item.box for seed in range(60) for item in scene(seed, objects=4, size=SIZE).objects]
    centres = np.array([((b.top + b.bottom) / 2, (b.left + b.right) / 2) for b in boxes]) / SIZE
    inside = (np.abs(centres - 0.5) < 0.25).all(axis=1)
    assert inside.mean() < 0.45
    assert (np.abs(centres.mean(axis=0) - 0.5) < 0.1).all()


def test_leaving_out_parts_of_a_crowd_changes_no_pixel_far_from_them() -> None:
    whole, rest = (scene(44, objects=3, without=parts) for parts in ((), ("wheel", "window")))
    assert not {"wheel", "window"} & set(rest.masks)
    for name in set(whole.masks) - {"wheel", "window"}:
        assert not (whole.masks[name] & ~rest.masks[name]).any()


def test_crowds_have_the_recorded_digest() -> None:
    hasher = blake2b(digest_size=16)
    for seed in range(20):
        painted = scene(seed, objects=2 + seed % 5, size=128)
        hasher.update(painted.pixels.tobytes() + painted.object_map.tobytes())
    assert hasher.hexdigest() == "6384da4fe36b5002297bee33d60b2341"


@pytest.mark.parametrize("count", [0, -1, MOST_OBJECTS + 1])
def test_the_number_of_objects_must_be_in_range(count: int) -> None:
    message = f"no scene of {count} objects; a scene has from 1 to {MOST_OBJECTS}"
    with pytest.raises(RetroscopeError, match=message) as refused:
        scene(0, objects=count)
    assert refused.value.parameter == "objects"
