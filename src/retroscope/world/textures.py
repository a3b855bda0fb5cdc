"""Seamless grey textures from -1 to 1, made once and kept: what surfaces are made of."""

from collections.abc import Callable
from functools import cache, reduce

import numpy as np

from retroscope.world.draws import Chance
from retroscope.world.shapes import Grid

SIDE = 256


@cache
def texture(name: str) -> Grid:
    """A texture of 512 x 512: four times the same seamless one, so that any crop is one slice."""
    made = np.tile(_MAKERS[name](), (2, 2))
    made.setflags(write=False)
    return made


def _draws(seed: int, count: int) -> Grid:
    chance = Chance(4021, seed)
    return np.array([chance.between(-1, 1) for _ in range(count)], np.float32)


def _waves(seed: int, down: int, across: int) -> Grid:
    """Smooth noise of this many cells, by interpolation between random heights."""
    heights = _draws(seed, down * across).reshape(down, across)
    return _finer(_finer(heights, SIDE // down, axis=0), SIDE // across, axis=1)


def _finer(heights: Grid, times: int, *, axis: int) -> Grid:
    lower = np.repeat(heights, times, axis)
    upper = np.repeat(np.roll(heights, -1, axis), times, axis)
    step = np.tile(np.arange(times, dtype=np.float32) / np.float32(times), heights.shape[axis])
    weight = step * step * (3 - 2 * step)
    placed = weight[:, None] if axis == 0 else weight[None, :]
    made: Grid = lower + (upper - lower) * placed
    return made


def _sum(*parts: tuple[float, Grid]) -> Grid:
    return reduce(np.add, (np.float32(share) * one for share, one in parts))


def _blotches() -> Grid:
    return _sum((0.6, _waves(1, 8, 8)), (0.3, _waves(2, 32, 32)), (0.1, _waves(3, 128, 128)))


def _grain() -> Grid:
    return _draws(4, SIDE * SIDE).reshape(SIDE, SIDE)


def _fur() -> Grid:
    return 0.7 * _waves(5, 32, 128) + 0.3 * _waves(6, 64, 256)


def _wood() -> Grid:
    return 0.6 * _waves(7, 64, 4) + 0.4 * _waves(8, 128, 8)


def _foliage() -> Grid:
    return 0.5 * _waves(21, 64, 64) + 0.5 * _waves(22, 32, 32)


def _grass() -> Grid:
    return 0.5 * _waves(9, 32, 64) + 0.5 * _waves(10, 64, 256)


def _clouds() -> Grid:
    return _sum((0.55, _waves(11, 8, 4)), (0.3, _waves(12, 16, 8)), (0.15, _waves(13, 64, 32)))


def _ripples() -> Grid:
    return 0.7 * _waves(14, 64, 16) + 0.3 * _waves(15, 128, 32)


def _bricks() -> Grid:
    y, x = np.mgrid[:SIDE, :SIDE]
    row = y // 8
    column = (x + 8 * (row % 2)) % SIDE // 16
    seam = (y % 8 == 0) | ((x + 8 * (row % 2)) % 16 == 0)
    tones = _draws(16, 32 * 16)[row * 16 + column]
    return np.where(seam, np.float32(0.9), np.float32(0.35) * tones).astype(np.float32)


def _tiles() -> Grid:
    """Shingles: each row darker towards its lower edge."""
    y, x = np.mgrid[:SIDE, :SIDE]
    row = y // 8
    joint = (x + 4 * (row % 2)) % 8 == 0
    tones = _draws(17, 32 * 32)[row * 32 + (x + 4 * (row % 2)) % SIDE // 8]
    slope = 0.5 - (y % 8) / np.float32(7)
    return np.where(joint, np.float32(-0.7), slope + 0.25 * tones).astype(np.float32)


def _scales() -> Grid:
    """Rows of half discs, each lighter in its middle."""
    y, x = np.mgrid[:SIDE, :SIDE]
    across, down = (x + 4 * (y // 8 % 2)) % 8 - np.float32(3.5), y % 8 + np.float32(0.5)
    far = across * across + down * down / 4
    return np.where(far > 13, np.float32(-0.9), 0.6 - far / 13).astype(np.float32)


def _planks() -> Grid:
    y = np.arange(SIDE)[:, None]
    tones = _draws(18, SIDE // 16)[y // 16]
    made = 0.5 * _wood() + 0.3 * tones
    return np.where(y % 16 == 0, np.float32(-0.9), made).astype(np.float32)


def _stripes() -> Grid:
    x = np.arange(SIDE)[None, :]
    band = np.where(x % 16 < 8, np.float32(0.5), np.float32(-0.5))
    return _sum((1.0, band), (0.15, _waves(19, 64, 64)))


def _weave() -> Grid:
    y, x = np.mgrid[:SIDE, :SIDE]
    over = ((y // 4) % 2 == 0).astype(np.float32) + ((x // 4) % 2 == 0).astype(np.float32)
    return _sum((0.45, over - 1), (0.2, _waves(20, 64, 64)))


def _spots() -> Grid:
    y, x = np.mgrid[:SIDE, :SIDE]
    a, b = y % 16 - 8, (x + 8 * (y // 16 % 2)) % 16 - 8
    return np.where(a * a + b * b < 10, np.float32(0.6), np.float32(-0.1)).astype(np.float32)


_MAKERS: dict[str, Callable[[], Grid]] = {
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
