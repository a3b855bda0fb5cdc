"""Made-up results with structure that an eye can follow: blobs, stripes, smooth colours."""

import numpy as np
import numpy.typing as npt

from retroscope.geometry import Box, Field, ReceptiveField
from retroscope.results import Activations, Layer, Patch, Picture, Pixels, Projection
from retroscope.unit import Unit

SIZE = (224, 224)


def numbers(values: npt.ArrayLike) -> Pixels:
    """Values as a network holds them."""
    return np.asarray(values, np.float32)


def field(size: int = 92, *, whole: bool = False) -> ReceptiveField:
    """A square field."""
    axis = Field(size, 16, -size // 2)
    return ReceptiveField(axis, axis, whole=whole)


def scene(height: int, width: int, *, seed: int = 0) -> Picture:
    """A picture of smooth colours."""
    y, x = _axes(height, width)
    bands = [np.sin(4 * x * (band + 1) + 3 * y + seed) for band in range(3)]
    picture: Picture = np.rint(128 + 100 * np.stack(bands, axis=-1)).astype(np.uint8)
    return picture


def stripes(height: int, width: int, *, seed: int = 0) -> Pixels:
    """A signed ripple that fades towards the edges."""
    random = np.random.default_rng(seed)
    y, x = _axes(height, width)
    angle = 3 * random.random()
    ripple = np.sin(25 * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)))
    faded = ripple * np.exp(-((y - 0.5) ** 2 + (x - 0.5) ** 2) / 0.05)
    tint = 1 + 2 * random.random(3)
    return numbers(faded[..., None] * tint)


def blobs(channels: int, height: int, width: int, *, lowest: float = 0) -> Pixels:
    """Maps with three bumps each; the bumps go below zero where `lowest` does."""
    random = np.random.default_rng(1)
    y, x = _axes(height, width)
    maps = np.zeros((channels, height, width), np.float32)
    for channel in range(channels):
        for top, left, share in random.random((3, 3)):
            peak = lowest + share * (1 - lowest)
            maps[channel] += peak * np.exp(-((y - top) ** 2 + (x - left) ** 2) / 0.02)
    return maps


def projection(
    height: int = 40,
    width: int = 40,
    *,
    channel: int = 42,
    patch: bool = True,
    source: str = "photos/cat.jpg",
    notes: tuple[str, ...] = (),
) -> Projection:
    """A projection of a made-up unit, beside its patch or without one."""
    return Projection(
        unit=Unit("features.28", channel, (6, 7)),
        activation=12.34,
        box=Box(12, 40, 12 + height, 40 + width),
        pixels=stripes(height, width, seed=channel),
        rules="deconvnet",
        size=SIZE,
        patch=scene(height, width, seed=channel) if patch else None,
        source=source,
        notes=notes,
    )


def corner_patch() -> Patch:
    """A patch whose field leaves the picture at the top left, by 10 and 20 pixels."""
    shown = Projection(
        Unit("conv2_1", 5, (0, 0)), 3.5, Box(0, 0, 40, 30), stripes(40, 30), "deconvnet", SIZE
    )
    return Patch(3.5, "photos/cat.jpg", (0, 0), Box(-10, -20, 40, 30), scene(50, 50), shown)


def activations(maps: Pixels, *, kind: str = "relu") -> Activations:
    """Maps as the activations of a made-up layer."""
    channels, height, width = maps.shape
    layer = Layer("features.28", kind, channels, (height, width), field())
    return Activations(layer, maps, "photos/cat.jpg")


def layers(count: int) -> tuple[Layer, ...]:
    """Layers of a made-up network, deeper and smaller as they go."""
    return tuple(
        Layer(
            f"features.{n}",
            ("conv", "relu")[n % 2],
            64 << n // 4,
            (224 >> n // 4, 224 >> n // 4),
            field(3 + 4 * n, whole=n == 11),
            aliases=(f"conv{n // 2 + 1}",) if n % 2 == 0 else (),
            index=n,
            note="an operation is not known: the field is the whole image" if n == 11 else "",
        )
        for n in range(count)
    )


def _axes(height: int, width: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    y, x = np.mgrid[:height, :width] / max(height, width)
    return y, x
