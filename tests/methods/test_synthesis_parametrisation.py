"""Canvases, colour matrices and regularisers, checked against their definitions."""

import numpy as np
import pytest
import torch

from retroscope.methods.gaussian_blur import Border, gaussian_blur
from retroscope.methods.synthesis.canvas_optimisation import limit_contrast
from retroscope.methods.synthesis.colour_space import (
    WHITE,
    bounded_logit,
    bounded_sigmoid,
    colour_matrix,
    correlate_colours,
    decorrelate_colours,
)
from retroscope.methods.synthesis.gradient_ascent import (
    Blur,
    ClipNorms,
    Decay,
    GradientAscent,
    take_step,
)
from retroscope.methods.synthesis.parametrisation import (
    Canvas,
    FourierCanvas,
    PhaseCanvas,
    PixelCanvas,
    frequencies,
)
from retroscope.methods.synthesis.recipes import MACO, ZOOM, with_steps
from tests.conftest import numbers

COVARIANCE_ROOT = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth_image(height: int, width: int) -> torch.Tensor:
    """An image like a photograph: no value at its limit, mostly low frequencies."""
    y, x = np.mgrid[:height, :width] / 7
    planes = [0.5 + 0.3 * np.sin(y * (n + 1) / 2 + x + n) * np.cos(x / (n + 1)) for n in range(3)]
    return torch.from_numpy(np.stack(planes)[None]).float()


def test_the_colour_matrix_is_that_of_olah_et_al() -> None:
    matrix = colour_matrix(3).double().numpy()
    np.testing.assert_allclose(matrix, COVARIANCE_ROOT / 0.46195, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=0).max(), 1, rtol=1e-4)


def test_each_axis_gives_its_column_of_the_colour_matrix() -> None:
    for axis in range(3):
        planes = torch.zeros(1, 3, 1, 1)
        planes[0, axis] = 2
        expected = 2 * COVARIANCE_ROOT[:, axis] / 0.46195
        np.testing.assert_allclose(
            correlate_colours(planes)[0, :, 0, 0].numpy(), expected, rtol=1e-5
        )


@pytest.mark.parametrize("decay", [1.0, 0.5, 0.0])
def test_the_length_of_a_colour_axis_is_its_spread_to_the_power_of_the_decay(decay: float) -> None:
    spreads = np.linalg.norm(COVARIANCE_ROOT, axis=0)
    directions = COVARIANCE_ROOT / spreads
    expected = directions * (spreads / spreads.max()) ** decay
    np.testing.assert_allclose(colour_matrix(3, decay).numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_decorrelating_inverts_correlating(decay: float) -> None:
    planes = numbers(2, 3, 4, 5).float()
    torch.testing.assert_close(
        decorrelate_colours(correlate_colours(planes, decay), decay), planes, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(correlate_colours(planes[:, :1], decay), planes[:, :1])


def test_the_bounded_sigmoid_reaches_black_and_white_and_is_invertible() -> None:
    pixels = torch.linspace(0, 1, 256)
    parameters = bounded_logit(pixels)
    assert (float(parameters[0]), float(parameters[-1])) == pytest.approx((-WHITE, WHITE), abs=1e-5)
    torch.testing.assert_close(bounded_sigmoid(parameters), pixels, rtol=0, atol=1e-6)
    extremes = bounded_sigmoid(torch.tensor([-40.0, 40.0]))
    torch.testing.assert_close(extremes, torch.tensor([0.0, 1.0]), rtol=0, atol=1e-6)


def test_only_gradients_beyond_black_or_white_are_blocked() -> None:
    parameters = torch.tensor([-4.0, -4.0, 0.5, 0.5, 4.0, 4.0]).requires_grad_()
    weights = torch.tensor([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
    (gradient,) = torch.autograd.grad((bounded_sigmoid(parameters) * weights).sum(), parameters)
    edge, inner = (_derivative(parameter) for parameter in (WHITE, 0.5))
    expected = torch.tensor([0.0, edge, -inner, inner, -edge, 0.0])
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=0)


def _derivative(parameter: float) -> float:
    """The derivative of `bounded_sigmoid`, which is tanh(p / 2) / tanh(WHITE / 2) / 2 + 0.5."""
    return float(0.25 / (np.cosh(parameter / 2) ** 2 * np.tanh(WHITE / 2)))


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (6, 9), (1, 1), (3, 4)])
def test_frequencies_are_those_of_numpy(size: tuple[int, int]) -> None:
    y, x = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
    expected = np.maximum(np.hypot(y, x), 1 / max(size))
    np.testing.assert_allclose(frequencies(*size).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (3, 4)])
