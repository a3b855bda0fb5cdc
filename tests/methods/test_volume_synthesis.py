"""Patterns of networks of volumes: filters with known optima, motion, and the laws of images."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import retroscope as rs
from retroscope.errors import RetroscopeError
from retroscope.methods.synthesis.objectives import excite_class
from retroscope.methods.synthesis.parametrisation import FourierCanvas, PhaseCanvas, frequencies
from retroscope.methods.synthesis.recipes import RECIPES
from retroscope.methods.synthesis.synthesize import synthesize_many, synthesize_varied
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
from retroscope.network import Network
from retroscope.render.draw import draw
from tests.conftest import built, no_trace, numbers
from tests.methods.test_volumes import as_3d, image_network

FIELD = (5, 9, 9)


def moving_bar(step: int) -> torch.Tensor:
    """A bright bar that moves by a step to the right from slice to slice, its mean removed."""
    values = torch.zeros(FIELD)
    for z in range(FIELD[0]):
        place = 4 + step * (z - 2)
        values[z, :, place] = 1
    return (values - values.mean()) / 8


STEPS = (-2, -1, 0, 1, 2)


@pytest.fixture(scope="module")
def planted() -> Network:
    """A convolution whose channels look for bars of several speeds."""

    def make() -> nn.Module:
        return nn.Sequential(nn.Conv3d(1, len(STEPS), FIELD, padding=(2, 4, 4)), nn.ReLU())

    module = built(make)
    with torch.no_grad():
        module[0].weight.copy_(torch.stack([moving_bar(step)[None] for step in STEPS]))  # type: ignore[index]
        module[0].bias.zero_()  # type: ignore[index]
    return Network(module, input_size=(12, 32, 32), mean=[0.0])


def likeness(pattern: rs.Pattern, step: int) -> float:
    image = pattern.image[..., 0].astype(np.float64)
    return float(np.corrcoef(image.ravel(), moving_bar(step).numpy().ravel())[0, 1])


@pytest.mark.parametrize(
    ("recipe", "steps", "least"),
    [("zoom", None, 0.85), ("plain", 120, 0.9), ("olah", 200, 0.45), ("yosinski", 200, 0.5)],
)
def test_the_pattern_of_a_filter_is_the_filter(
    planted: Network, recipe: str, steps: int | None, least: float
) -> None:
    """Recipes that shift or blur the canvas widen bars of one pixel, so they are less like them."""
    units = [f"0:{channel}" for channel in range(len(STEPS))]
    patterns = synthesize_many(planted, units, recipe=recipe, steps=steps)
    for pattern, step in zip(patterns, STEPS, strict=True):
        assert pattern.size == FIELD
        assert pattern.activation > max(pattern.started_at, 0)
        others = [likeness(pattern, other) for other in STEPS if other != step]
        assert likeness(pattern, step) > max(least, max(others) + 0.2)


def test_maco_excites_a_unit_of_a_volume(planted: Network) -> None:
    pattern = rs.synthesize(planted, "0:3", recipe="maco", steps=20, size=(6, 16, 16))
    assert pattern.score > pattern.started_at
    assert pattern.opacity is not None
    assert pattern.opacity.shape == (6, 16, 16)
    assert draw(pattern).width > 6 * 16


def test_the_activation_is_that_of_the_pattern_inside_a_volume(planted: Network) -> None:
    """The unit whose field is the pattern has the stated activation, whatever is around it."""
    pattern = rs.synthesize(planted, "0:1", steps=10)
    assert pattern.pixels is not None
    volume = numbers(1, 12, 32, 32).float()
    volume[:, 3:8, 10:19, 6:15] = torch.from_numpy(pattern.pixels).movedim(-1, 0)
    with torch.no_grad():
        maps = planted.module(volume[None])[0]
    assert float(maps[1, 5, 14, 10]) == pytest.approx(pattern.activation, rel=1e-5)


def test_a_unit_in_the_corner_sees_a_clipped_field(planted: Network) -> None:
    pattern = rs.synthesize(planted, "0:2@0,0,31", steps=20)
    assert pattern.size == (3, 5, 5)
    assert pattern.pixels is not None
    volume = torch.zeros(1, 12, 32, 32)
    volume[:, :3, :5, 27:] = torch.from_numpy(pattern.pixels).movedim(-1, 0)
    with torch.no_grad():
        maps = planted.module(volume[None])[0]
    assert float(maps[2, 0, 0, 31]) == pytest.approx(pattern.activation, rel=1e-5)
    assert pattern.score > pattern.started_at


# What a trained network looks for


def clips(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Bars in noise that move to the left (0) or to the right (1), one pixel a slice."""
    values = torch.rand(count, 1, 6, 16, 16, generator=generator) * 0.2
    labels = torch.randint(2, (count,), generator=generator)
    starts = torch.randint(16, (count,), generator=generator)
    for clip, label, start in zip(values, labels.tolist(), starts.tolist(), strict=True):
        for z in range(6):
            clip[0, z, :, (start + (2 * label - 1) * z) % 16] += 0.6
    return values, labels


