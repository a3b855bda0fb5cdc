"""Transforms: each by what it does to single pixels."""

import math

import pytest
import torch
import torch.nn.functional as F

from retroscope.methods.synthesis.transforms import (
    Crop,
    Frame,
    Jitter,
    Pad,
    Rotate,
    Scale,
    Transform,
    Trim,
    read,
    seen,
)
from tests.conftest import numbers

SIDE = 128


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(height: int = SIDE, width: int = SIDE) -> torch.Tensor:
    return torch.sigmoid(numbers(2, 3, height, width))


def through(*transforms: Transform, of: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return seen(of, transforms, chance(seed))


def ramp(down: float, right: float) -> torch.Tensor:
    """Bilinear reading is exact on it."""
    y, x = torch.arange(SIDE).double()[:, None], torch.arange(SIDE).double()[None, :]
    return (down * y + right * x)[None, None]


def test_a_frame_of_all_is_the_picture() -> None:
    shown = pictures(20, 33)
    torch.testing.assert_close(read(shown, Frame.of(20, 33)), shown, rtol=0, atol=1e-6)


def test_pad_puts_grey_on_all_sides() -> None:
    shown = pictures()
    torch.testing.assert_close(
        through(Pad(3), of=shown), F.pad(shown, [3] * 4, value=0.5), rtol=0, atol=1e-5
    )


def test_jitter_is_a_crop_and_reaches_every_offset() -> None:
    shown = pictures()
    crops = {
        (y, x): shown[:, :, y : y + SIDE - 2, x : x + SIDE - 2] for y in range(3) for x in range(3)
    }
    found = set()
    for seed in range(80):
        moved = through(Jitter(2), of=shown, seed=seed)
        (place,) = [at for at, crop in crops.items() if torch.allclose(moved, crop, atol=1e-4)]
        found.add(place)
    assert found == crops.keys()


def test_an_odd_jitter_is_a_crop_of_whole_pixels_too() -> None:
    shown = pictures()
    moved = through(Jitter(3), of=shown)
    side = SIDE - 3
    assert any(
        torch.allclose(moved, shown[:, :, y : y + side, x : x + side], atol=1e-4)
        for y in range(4)
        for x in range(4)
    )


def test_scaling_to_double_shows_the_middle_twice_as_large() -> None:
    shown = pictures()
    middle = shown[:, :, SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4]
    expected = F.interpolate(middle, scale_factor=2, mode="bilinear", align_corners=False)
    found = through(Scale(2, 2), of=shown)
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(found[inner], expected[inner], rtol=0, atol=1e-5)


def test_scaling_to_half_leaves_grey_around() -> None:
    found = through(Scale(0.5, 0.5), of=torch.ones(1, 1, SIDE, SIDE))
    edge = SIDE // 4
    assert (found[..., edge + 1 : -edge - 1, edge + 1 : -edge - 1] == 1).all()
    assert (found[..., : edge - 1, :] == 0.5).all()


@pytest.mark.parametrize(("angle", "turns"), [(90, 1), (180, 2), (-90, -1)])
def test_rotating_turns_counter_clockwise(angle: float, turns: int) -> None:
    shown = pictures()
    expected = torch.rot90(shown, turns, (2, 3))
    found = through(Rotate(angle, angle), of=shown)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_rotating_a_ramp_turns_its_slope() -> None:
    angle = math.radians(10)
    found = through(Rotate(10, 10), of=ramp(0, 1))[0, 0]
    inner = found[40:90, 40:90]
    right, down = inner.diff(dim=1), inner.diff(dim=0)
    torch.testing.assert_close(right, torch.full_like(right, math.cos(angle)), rtol=0, atol=1e-4)
    torch.testing.assert_close(down, torch.full_like(down, -math.sin(angle)), rtol=0, atol=1e-4)


def test_a_crop_of_half_shows_a_part_twice_as_large() -> None:
    corners = set()
    for seed in range(20):
        found = through(Crop(0.5, 0.5), of=ramp(1, 2), seed=seed)[0, 0]
        inner = found[2:-2, 2:-2]
        assert torch.allclose(inner.diff(dim=0), torch.tensor(0.5).double(), atol=1e-4)
        assert torch.allclose(inner.diff(dim=1), torch.tensor(1.0).double(), atol=1e-4)
        assert 0 <= inner.min() <= inner.max() <= 3 * (SIDE - 1)
        corners.add(round(float(inner[0, 0]), 3))
    assert len(corners) == 20


def test_trim_takes_what_pad_added() -> None:
    shown = pictures()
    torch.testing.assert_close(through(Pad(5), Trim(), of=shown), shown, rtol=0, atol=1e-5)


def test_transforms_follow_one_another() -> None:
    shown = pictures()
    first = through(Pad(4), Rotate(90, 90), of=shown)
    torch.testing.assert_close(
        first, torch.rot90(F.pad(shown, [4] * 4, value=0.5), 1, (2, 3)), rtol=0, atol=1e-4
    )
    there_and_back = through(Scale(0.9, 0.9), Rotate(-7, -7), Rotate(7, 7), of=shown)
    torch.testing.assert_close(
        there_and_back, through(Scale(0.9, 0.9), of=shown), rtol=0, atol=1e-4
    )


def test_lengths_shrink_with_a_canvas_under_128_pixels() -> None:
    found = [through(Pad(12), of=pictures(side, side)).shape[2] for side in (128, 64, 300, 3)]
    assert found == [152, 76, 324, 3]


def test_the_same_draw_moves_every_picture_of_a_batch_alike() -> None:
    shown = pictures()
    moves: list[Transform] = [Jitter(8), Scale(0.9, 1.1), Rotate(-10, 10)]
    together = through(*moves, of=shown)
    for n in range(2):
        torch.testing.assert_close(together[n : n + 1], through(*moves, of=shown[n : n + 1]))


def test_a_seed_decides_the_draw() -> None:
    shown = pictures()
    first, again, other = (through(Rotate(-10, 10), of=shown, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
