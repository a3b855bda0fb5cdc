"""Transforms, each checked by what it does to single pixels."""

import math

import pytest
import torch
import torch.nn.functional as F

from retroscope.methods.synthesis.transforms import (
    Crop,
    Jitter,
    Pad,
    Rotate,
    SamplingFrame,
    Scale,
    Transform,
    Trim,
    Zoom,
    apply_transforms,
    sample_frame,
)
from tests.conftest import numbers

SIDE = 128


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_pixels(height: int = SIDE, width: int = SIDE) -> torch.Tensor:
    return torch.sigmoid(numbers(2, 3, height, width))


def transform(pixels: torch.Tensor, *transforms: Transform, seed: int = 0) -> torch.Tensor:
    return apply_transforms(pixels, transforms, generator(seed))


def ramp(down: float, right: float) -> torch.Tensor:
    """Bilinear interpolation is exact on a linear ramp."""
    y, x = torch.arange(SIDE).double()[:, None], torch.arange(SIDE).double()[None, :]
    return (down * y + right * x)[None, None]


def test_the_frame_of_a_whole_canvas_samples_it_unchanged() -> None:
    pixels = random_pixels(20, 33)
    torch.testing.assert_close(
        sample_frame(pixels, SamplingFrame.of_canvas(20, 33)), pixels, rtol=0, atol=1e-6
    )


def test_pad_adds_grey_on_all_sides() -> None:
    pixels = random_pixels()
    torch.testing.assert_close(
        transform(pixels, Pad(3)), F.pad(pixels, [3] * 4, value=0.5), rtol=0, atol=1e-5
    )


def test_jitter_crops_at_every_offset() -> None:
    pixels = random_pixels()
    crops = {
        (y, x): pixels[:, :, y : y + SIDE - 2, x : x + SIDE - 2] for y in range(3) for x in range(3)
    }
    offsets = set()
    for seed in range(80):
        moved = transform(pixels, Jitter(2), seed=seed)
        (offset,) = [key for key, crop in crops.items() if torch.allclose(moved, crop, atol=1e-4)]
        offsets.add(offset)
    assert offsets == crops.keys()


def test_an_odd_jitter_crops_whole_pixels_too() -> None:
    pixels = random_pixels()
    moved = transform(pixels, Jitter(3))
    side = SIDE - 3
    assert any(
        torch.allclose(moved, pixels[:, :, y : y + side, x : x + side], atol=1e-4)
        for y in range(4)
        for x in range(4)
    )


def test_scaling_to_double_enlarges_the_middle() -> None:
    pixels = random_pixels()
    middle = pixels[:, :, SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4]
    expected = F.interpolate(middle, scale_factor=2, mode="bilinear", align_corners=False)
    output = transform(pixels, Scale(2, 2))
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(output[inner], expected[inner], rtol=0, atol=1e-5)


def test_scaling_to_half_leaves_a_grey_border() -> None:
    output = transform(torch.ones(1, 1, SIDE, SIDE), Scale(0.5, 0.5))
    edge = SIDE // 4
    assert (output[..., edge + 1 : -edge - 1, edge + 1 : -edge - 1] == 1).all()
    assert (output[..., : edge - 1, :] == 0.5).all()


@pytest.mark.parametrize(("angle", "turns"), [(90, 1), (180, 2), (-90, -1)])
def test_rotating_turns_counter_clockwise(angle: float, turns: int) -> None:
    pixels = random_pixels()
    expected = torch.rot90(pixels, turns, (2, 3))
    output = transform(pixels, Rotate(angle, angle))
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-4)


def test_rotating_a_ramp_turns_its_slope() -> None:
    angle = math.radians(10)
    output = transform(ramp(0, 1), Rotate(10, 10))[0, 0]
    inner = output[40:90, 40:90]
    right, down = inner.diff(dim=1), inner.diff(dim=0)
    torch.testing.assert_close(right, torch.full_like(right, math.cos(angle)), rtol=0, atol=1e-4)
    torch.testing.assert_close(down, torch.full_like(down, -math.sin(angle)), rtol=0, atol=1e-4)


def test_a_crop_of_half_enlarges_a_part_to_double() -> None:
    corners = set()
    for seed in range(20):
        output = transform(ramp(1, 2), Crop(0.5, 0.5), seed=seed)[0, 0]
        inner = output[2:-2, 2:-2]
        assert torch.allclose(inner.diff(dim=0), torch.tensor(0.5).double(), atol=1e-4)
        assert torch.allclose(inner.diff(dim=1), torch.tensor(1.0).double(), atol=1e-4)
        assert 0 <= inner.min() <= inner.max() <= 3 * (SIDE - 1)
        corners.add(round(float(inner[0, 0]), 3))
    assert len(corners) == 20


def test_trim_removes_what_pad_added() -> None:
    pixels = random_pixels()
    torch.testing.assert_close(transform(pixels, Pad(5), Trim()), pixels, rtol=0, atol=1e-5)


def test_transforms_compose_in_order() -> None:
    pixels = random_pixels()
    first = transform(pixels, Pad(4), Rotate(90, 90))
    torch.testing.assert_close(
        first, torch.rot90(F.pad(pixels, [4] * 4, value=0.5), 1, (2, 3)), rtol=0, atol=1e-4
    )
    turned_and_back = transform(pixels, Scale(0.9, 0.9), Rotate(-7, -7), Rotate(7, 7))
    torch.testing.assert_close(
        turned_and_back, transform(pixels, Scale(0.9, 0.9)), rtol=0, atol=1e-4
    )


def test_lengths_shrink_with_a_canvas_under_128_pixels() -> None:
    sides = [transform(random_pixels(side, side), Pad(12)).shape[2] for side in (128, 64, 300, 3)]
    assert sides == [152, 76, 324, 3]


def test_one_draw_moves_every_image_of_a_batch() -> None:
    pixels = random_pixels()
    moves: list[Transform] = [Jitter(8), Scale(0.9, 1.1), Rotate(-10, 10)]
    together = transform(pixels, *moves)
    for n in range(2):
        torch.testing.assert_close(together[n : n + 1], transform(pixels[n : n + 1], *moves))


def test_the_seed_determines_the_draw() -> None:
    pixels = random_pixels()
    first, repeated, changed = (transform(pixels, Rotate(-10, 10), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, repeated)
    assert not torch.allclose(first, changed)


@pytest.mark.parametrize(("side", "smallest"), [(300, 0.3), (128, 0.3), (64, 0.65), (16, 0.9125)])
def test_zoom_magnifies_small_canvases_less(side: int, smallest: float) -> None:
    frames = [Zoom(0.3)(SamplingFrame.of_canvas(side, side), generator(n)) for n in range(300)]
    shares = [frame.matrix[0] for frame in frames]
    assert smallest <= min(shares) < smallest + 0.05 * (1 - smallest)
    assert 1 >= max(shares) > 1 - 0.05 * (1 - smallest)
    for frame, share in zip(frames, shares, strict=True):
        assert frame.matrix == (share, 0, 0, share)
        reach = max(map(abs, frame.centre)) + share * side / 2
        assert reach <= side / 2 + 1e-6, "the crop leaves the canvas"