@pytest.fixture(scope="module")
def motion() -> Network:
    def make() -> nn.Module:
        return nn.Sequential(
            *(nn.Conv3d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv3d(6, 6, 3, padding=1), nn.ReLU()),
            *(nn.AdaptiveMaxPool3d(1), nn.Flatten(), nn.Linear(6, 2)),
        )

    module, generator = built(make), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(60):
        values, labels = clips(24, generator)
        loss = F.cross_entropy(module(values), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        values, labels = clips(64, generator)
        assert bool((module(values).argmax(1) == labels).all())
    return Network(module, input_size=(6, 16, 16), mean=[0.0], labels=["left", "right"])


def direction(volume: npt.NDArray[np.uint8]) -> int:
    """The shift from slice to slice at which a volume is most like itself."""
    values = volume[..., 0].astype(np.float64)
    values -= values.mean((1, 2), keepdims=True)

    def agreement(shift: int) -> float:
        pairs = zip(values, np.roll(values[1:], -shift, axis=2), strict=False)
        return float(sum((first * second)[:, 2:-2].sum() for first, second in pairs))

    return max((-2, -1, 0, 1, 2), key=agreement)


def test_the_pattern_of_a_direction_moves_in_it(motion: Network) -> None:
    objectives = [excite_class("left"), excite_class("right")]
    left, right = synthesize_many(motion, objectives, steps=60)
    assert (direction(left.image), direction(right.image)) == (-1, 1)
    for pattern in (left, right):
        assert pattern.size == (6, 16, 16)
        assert pattern.score > pattern.started_at + 2


# Laws


@pytest.mark.parametrize("recipe", ["plain", "yosinski", "zoom", "olah", "maco"])
@pytest.mark.parametrize("unit", ["4:3@*", "4:1@*", "7"])
def test_a_volume_of_one_slice_has_the_pattern_of_the_image(recipe: str, unit: str) -> None:
    flat = built(image_network)
    assert isinstance(flat, nn.Sequential)
    mean = [0.3, 0.4, 0.5]
    image_net = Network(flat, input_size=(22, 18), mean=mean)
    deep = Network(as_3d(flat).float(), input_size=(1, 22, 18), mean=mean)
    image = rs.synthesize(image_net, unit, recipe=recipe, steps=12)
    volume = rs.synthesize(deep, unit, recipe=recipe, steps=12)
    assert volume.size == (1, *image.size)
    difference = volume.image[0].astype(int) - image.image
    assert abs(difference).max() <= 1
    assert volume.score == pytest.approx(image.score, rel=1e-2)


def test_varied_patterns_of_a_volume_differ(planted: Network) -> None:
    first, second = synthesize_varied(planted, "0:2", 2, steps=15, size=(7, 12, 12))
    assert first.size == second.size == (7, 12, 12)
    assert abs(first.image.astype(int) - second.image).mean() > 5
    again = synthesize_varied(planted, "0:2", 2, steps=15, size=(7, 12, 12))
    np.testing.assert_array_equal(again[0].image, first.image)


def test_a_pattern_may_start_from_a_volume(planted: Network) -> None:
    start = torch.rand(1, 6, 14, 14, generator=torch.Generator().manual_seed(0))
    pattern = rs.synthesize(planted, "0:2", recipe="plain", steps=1, seed_image=start)
    assert pattern.size == (6, 14, 14)
    assert np.corrcoef(pattern.image[..., 0].ravel(), start.numpy().ravel())[0, 1] > 0.98


def test_synthesis_of_a_volume_leaves_no_trace(planted: Network) -> None:
    with no_trace(planted.module):
        rs.synthesize(planted, "0:2", steps=2)


# Transforms and spectra


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_frame_of_a_whole_volume_samples_it_unchanged() -> None:
    pixels = torch.sigmoid(numbers(2, 3, 6, 10, 13))
    frame = SamplingFrame.of_canvas(6, 10, 13)
    torch.testing.assert_close(sample_frame(pixels, frame), pixels, rtol=0, atol=1e-6)


def test_all_slices_are_rotated_as_an_image() -> None:
    pixels = torch.sigmoid(numbers(1, 3, 6, 20, 17))
    rotated = apply_transforms(pixels, [Rotate(-30, 30)], generator(3))
    for z in range(6):
        image = apply_transforms(pixels[:, :, z], [Rotate(-30, 30)], generator(3))
        torch.testing.assert_close(rotated[:, :, z], image, rtol=0, atol=1e-5)


def test_a_translation_moves_along_each_axis() -> None:
    """Interpolation is exact on a ramp, so a moved ramp is higher by its slopes."""
    z, y, x = np.meshgrid(*map(np.arange, (8, 9, 10)), indexing="ij")
    ramp = torch.from_numpy(0.3 * z + 0.2 * y - 0.1 * x)[None, None]
    frame = SamplingFrame.of_canvas(8, 9, 10).translate(0.5, -1, 2).resize(4, 5, 4)
    expected = ramp[:, :, 2:6, 2:7, 3:7] + 0.3 * 0.5 - 0.2 - 0.1 * 2
    torch.testing.assert_close(sample_frame(ramp, frame), expected, rtol=0, atol=1e-5)


def test_transforms_shrink_with_each_axis() -> None:
    size = (16, 128, 128)
    frames = [Jitter(8)(SamplingFrame.of_canvas(*size), generator(seed)) for seed in range(40)]
    assert {frame.size for frame in frames} == {(15, 120, 120)}
    assert {frame.centre[0] for frame in frames} == {-0.5, 0.5}
    assert Pad(12)(frames[0], generator()).size == (19, 144, 144)
    assert Trim()(frames[0], generator()).size == size
    crops = [Zoom(0.3)(SamplingFrame.of_canvas(*size), generator(seed)) for seed in range(200)]
    along_depth, down, across = zip(*(crop.matrix[::4] for crop in crops), strict=True)
    assert down == across
    assert min(along_depth) == pytest.approx(1 - 0.7 / 8, abs=0.01)
    assert min(down) == pytest.approx(0.3, abs=0.05)
    whole = Crop(0.5, 1)(SamplingFrame.of_canvas(*size), generator(1)).matrix
    assert whole == tuple(np.diag([whole[0]] * 3).ravel())
    assert Scale(2, 2)(SamplingFrame.of_canvas(*size), generator()).matrix[::4] == (0.5,) * 3


TRANSFORMS: dict[str, tuple[Transform, ...]] = {
    "pad": (Pad(200),),
    "jitter": (Jitter(60),),
    "crop": (Crop(0.3, 1.0),),
    **{name: RECIPES[name].transforms for name in ("zoom", "olah", "maco")},
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("seed", range(3))
def test_a_single_slice_is_transformed_as_an_image(name: str, seed: int) -> None:
    """Nothing is drawn for an axis of one position, and nothing moves along it."""
    pixels = torch.sigmoid(numbers(2, 3, 20, 17))
    image = apply_transforms(pixels, TRANSFORMS[name], generator(seed))
    volume = apply_transforms(pixels[:, :, None], TRANSFORMS[name], generator(seed))
    assert volume.shape[2] == 1
    torch.testing.assert_close(volume[:, :, 0], image, rtol=0, atol=1e-5)


@pytest.mark.parametrize("transform", [Crop(0.3, 0.6), Zoom(0.3), Jitter(60), Rotate(5, 5)])
def test_a_row_of_pixels_does_not_fade(transform: Transform) -> None:
    row = torch.full((1, 3, 1, 64), 0.9)
    for seed in range(5):
        seen = apply_transforms(row, [transform], generator(seed))
        torch.testing.assert_close(seen, torch.full_like(seen, 0.9), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(4, 6, 5), (1, 8, 8), (3, 1, 2)])
def test_frequencies_are_distances_in_the_spectrum(size: Sequence[int]) -> None:
    axes = [np.fft.fftfreq(length) for length in size[:-1]] + [np.fft.rfftfreq(size[-1])]
    expected = np.empty([len(axis) for axis in axes])
    for place in product(*(range(len(axis)) for axis in axes)):
        squares = [axis[at] ** 2 for axis, at in zip(axes, place, strict=True)]
        expected[place] = max(np.sqrt(sum(squares)), 1 / max(size))
    np.testing.assert_allclose(frequencies(*size).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("canvas", [FourierCanvas(), PhaseCanvas()])
@pytest.mark.parametrize("shape", [(2, 3, 5, 8, 9), (1, 1, 4, 4, 6)])
def test_a_canvas_of_a_volume_has_pixels_from_0_to_1(canvas: Any, shape: tuple[int, ...]) -> None:
    parameters = canvas.initialise(shape, generator())
    pixels = canvas.to_pixels(parameters, shape)
    assert pixels.shape == shape
    assert float(pixels.min()) >= 0
    assert float(pixels.max()) <= 1


def test_a_fourier_canvas_keeps_the_pixels_of_a_volume() -> None:
    pixels = torch.sigmoid(numbers(1, 3, 5, 6, 7)).float()
    canvas = FourierCanvas()
    decoded = canvas.to_pixels(canvas.from_pixels(pixels), (1, 3, 5, 6, 7))
    torch.testing.assert_close(decoded, pixels, rtol=0, atol=1e-4)


# Figures, mistakes


def test_a_pattern_is_drawn_as_a_strip_of_slices(planted: Network) -> None:
    pattern = rs.synthesize(planted, "0:3", steps=5)
    drawn = np.array(draw(pattern, bare=True))
    assert drawn.shape == (9, 5 * 9 + 4, 3)
    for z in range(5):
        piece = drawn[:, z * 10 : z * 10 + 9]
        np.testing.assert_array_equal(piece, pattern.slice(z).image)
    assert pattern.slice(2).size == (9, 9)
    assert draw([pattern, pattern]).width > 2 * draw(pattern, bare=True).width
    assert pattern.to_tensor().shape == (3, *FIELD)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"recipe": "octaves"}, "the recipe 'octaves' makes images of 416 pixels, and Sequential"),
        ({"size": (4, 4)}, "a size of 4x4 for volumes; give one number, or one for each axis"),
        ({"size": 0}, "cannot synthesize 0x0x0 pixels; give a size of 1 or more"),
        ({"size": (4, -1, 4)}, "cannot synthesize 4x-1x4 pixels"),
        ({"unit": "0:1@9,9"}, "no position 9,9 in 0"),
        ({"unit": "0:1@2,2,2", "size": 4}, "whose position decides what it sees"),
    ],
)
def test_a_mistake_gets_one_clear_line(
    planted: Network, options: dict[str, Any], says: str
) -> None:
    arguments: dict[str, Any] = {"unit": "0:1", "steps": 1} | options
    with pytest.raises(RetroscopeError) as refusal:
        rs.synthesize(planted, arguments.pop("unit"), **arguments)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_patterns_of_signals_are_refused() -> None:
    net = Network(nn.Conv1d(1, 2, 3), input_size=(20,), mean=[0.0])
    with pytest.raises(RetroscopeError, match="no patterns of Conv1d: it takes signals"):
        rs.synthesize(net, "conv1:0")


def test_a_pattern_of_an_image_may_be_a_rectangle() -> None:
    net = Network(built(image_network), input_size=(22, 18), mean=[0.0] * 3)
    assert rs.synthesize(net, "0:1", steps=2, size=(7, 11)).size == (7, 11)


def test_an_image_to_start_from_keeps_its_proportions() -> None:
    net = Network(built(image_network), input_size=(22, 18), mean=[0.0] * 3)
    start = torch.rand(3, 22, 18, generator=generator())
    pattern = rs.synthesize(net, "4:1@*", recipe="plain", steps=1, seed_image=start)
    assert pattern.size == (22, 18)
    shown = np.moveaxis(start.numpy(), 0, 2)
    assert np.corrcoef(pattern.image.ravel(), shown.ravel())[0, 1] > 0.98
    with pytest.raises(RetroscopeError, match="cannot synthesize 0x0 pixels"):
        rs.synthesize(net, "4:1@*", steps=1, seed_image=start, size=0)