def test_a_spectrum_is_scaled_transformed_correlated_and_bounded(size: tuple[int, int]) -> None:
    shape = (2, 3, *size)
    parameters = FourierCanvas(spread=1).initialise(shape, generator())
    spectrum = parameters[..., 0].double().numpy() + 1j * parameters[..., 1].double().numpy()
    scaled = spectrum / frequencies(*size).double().numpy()
    planes = np.fft.irfft2(scaled, s=size, norm="ortho") / 4
    correlated_planes = np.einsum("rc,nchw->nrhw", COVARIANCE_ROOT / 0.46195, planes).clip(
        -1.5, 1.5
    )
    expected = 0.5 + 0.5 * np.tanh(correlated_planes / 2) / np.tanh(0.75)
    output = FourierCanvas().to_pixels(parameters, shape).numpy()
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [16, 32, 48])
def test_a_small_canvas_has_longer_colour_axes(side: int) -> None:
    shape, canvas = (1, 3, side, side), FourierCanvas(full_decay_side=32)
    spreads = np.linalg.norm(COVARIANCE_ROOT, axis=0)
    matrix = COVARIANCE_ROOT / spreads * (spreads / spreads.max()) ** min((side / 32) ** 0.5, 1)
    grey_axes = FourierCanvas(decorrelated=False)
    parameters = grey_axes.initialise(shape, generator())
    planes = bounded_logit(grey_axes.to_pixels(parameters, shape))
    expected = torch.einsum("rc,nchw->nrhw", torch.from_numpy(matrix).float(), planes)
    colours = bounded_logit(canvas.to_pixels(parameters, shape))
    torch.testing.assert_close(colours, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "canvas",
    [
        FourierCanvas(),
        FourierCanvas(decorrelated=False),
        FourierCanvas(full_decay_side=64),
        PixelCanvas(),
    ],
)
@pytest.mark.parametrize("size", [(24, 24), (23, 31)])
def test_a_canvas_encodes_an_image_exactly(canvas: Canvas, size: tuple[int, int]) -> None:
    target = smooth_image(*size)
    output = canvas.to_pixels(canvas.from_pixels(target), (1, 3, *size))
    torch.testing.assert_close(output, target, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "target", [smooth_image(32, 32), smooth_image(32, 32).round()], ids=["soft", "hard"]
)
@pytest.mark.parametrize("canvas", [FourierCanvas(), PixelCanvas()])
def test_a_canvas_can_be_optimised_towards_an_image(canvas: Canvas, target: torch.Tensor) -> None:
    shape = (1, 3, 32, 32)
    parameters = canvas.initialise(shape, generator()).requires_grad_()
    optimiser = torch.optim.Adam([parameters], lr=0.05, maximize=True)
    for _ in range(1000):
        optimiser.zero_grad()
        similarity = -(canvas.to_pixels(parameters, shape) - target).square().sum()
        similarity.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            canvas.clamp_(parameters)
    assert (canvas.to_pixels(parameters.detach(), shape) - target).abs().mean() < 0.01


def test_a_phase_canvas_has_magnitudes_of_one_over_f() -> None:
    shape = (1, 3, 16, 16)
    canvas = PhaseCanvas()
    for seed in range(3):
        planes = canvas.decorrelated_planes(canvas.initialise(shape, generator(seed)), shape)
        output = torch.fft.rfft2(planes, norm="ortho").abs()
        expected = (1 / frequencies(16, 16)).expand_as(output)
        # The first and last column of a real image's spectrum are constrained, so skip them.
        torch.testing.assert_close(output[..., 1:-1], expected[..., 1:-1], rtol=1e-4, atol=1e-4)


def test_an_image_is_encoded_by_the_phases_of_its_planes() -> None:
    target = smooth_image(32, 32)
    planes = decorrelate_colours(torch.logit(target))
    spectrum = torch.fft.rfft2(planes)[..., 1:-1]
    unit_spectrum = torch.polar(torch.ones(()), PhaseCanvas().from_pixels(target)[..., 1:-1])
    torch.testing.assert_close(unit_spectrum * spectrum.abs(), spectrum, rtol=1e-3, atol=1e-2)


def test_pixels_are_clamped_between_black_and_white() -> None:
    parameters = torch.tensor([-2.0, -0.2, 0.7])
    PixelCanvas().clamp_(parameters)
    assert (parameters + 0.5).tolist() == pytest.approx([0, 0.3, 1])


