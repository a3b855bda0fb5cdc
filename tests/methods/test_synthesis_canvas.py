"""Canvases: the colour matrix, spectra and phases by their definitions; regularisers too."""

import numpy as np
import pytest
import torch

from retroscope.methods.synthesis.ascent import Blur, ClipNorms, Decay, blurred
from retroscope.methods.synthesis.canvas import Canvas, Fourier, Phases, Pixels, frequencies
from retroscope.methods.synthesis.colour import colour_matrix, coloured, decorrelated
from retroscope.methods.synthesis.squash import WHITE, squashed, unsquashed
from tests.conftest import numbers

SPREAD = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]])


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(height: int, width: int) -> torch.Tensor:
    """A picture as photographs are: no value at its limit, most of it in low frequencies."""
    y, x = np.mgrid[:height, :width] / 7
    planes = [0.5 + 0.3 * np.sin(y * (n + 1) / 2 + x + n) * np.cos(x / (n + 1)) for n in range(3)]
    return torch.from_numpy(np.stack(planes)[None]).float()


def test_the_colour_matrix_is_that_of_photographs() -> None:
    matrix = colour_matrix(3).double().numpy()
    np.testing.assert_allclose(matrix, SPREAD / 0.46195, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=0).max(), 1, rtol=1e-4)


def test_each_axis_has_its_own_colour() -> None:
    for axis in range(3):
        planes = torch.zeros(1, 3, 1, 1)
        planes[0, axis] = 2
        expected = 2 * SPREAD[:, axis] / 0.46195
        np.testing.assert_allclose(coloured(planes)[0, :, 0, 0].numpy(), expected, rtol=1e-5)


def test_decorrelating_undoes_colouring() -> None:
    planes = numbers(2, 3, 4, 5).float()
    torch.testing.assert_close(decorrelated(coloured(planes)), planes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(coloured(planes[:, :1]), planes[:, :1])


def test_squashing_reaches_black_and_white_and_can_be_undone() -> None:
    pixels = torch.linspace(0, 1, 256)
    inside = unsquashed(pixels)
    assert (float(inside[0]), float(inside[-1])) == pytest.approx((-WHITE, WHITE), abs=1e-5)
    torch.testing.assert_close(squashed(inside), pixels, rtol=0, atol=1e-6)
    ends = squashed(torch.tensor([-40.0, 40.0]))
    torch.testing.assert_close(ends, torch.tensor([0.0, 1.0]), rtol=0, atol=1e-6)


def test_a_gradient_ends_where_it_would_lead_beyond_black_or_white() -> None:
    numbers = torch.tensor([-4.0, -4.0, 0.5, 0.5, 4.0, 4.0]).requires_grad_()
    pulls = torch.tensor([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
    (found,) = torch.autograd.grad((squashed(numbers) * pulls).sum(), numbers)
    edge, inner = (_slope(number) for number in (WHITE, 0.5))
    expected = torch.tensor([0.0, edge, -inner, inner, -edge, 0.0])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def _slope(number: float) -> float:
    """The derivative of tanh(number / 2) / tanh(WHITE / 2) / 2, which `squashed` is."""
    return float(0.25 / (np.cosh(number / 2) ** 2 * np.tanh(WHITE / 2)))


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (6, 9), (1, 1), (3, 4)])
def test_frequencies_are_those_of_numpy(size: tuple[int, int]) -> None:
    y, x = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
    expected = np.maximum(np.hypot(y, x), 1 / max(size))
    np.testing.assert_allclose(frequencies(*size).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (3, 4)])
def test_a_spectrum_is_scaled_transformed_coloured_and_squashed(size: tuple[int, int]) -> None:
    shape = (2, 3, *size)
    drawn = Fourier(spread=1).start(shape, chance())
    spectrum = drawn[..., 0].double().numpy() + 1j * drawn[..., 1].double().numpy()
    scaled = spectrum / frequencies(*size).double().numpy()
    planes = np.fft.irfft2(scaled, s=size, norm="ortho") / 4
    coloured_planes = np.einsum("rc,nchw->nrhw", SPREAD / 0.46195, planes).clip(-1.5, 1.5)
    expected = 0.5 + 0.5 * np.tanh(coloured_planes / 2) / np.tanh(0.75)
    found = Fourier().picture(drawn, shape).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("canvas", [Fourier(), Fourier(decorrelated=False), Pixels()])
