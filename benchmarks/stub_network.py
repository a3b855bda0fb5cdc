"""A network and images that cost next to nothing, where only what is around them is measured."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.engine.batching import NetworkInput
from retroscope.network import Network
from retroscope.scanning import image_pass
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.loading import LoadedBatch
from retroscope.scanning.runners.work import Work
from retroscope.scanning.runners.workers import Runner, WorkerPool
from retroscope.scanning.sources import ImageList

PIXELS = 2


class StubNetwork(nn.Module):
    """Layers of maps of 2x2, each of which multiplies the maps of the one before."""

    def __init__(self, layers: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 2, stride=2)
        self.others = nn.Sequential(
            *(nn.Conv2d(channels, channels, 1, groups=channels) for _ in range(layers - 1))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.others(self.first(x)).mean((2, 3))  # type: ignore[no-any-return]


def stub_network(layers: int, channels: int) -> Network:
    """A network of so many layers of so many channels."""
    torch.manual_seed(0)
    return Network(StubNetwork(layers, channels), input_size=(PIXELS, PIXELS), name="stub")


def noise_batches(
    _net: Network, image_list: ImageList, batches: Iterable[Sequence[int]], *, workers: int
) -> Iterator[LoadedBatch]:
    """Stands for `load_batches`: noise in place of the images, other noise in each shard."""
    del workers
    generator = torch.Generator().manual_seed(sum(map(ord, image_list.keys[0])))
    for indices in batches:
        noise = torch.randn(len(indices), 3, PIXELS, PIXELS, generator=generator)
        rgb = (noise.clamp(-2, 1.99) * 64 + 128).byte().permute(0, 2, 3, 1).numpy()
        images = [
            NetworkInput(tensor, pixels, image_list.keys[index])
            for index, tensor, pixels in zip(indices, noise, rgb, strict=True)
        ]
        files = [
            ImageFileRow(index, pixels.size, index, np.ascontiguousarray(pixels).tobytes()[:8])
            for index, pixels in zip(indices, rgb, strict=True)
        ]
        yield LoadedBatch(indices, images, [], files)


@dataclass(frozen=True)
class StubWork:
    """Another work, in a process where images are noise."""

    work: Work[Any, Any]

    def open(self) -> Callable[[Any], Any]:
        """Replaces the reading of images, then opens the work."""
        setattr(image_pass, "load_batches", noise_batches)  # noqa: B010 - not a name it exports
        return self.work.open()


@dataclass(frozen=True)
class StubRunner:
    """A runner whose workers read no images."""

    inner: Runner

    def open_pool(self, work: Work[Any, Any]) -> AbstractContextManager[WorkerPool]:
        """Workers for this work."""
        return self.inner.open_pool(StubWork(work))


@dataclass(frozen=True)
class StubOptions(WorkerOptions):
    """Workers that read no images."""

    def runner(self, device: torch.device, threads: int) -> Runner:
        """The runner that `on` names."""
        return StubRunner(super().runner(device, threads))