@pytest.mark.parametrize("canvas", [FourierCanvas(), PhaseCanvas(), PixelCanvas()])
def test_a_canvas_can_be_a_single_pixel(canvas: Canvas) -> None:
    shape = (2, 3, 1, 1)
    pixels = canvas.to_pixels(canvas.initialise(shape, generator()), shape)
    assert pixels.shape == shape
    assert pixels.isfinite().all()


def test_decay_shrinks_towards_grey() -> None:
    assert Decay(0.25)(torch.tensor([4.0, -8.0]), 1).tolist() == [3, -6]


def test_a_blur_is_gaussian() -> None:
    pixels = numbers(1, 2, 12, 9)
    padded = np.pad(pixels.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)), mode="edge")
    offsets = np.arange(-4, 5)
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.3**2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), axis=(2, 3))
    expected = (windows * kernel).sum((-2, -1)) / kernel.sum()
    blurred = gaussian_blur(pixels, 1.3, radius=4).numpy()
    np.testing.assert_allclose(blurred, expected, rtol=0, atol=1e-12)


def test_a_blur_that_ignores_the_outside_averages_the_pixels_inside() -> None:
    pixels = numbers(1, 2, 5, 4)
    offsets_y, offsets_x = np.arange(5), np.arange(4)
    expected = np.empty((1, 2, 5, 4))
    for y in range(5):
        for x in range(4):
            weights = np.exp(-((offsets_y[:, None] - y) ** 2 + (offsets_x - x) ** 2) / (2 * 2.0**2))
            expected[..., y, x] = (pixels.numpy() * weights).sum((-2, -1)) / weights.sum()
    blurred = gaussian_blur(pixels, 2.0, radius=6, border=Border.IGNORE).numpy()
    np.testing.assert_allclose(blurred, expected, rtol=0, atol=1e-12)


def test_a_blur_runs_every_few_steps() -> None:
    pixels = numbers(1, 1, 5, 5)
    changed = [not torch.equal(Blur(1, 4)(pixels, step), pixels) for step in range(1, 9)]
    assert changed == [False, False, False, True] * 2


def test_pixels_with_small_norms_become_grey() -> None:
    pixels = torch.tensor([[[[3.0, 0.1], [1.0, 2.0]], [[4.0, 0.1], [0.0, 0.0]]]])
    clipped = ClipNorms(0.5)(pixels, 1)
    assert clipped.tolist() == [[[[3, 0], [0, 2]], [[4, 0], [0, 0]]]]


def test_a_gradient_that_only_adds_contrast_vanishes_at_the_limit() -> None:
    offsets = numbers(2, 3, 8, 8) / 10
    contrasts = offsets.square().mean((1, 2, 3)).sqrt()
    for row, contrast in enumerate(contrasts.tolist()):
        pixels, gradient = 0.5 + offsets[row : row + 1], 7 * offsets[row : row + 1]
        at_limit, at_half, beyond = (
            limit_contrast(gradient, pixels, contrast * factor) for factor in (1, 2, 0.5)
        )
        torch.testing.assert_close(at_limit, torch.zeros_like(gradient), rtol=0, atol=1e-9)
        torch.testing.assert_close(at_half, 0.75 * gradient)
        torch.testing.assert_close(beyond, -3 * gradient)


def test_a_gradient_that_changes_the_image_at_equal_contrast_passes_unchanged() -> None:
    offsets, gradient = numbers(1, 3, 6, 6), numbers(1, 3, 6, 6).flip(3)
    tangent = gradient - (gradient * offsets).sum() / offsets.square().sum() * offsets
    for change in (tangent, tangent - 3 * offsets):  # the second also loses contrast
        torch.testing.assert_close(limit_contrast(change, 0.5 + offsets, 0.2), change)


def test_the_noise_of_a_recipe_fades_if_it_says_so() -> None:
    recipe = with_steps(ZOOM, 4)
    assert [recipe.noise_at(step) for step in (1, 2, 3, 4)] == pytest.approx([0.2, 0.15, 0.1, 0.05])
    assert {MACO.noise_at(step) for step in (1, 100, 256)} == {MACO.noise}


def test_steps_shrink_in_the_cooldown() -> None:
    ascent = GradientAscent("gradient", learning_rate=1.0, steps=8, cooldown=0.5)
    parameters = torch.zeros(1, requires_grad=True)
    optimiser, values = ascent.make_optimiser(parameters), [0.0]
    for step in range(1, 9):
        rate = ascent.learning_rate_at(step)
        take_step(optimiser, parameters, torch.ones(1), learning_rate=rate)
        values.append(float(parameters.detach()))
    assert np.diff(values).tolist() == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