@pytest.mark.parametrize("size", [(24, 24), (23, 31)])
def test_a_canvas_is_told_a_picture_exactly(canvas: Canvas, size: tuple[int, int]) -> None:
    wanted = smooth(*size)
    found = canvas.picture(canvas.fitted(wanted), (1, 3, *size))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("wanted", [smooth(32, 32), smooth(32, 32).round()], ids=["soft", "hard"])
@pytest.mark.parametrize("canvas", [Fourier(), Pixels()])
def test_a_canvas_can_be_fitted_to_a_picture_step_by_step(
    canvas: Canvas, wanted: torch.Tensor
) -> None:
    shape = (1, 3, 32, 32)
    drawn = canvas.start(shape, chance()).requires_grad_()
    optimiser = torch.optim.Adam([drawn], lr=0.05, maximize=True)
    for _ in range(1000):
        optimiser.zero_grad()
        nearness = -(canvas.picture(drawn, shape) - wanted).square().sum()
        nearness.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            canvas.settle(drawn)
    assert (canvas.picture(drawn.detach(), shape) - wanted).abs().mean() < 0.01


def test_phases_hold_the_magnitudes_of_photographs() -> None:
    shape = (1, 3, 16, 16)
    canvas = Phases()
    for seed in range(3):
        planes = canvas.planes(canvas.start(shape, chance(seed)), shape)
        found = torch.fft.rfft2(planes, norm="ortho").abs()
        expected = (1 / frequencies(16, 16)).expand_as(found)
        # A real picture has real numbers in the first and last column: there the phase is bound.
        torch.testing.assert_close(found[..., 1:-1], expected[..., 1:-1], rtol=1e-4, atol=1e-4)


def test_phases_of_a_picture_are_those_of_its_planes() -> None:
    wanted = smooth(32, 32)
    planes = decorrelated(torch.logit(wanted))
    spectrum = torch.fft.rfft2(planes)[..., 1:-1]
    held = torch.polar(torch.ones(()), Phases().fitted(wanted)[..., 1:-1])
    torch.testing.assert_close(held * spectrum.abs(), spectrum, rtol=1e-3, atol=1e-2)


def test_pixels_settle_between_black_and_white() -> None:
    drawn = torch.tensor([-2.0, -0.2, 0.7])
    Pixels().settle(drawn)
    assert (drawn + 0.5).tolist() == pytest.approx([0, 0.3, 1])


@pytest.mark.parametrize("canvas", [Fourier(), Phases(), Pixels()])
def test_a_canvas_may_be_a_single_pixel(canvas: Canvas) -> None:
    shape = (2, 3, 1, 1)
    shown = canvas.picture(canvas.start(shape, chance()), shape)
    assert shown.shape == shape
    assert shown.isfinite().all()


def test_decay_pulls_to_grey() -> None:
    assert Decay(0.25)(torch.tensor([4.0, -8.0]), 1).tolist() == [3, -6]


def test_a_blur_is_gaussian() -> None:
    shown = numbers(1, 2, 12, 9)
    held = np.pad(shown.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)), mode="edge")
    away = np.arange(-4, 5)
    bell = np.exp(-(away[:, None] ** 2 + away**2) / (2 * 1.3**2))
    windows = np.lib.stride_tricks.sliding_window_view(held, (9, 9), axis=(2, 3))
    expected = (windows * bell).sum((-2, -1)) / bell.sum()
    np.testing.assert_allclose(blurred(shown, 1.3).numpy(), expected, rtol=0, atol=1e-12)


def test_a_blur_comes_every_few_steps() -> None:
    shown = numbers(1, 1, 5, 5)
    changed = [not torch.equal(Blur(1, 4)(shown, step), shown) for step in range(1, 9)]
    assert changed == [False, False, False, True] * 2


def test_faint_pixels_become_grey() -> None:
    shown = torch.tensor([[[[3.0, 0.1], [1.0, 2.0]], [[4.0, 0.1], [0.0, 0.0]]]])
    found = ClipNorms(0.5)(shown, 1)
    assert found.tolist() == [[[[3, 0], [0, 2]], [[4, 0], [0, 0]]]]
