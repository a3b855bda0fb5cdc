"""Small networks and pictures to scan, and what a scan finds by definition."""

from collections.abc import Callable, Sequence
from contextlib import closing
from copy import deepcopy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from torch import nn

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.schema import TABLES
from retroscope.atlas.writer import AtlasWriter
from retroscope.network import Network
from retroscope.results.statistics import HISTOGRAM_EDGES
from tests.conftest import built

SIDE = 24
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
OF_TINY = ["first", "act", "pool", "second", "last_act", "head"]
Maps = npt.NDArray[np.float64]


class Tiny(nn.Module):
    """Every kind of channel: the last convolution has a dead one, one below zero and one broken."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.second = nn.Conv2d(5, 6, 3, stride=2)
        self.last_act = nn.ReLU()
        self.head = nn.Linear(6, 4)
        with torch.no_grad():
            self.second.weight[2:4] = 0
            self.second.bias[2:4] = torch.tensor([0.0, -1.0])  # type: ignore[index]
            self.head.bias[3] = torch.nan

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.act(self.first(x)))
        x = self.last_act(self.second(x))
        scores: torch.Tensor = self.head(x.mean((2, 3)))
        return scores


def tiny(dtype: torch.dtype = torch.float64, seed: int = 0) -> Network:
    return network(Tiny, SIDE, dtype=dtype, seed=seed)


def network(
    make: Callable[[], nn.Module], side: int, *, dtype: torch.dtype = torch.float64, seed: int = 0
) -> Network:
    """In float64 two ways to compute the same number agree well enough to rank alike."""
    return Network(
        built(make, seed).to(dtype), input_size=(side, side), mean=MEAN, std=STD, name="tiny"
    )


def smooth_image(seed: int, side: int = SIDE) -> PIL.Image.Image:
    """Smooth, so that WebP keeps it well; no two are alike."""
    y, x = np.mgrid[:side, :side] * (24 / side)
    a, b, c = np.random.default_rng(seed).uniform(0.05, 0.3, 3)
    planes = [128 + 90 * np.sin(y * a + x * b * (n + 1) / 2 + c * 6 * n) for n in range(3)]
    return PIL.Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))


def write_images(folder: Path, count: int, *, side: int = SIDE) -> Path:
    """A folder of pictures 00.png, 01.png, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        smooth_image(seed, side).save(folder / f"{seed:02}.png")
    return folder


def maps_of(net: Network, layers: Sequence[str], files: Sequence[Path]) -> dict[str, Maps]:
    """The outputs of modules for one picture after the other, by torch's own hooks."""
    module = deepcopy(net.module).double()
    found: dict[str, list[Maps]] = {name: [] for name in layers}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _given: object, out: torch.Tensor) -> None:
            found[name].append(
                out.numpy().copy().reshape(*out.shape[:2], *(out.shape[2:] or (1, 1)))
            )

        return hook

    for name in layers:
        module.get_submodule(name).register_forward_hook(keep(name))
    with torch.no_grad():
        for file in files:
            module(net.prepare(file).tensor.double()[None])
    return {name: np.concatenate(own) for name, own in found.items()}


RECTIFIERS = {"relu", "hardswish"}
"""Kinds of layers whose zero means that nothing fires: it is no hit."""

Hit = tuple[float, int, int, int]
"""Score, image, y, x."""


def check_channel(
    atlas: Atlas, unit: str, maps: Maps, *, top: int = 9, numbers: Sequence[int] = ()
) -> None:
    """A channel's hits and statistics against all of its maps (images, height, width)."""
    images = list(numbers) or list(range(len(maps)))
    is_rectified = atlas.layer(unit.rsplit(":", 1)[0]).kind in RECTIFIERS
    for ranked_by, ranking in _rankings(maps, images).items():
        expected = [hit for hit in ranking[:top] if hit[0] != 0 or not is_rectified]
        found = _hits(atlas, unit, ranked_by)
        assert [hit[1:] for hit in found] == [hit[1:] for hit in expected], (unit, ranked_by)
        np.testing.assert_allclose(
            [hit[0] for hit in found], [hit[0] for hit in expected], rtol=1e-9, atol=1e-12
        )
    _check_statistics(atlas, unit, maps)


def _hits(atlas: Atlas, unit: str, ranked_by: str) -> list[Hit]:
    layer, channel = unit.rsplit(":", 1)
    return [
        (float(score), int(image), int(y), int(x))  # type: ignore[arg-type]
        for score, image, y, x in atlas.sql(
            "SELECT score, image, y, x FROM named_hits WHERE layer = ? AND channel = ? "
            "AND ranked_by = ? ORDER BY rank",
            atlas.layer(layer).name,
            int(channel),
            ranked_by,
        )
    ]


def _best_first(hit: Hit) -> tuple[float, int]:
    """The highest score; among equal ones the lower image."""
    return -hit[0], hit[1]


def _rankings(maps: Maps, images: Sequence[int]) -> dict[str, list[Hit]]:
    rankings: dict[str, list[Hit]] = {"max": [], "mean": [], "min": []}
    for image, own in zip(images, maps, strict=True):
        finite = np.isfinite(own)
        if not finite.any():
            continue
        y, x = divmod(int(np.where(finite, own, -np.inf).argmax()), own.shape[1])
        low_y, low_x = divmod(int(np.where(finite, own, np.inf).argmin()), own.shape[1])
        rankings["max"].append((float(own[y, x]), image, y, x))
        rankings["mean"].append((float(own[finite].mean()), image, y, x))
        rankings["min"].append((float(own[low_y, low_x]), image, low_y, low_x))
    return {
        name: sorted(hits, key=_best_first if name != "min" else None)
        for name, hits in rankings.items()
    }


def _check_statistics(atlas: Atlas, unit: str, maps: Maps) -> None:
    stats, finite = atlas.stats(unit), np.isfinite(maps)
    own = maps[finite]
    best = np.array(
        [one[known].max() for one, known in zip(maps, finite, strict=True) if known.any()]
    )
    counts = (stats.images, stats.positions, stats.fired_images, stats.fired_positions)
    assert counts == (len(best), own.size, (best > 0).sum(), (own > 0).sum()), unit
    assert stats.non_finite == maps.size - own.size
    assert stats.dead == (not (own > 0).any())
    bins = np.bincount(np.searchsorted(HISTOGRAM_EDGES, best), minlength=64)
    assert stats.histogram is not None
    assert stats.histogram.tolist() == bins.tolist()
    if own.size:
        expected = own.mean(), own.std(), own.max()
        found = stats.mean, stats.std, stats.maximum
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def delete_stored_images(path: Path) -> None:
    """As in a scan that an older version has left before it stored them."""
    with AtlasWriter(path) as writer, writer.transaction():
        writer.delete_stored_images(writer.stored_images())


def table_rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables, less when the scan was begun."""
    with closing(open_atlas(path)) as atlas:
        found = {
            table: sorted(atlas.sql(f"SELECT * FROM {table}"), key=repr)  # noqa: S608
            for table in TABLES
        }
    return {
        table: [tuple(row) for row in rows if row[0] != "created"] for table, rows in found.items()
    }
