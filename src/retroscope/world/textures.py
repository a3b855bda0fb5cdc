"""Seamless grey textures with values from about -1 to 1, each computed once."""

from collections.abc import Callable
from functools import cache, reduce

import numpy as np

from retroscope.errors import choose
from retroscope.world.seeded_random import SeededRandom
from retroscope.world.shapes import Grid

SIDE = 256


@cache
def texture(name: str) -> Grid:
    """A texture tiled 2 x 2 to 512 pixels a side, so any crop of up to 256 is one slice."""
    tiled = np.tile(choose("texture", name, TEXTURES)(), (2, 2))
    tiled.setflags(write=False)
    return tiled


def _random_values(seed: int, count: int) -> Grid:
    random = SeededRandom(4021, seed)
    return np.array([random.uniform(-1, 1) for _ in range(count)], np.float32)


def _smooth_noise(seed: int, down: int, across: int) -> Grid:
    """Value noise: smooth interpolation between down x across random heights."""
    heights = _random_values(seed, down * across).reshape(down, across)
    return _upsample(_upsample(heights, SIDE // down, axis=0), SIDE // across, axis=1)


def _upsample(heights: Grid, factor: int, *, axis: int) -> Grid:
    lower = np.repeat(heights, factor, axis)
    upper = np.repeat(np.roll(heights, -1, axis), factor, axis)
    step = np.tile(np.arange(factor, dtype=np.float32) / np.float32(factor), heights.shape[axis])
    weight = step * step * (3 - 2 * step)
    weights = weight[:, None] if axis == 0 else weight[None, :]
    interpolated: Grid = lower + (upper - lower) * weights
    return interpolated


def _weighted_sum(*layers: tuple[float, Grid]) -> Grid:
    return reduce(np.add, (np.float32(weight) * noise for weight, noise in layers))


def _blotches() -> Grid:
    return _weighted_sum(
        (0.6, _smooth_noise(1, 8, 8)),
        (0.3, _smooth_noise(2, 32, 32)),
        (0.1, _smooth_noise(3, 128, 128)),
    )


def _grain() -> Grid:
    return _random_values(4, SIDE * SIDE).reshape(SIDE, SIDE)


def _fur() -> Grid:
    return 0.7 * _smooth_noise(5, 32, 128) + 0.3 * _smooth_noise(6, 64, 256)


def _wood() -> Grid:
    return 0.6 * _smooth_noise(7, 64, 4) + 0.4 * _smooth_noise(8, 128, 8)


def _foliage() -> Grid:
    return 0.5 * _smooth_noise(21, 64, 64) + 0.5 * _smooth_noise(22, 32, 32)


def _grass() -> Grid:
    return 0.5 * _smooth_noise(9, 32, 64) + 0.5 * _smooth_noise(10, 64, 256)


def _clouds() -> Grid:
    return _weighted_sum(
        (0.55, _smooth_noise(11, 8, 4)),
        (0.3, _smooth_noise(12, 16, 8)),
        (0.15, _smooth_noise(13, 64, 32)),
    )


def _ripples() -> Grid:
    return 0.7 * _smooth_noise(14, 64, 16) + 0.3 * _smooth_noise(15, 128, 32)


def _bricks() -> Grid:
    y, x = np.mgrid[:SIDE, :SIDE]
    row = y // 8
    column = (x + 8 * (row % 2)) % SIDE // 16
    seam = (y % 8 == 0) | ((x + 8 * (row % 2)) % 16 == 0)
    tones = _random_values(16, 32 * 16)[row * 16 + column]
    return np.where(seam, np.float32(0.9), np.float32(0.35) * tones).astype(np.float32)


def _tiles() -> Grid:
    """Shingles, each row darker towards its lower edge."""
    y, x = np.mgrid[:SIDE, :SIDE]
    row = y // 8
    joint = (x + 4 * (row % 2)) % 8 == 0
    tones = _random_values(17, 32 * 32)[row * 32 + (x + 4 * (row % 2)) % SIDE // 8]
    slope = 0.5 - (y % 8) / np.float32(7)
    return np.where(joint, np.float32(-0.7), slope + 0.25 * tones).astype(np.float32)


def _scales() -> Grid:
    """Rows of half discs, lighter in the middle."""
    y, x = np.mgrid[:SIDE, :SIDE]
    across, down = (x + 4 * (y // 8 % 2)) % 8 - np.float32(3.5), y % 8 + np.float32(0.5)
    far = across * across + down * down / 4
    return np.where(far > 13, np.float32(-0.9), 0.6 - far / 13).astype(np.float32)


def _planks() -> Grid:
    y = np.arange(SIDE)[:, None]
    tones = _random_values(18, SIDE // 16)[y // 16]
    grain = 0.5 * _wood() + 0.3 * tones
    return np.where(y % 16 == 0, np.float32(-0.9), grain).astype(np.float32)


def _stripes() -> Grid:
    x = np.arange(SIDE)[None, :]
    band = np.where(x % 16 < 8, np.float32(0.5), np.float32(-0.5))
    return _weighted_sum((1.0, band), (0.15, _smooth_noise(19, 64, 64)))


def _weave() -> Grid:
    y, x = np.mgrid[:SIDE, :SIDE]
    over = ((y // 4) % 2 == 0).astype(np.float32) + ((x // 4) % 2 == 0).astype(np.float32)
    return _weighted_sum((0.45, over - 1), (0.2, _smooth_noise(20, 64, 64)))


def _spots() -> Grid:
    y, x = np.mgrid[:SIDE, :SIDE]
    a, b = y % 16 - 8, (x + 8 * (y // 16 % 2)) % 16 - 8
    return np.where(a * a + b * b < 10, np.float32(0.6), np.float32(-0.1)).astype(np.float32)


TEXTURES: dict[str, Callable[[], Grid]] = {
    "blotches": _blotches,
    "bricks": _bricks,
    "clouds": _clouds,
    "foliage": _foliage,
    "fur": _fur,
    "grain": _grain,
    "grass": _grass,
    "planks": _planks,
    "ripples": _ripples,
    "scales": _scales,
    "spots": _spots,
    "stripes": _stripes,
    "tiles": _tiles,
    "weave": _weave,
    "wood": _wood,
}
