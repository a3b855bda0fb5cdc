"""The sweep of all convolutions against the bare network, and the memory of a scan as it grows."""

import resource
import subprocess
import sys
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import torch

import retroscope as rs
from benchmarks.timing import machine, seconds, table
from retroscope.atlas.passing import empty_sweeps, swept
from retroscope.atlas.plan import chosen
from retroscope.network import Prepared
from retroscope.sweep.summary import Scratch

MODELS = {"vgg16": 4, "resnet50": 8}
"""How many pictures run at once."""
BATCHES, DIFFERENT = 48, 6
GROWTH = (100, 1000)


def report() -> str:
    """The tables, in Markdown."""
    rows = [_row(name, size) for name, size in MODELS.items()]
    heads = (
        "model",
        "bare, ms/image",
        "sweep, ms/image",
        "ratio, all",
        "ratio, last third",
        "target",
    )
    small, large = (peak_memory(count) for count in GROWTH)
    return "\n\n".join(
        (
            "# A sweep of every convolution, float32",
            machine("torchvision"),
            table(heads, rows),
            f"{BATCHES} batches in turn with the bare network, top-9 and statistics of every "
            "channel. The first pictures enter more rankings than the later ones.",
            f"Peak memory of a scan of a small network: {small:.0f} MB with {GROWTH[0]} images, "
            f"{large:.0f} MB with {GROWTH[1]} ({large / small - 1:+.1%}; target within 5 %).\n",
        )
    )


def _row(name: str, size: int) -> list[object]:
    net = rs.open_model(name, random_weights=0)
    generator = torch.Generator().manual_seed(0)
    batches = [
        [net.prepare(torch.randn(3, 224, 224, generator=generator)) for _ in range(size)]
        for _ in range(DIFFERENT)
    ]
    bare, sweep = _times(net, batches)
    ratios = [ours / theirs for ours, theirs in zip(sweep, bare, strict=True)]
    return [
        name,
        f"{median(bare) / size * 1e3:.1f}",
        f"{median(sweep) / size * 1e3:.1f}",
        f"{sum(sweep) / sum(bare):.2f}",
        f"{median(ratios[-BATCHES // 3 :]):.2f}",
        "1.05",
    ]


def _times(net: rs.Network, batches: list[list[Prepared]]) -> tuple[list[float], list[float]]:
    layers = chosen(net.layers, ["conv"], net)
    sweeps, scratch = empty_sweeps(net, layers, top=9, classes=0), Scratch()
    module = net.module.eval()
    bare: list[float] = []
    sweep: list[float] = []
    for number in range(BATCHES):
        images = _shaken(batches[number % DIFFERENT], number)
        stack = torch.stack([image.numbers for image in images])
        stack = stack.to(net.device, memory_format=torch.channels_last)
        with torch.inference_mode():
            bare.append(seconds(partial(module, stack)))
        start = perf_counter()
        first = number * len(images)
        sweeps = swept(
            net,
            sweeps,
            images,
            numbers=range(first, first + len(images)),
            labels=[-1] * len(images),
            scratch=scratch,
        )
        sweep.append(perf_counter() - start)
    return bare[1:], sweep[1:]


def _shaken(images: list[Prepared], seed: int) -> list[Prepared]:
    """Pictures that no batch had before."""
    generator = torch.Generator().manual_seed(seed)
    return [
        Prepared(image.numbers + noise, image.picture, image.source)
        for image in images
        for noise in [torch.randn(image.numbers.shape, generator=generator) / 4]
    ]


def peak_memory(count: int) -> float:
    """Megabytes that a scan of so many images takes at most, in a process of its own."""
    program = f"from benchmarks.scan import scan_noise; print(scan_noise({count}))"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def scan_noise(count: int) -> float:
    """Scans so many pictures of noise; the process's peak memory in megabytes."""
    net = rs.open_model("squeezenet1_1", random_weights=0)
    with TemporaryDirectory() as folder:
        rs.scan(net, Noise(count), to=f"{folder}/noise.atlas", illustrate=False).close()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Noise:
    """A data set of pictures of noise."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(index))
