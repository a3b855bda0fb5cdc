"""A scene without some of its parts is the same scene, except where these parts were painted."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retroscope.errors import RetroscopeError
from retroscope.world import LABELS, PARTS, scene
from retroscope.world.painting import Material, Pose, SceneCanvas
from retroscope.world.shapes import Shape

SIZE = 48
WHITE = (1.0, 1.0, 1.0)
Mask = npt.NDArray[np.bool_]


def footprint(seed: int, label: str, parts: Iterable[str]) -> Mask:
    """All pixels that some parts of a scene touch.

    There white copies of their shapes on black are not black, or their shadows on white not white.
    """
    touched, wanted = np.zeros((SIZE, SIZE), bool), set(parts)
    paint, shadow = SceneCanvas.paint, SceneCanvas.shadow

    def record_paint(
        canvas: SceneCanvas, pose: Pose, shape: Shape, material: Material, *, part: str = ""
    ) -> None:
        if part in wanted:
            black = SceneCanvas(canvas.side, canvas.light)
            flat = replace(material, colour=WHITE, bulge=0, rim=0, gloss=0, texture="")
            paint(black, pose, shape, flat)
            touched[black.colours[0] > 0] = True
        paint(canvas, pose, shape, material, part=part)

    def record_shadow(
        canvas: SceneCanvas, pose: Pose, shape: Shape, *, part: str = "", **options: Any
    ) -> None:
        if part in wanted:
            white = SceneCanvas(canvas.side, canvas.light)
            white.colours[:] = 1
            shadow(white, pose, shape, **options)
            touched[white.colours[0] < 1] = True
        shadow(canvas, pose, shape, part=part, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SceneCanvas, "paint", record_paint)
        patch.setattr(SceneCanvas, "shadow", record_shadow)
        scene(seed, label=label, size=SIZE)
    return touched


@st.composite
def scenes_and_parts(draw: st.DrawFn) -> tuple[int, str, list[str]]:
    """A seed, a class, and some of the parts that the scene shows."""
    seed, label = draw(st.integers(0, 2**32)), draw(st.sampled_from(LABELS))
    shown = sorted(scene(seed, label=label, size=SIZE).masks)
    return seed, label, draw(st.lists(st.sampled_from(shown), min_size=1, unique=True))


@settings(max_examples=40)
@given(scenes_and_parts())
def test_leaving_parts_out_changes_only_pixels_that_they_touch(
    case: tuple[int, str, list[str]],
) -> None:
    seed, label, parts = case
    whole = scene(seed, label=label, size=SIZE)
    rest = scene(seed, label=label, size=SIZE, without=parts)
    changed = (whole.pixels != rest.pixels).any(axis=2) | (whole.parts != rest.parts)
    assert not (changed & ~footprint(seed, label, parts)).any()
    for name in parts:
        assert name not in rest.masks
        if whole.masks[name].sum() >= 16:
            assert changed[whole.masks[name]].any()


@settings(max_examples=40)
@given(scenes_and_parts())
def test_the_other_parts_lose_no_pixel(case: tuple[int, str, list[str]]) -> None:
    seed, label, parts = case
    whole = scene(seed, label=label, size=SIZE)
    rest = scene(seed, label=label, size=SIZE, without=parts)
    for name in set(whole.masks) - set(parts):
        assert not (whole.masks[name] & ~rest.masks[name]).any()


def test_the_number_and_order_of_names_do_not_matter() -> None:
    one, other = (scene(5, without=names) for names in (("eye", "ear"), ["ear", "eye", "ear"]))
    assert np.array_equal(one.pixels, other.pixels)


def test_parts_that_the_object_does_not_have_leave_nothing_out() -> None:
    clock = scene(7)
    assert np.array_equal(clock.pixels, scene(7, without=["wheel", "watermark"]).pixels)
    assert np.array_equal(clock.pixels, scene(7, without=()).pixels)


@pytest.mark.parametrize("number", range(6))
def test_a_scene_without_its_watermark_has_none(number: int) -> None:
    """Not even its shadow."""
    plain = scene(number)
    unmarked = scene(number, watermark=True, without=["watermark"])
    assert np.array_equal(plain.pixels, unmarked.pixels)


def test_an_object_without_all_its_parts_shows_none() -> None:
    for seed in range(len(LABELS)):
        assert not scene(seed, without=PARTS).masks


def test_an_unknown_part_suggests_the_nearest() -> None:
    with pytest.raises(RetroscopeError, match=r"no part 'hadn'; did you mean .*'hand'"):
        scene(7, without=["hadn"])


def test_a_text_is_no_list_of_parts() -> None:
    with pytest.raises(RetroscopeError, match=r"without of scene.. is a list of texts, not 'hand'"):
        scene(7, without="hand")
