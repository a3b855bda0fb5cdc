"""The spectrum of images, and what of a filter's response to them a stride cannot carry."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from retroscope.imaging.decoding import RGB

Floats = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]
"""The mean products of the colours at each frequency: (size, size, colours, colours)."""

TILE = 64
"""Pixels along each side of the tiles whose spectra are averaged."""


def image_spectrum(images: Sequence[RGB], std: Sequence[float]) -> Spectrum:
    """The spectrum of images of one size, whose colours a network divides by these numbers.

    A network with one number takes the mean of the colours.
    """
    height, width = images[0].shape[:2]
    size = min(TILE, height, width)
    window = np.outer(np.hanning(size), np.hanning(size))[..., None]
    total = np.zeros((size, size, len(std), len(std)), np.complex128)
    for image in images:
        pixels = image.astype(np.float64)
        colours = pixels if len(std) == 3 else pixels.mean(axis=2, keepdims=True)
        for top in range(0, height - size + 1, size):
            for left in range(0, width - size + 1, size):
                tile = colours[top : top + size, left : left + size] / np.array(std)
                waves = np.fft.fft2((tile - tile.mean(axis=(0, 1))) * window, axes=(0, 1))
                total += waves[..., :, None] * waves[..., None, :].conj()
    return total


def natural_spectrum(colours: int, size: int = TILE) -> Spectrum:
    """The spectrum of natural images: power falls with the square of the frequency (Field 1987)."""
    squared = np.square(np.fft.fftfreq(size))
    frequencies = squared[:, None] + squared
    power = np.divide(1.0, frequencies, out=np.zeros_like(frequencies), where=frequencies > 0)
    spectrum: Spectrum = (power[..., None, None] * np.eye(colours)).astype(np.complex128)
    return spectrum


def folded_share(
    weights: npt.NDArray[np.float32], strides: tuple[float, float], spectrum: Spectrum
) -> float:
    """The share of a filter's response above the Nyquist frequency of its map.

    What lies above half a cycle for each step of the stride is folded to lower frequencies.
    """
    size = len(spectrum)
    response = np.fft.fft2(weights.astype(np.float64), (size, size), axes=(0, 1)).conj()
    power = np.einsum("yxc,yxcd,yxd->yx", response, spectrum, response.conj()).real
    frequencies = np.abs(np.fft.fftfreq(size))
    is_folded = (frequencies[:, None] > 0.5 / strides[0]) | (frequencies > 0.5 / strides[1])
    total = float(power.sum())
    return float(power[is_folded].sum()) / total if total > 0 else 0.0
