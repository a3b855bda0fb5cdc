"""Image files read, decoded and fitted a second by one core, and the images that networks take."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import PIL.Image
import torch
from torchvision import io
from torchvision.transforms import functional as F

import retroscope as rs
from benchmarks.timing import (
    NOT_MEASURED,
    Program,
    at_most,
    describe_machine,
    format_factor,
    markdown_table,
    median_ratio,
    time_alternating,
    uses_process_time,
)
from retroscope.engine.batching import NetworkInput
from retroscope.imaging.decoding import RGB, open_image_file
from retroscope.imaging.image import fit_pil
from retroscope.scanning.image_files import _digest, read_input
from retroscope.scanning.sources import ImageList, list_images
from retroscope.scanning.sources.image_list import LocalFiles

QUALITY = 90
NETWORK = "resnet50"
"""Whose preprocessing is timed: the shorter side becomes 256, then 224x224 are cropped."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured; `files` are the widths and heights of the images."""

    files: Sequence[tuple[int, int]] = ((500, 375), (1200, 900), (4000, 3000))
    models: Sequence[str] = ("resnet50", "vgg16")
    images: int = 16
    batch: int = 8
    rounds: int = 5
    with_processes: bool = True


FULL = Sizes()
TINY = replace(
    FULL,
    files=((300, 200), (120, 90)),
    models=("squeezenet1_1",),
    images=2,
    batch=2,
    rounds=1,
    with_processes=False,
)


def report(sizes: Sizes = FULL) -> str:
    """The tables, in Markdown."""
    net = rs.open_model(NETWORK, random_weights=0, device="cpu")
    with TemporaryDirectory() as folder, _one_thread():
        lists = [_write_jpeg(Path(folder), width, height) for width, height in sizes.files]
        rates = [_time_readers(net, images, sizes) for images in lists]
        parts = [_time_parts(net, images, sizes) for images in lists]
        networks = [_time_network(name, sizes) for name in sizes.models]
        workers = [_time_workers(images, sizes) for images in lists]
        names = [f"{width}x{height}" for width, height in sizes.files]
        kilobytes = [f"{Path(_path(images)).stat().st_size / 1e3:.0f}" for images in lists]
    return "\n\n".join(
        (
            "# Reading image files",
            f"{describe_machine('pillow', 'torchvision')}; libjpeg-turbo in both decoders",
            _reader_table(names, kilobytes, rates),
            _part_table(names, parts),
            _network_table(names, rates, dict(zip(sizes.models, networks, strict=True))),
            _worker_table(names, workers),
            _explanation(names, rates),
        )
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# Files


def _write_jpeg(folder: Path, width: int, height: int) -> ImageList:
    """A file of this size in a folder of its own, with as much detail per pixel at every size."""
    path = folder / f"{width}x{height}" / "photograph.jpg"
    path.parent.mkdir()
    tiles = _photographs()
    strip = np.concatenate([tile[: min(map(len, tiles))] for tile in tiles], axis=1)
    repeats = (-(-height // strip.shape[0]), -(-width // strip.shape[1]) + 1, 1)
    pixels = np.tile(strip, repeats)
    for number in range(repeats[0]):  # so that rows of tiles differ
        rows = slice(number * strip.shape[0], (number + 1) * strip.shape[0])
        pixels[rows] = np.roll(pixels[rows], 311 * number, axis=1)
    PIL.Image.fromarray(pixels[:height, :width]).save(path, quality=QUALITY)
    return list_images(path.parent)


def _path(images: ImageList) -> str:
    assert isinstance(images.files, LocalFiles)
    return images.files.paths[0]


def _photographs() -> list[RGB]:
    """Photographs of scikit-image, or painted scenes if it is not installed."""
    if find_spec("skimage") is None:
        return [rs.scene(number).pixels for number in range(24)]
    data: Any = import_module("skimage.data")
    return [data.chelsea(), data.coffee(), data.astronaut(), data.rocket()]


# Readers


@dataclass(frozen=True)
class Rates:
    """Images a second of one core by each reader, and how far their pixels are apart."""

    ours: float
    full: float
    torchvision: float
    ratio: float
    decoder_difference: int
    draft_difference: float


def _time_readers(net: rs.Network, images: ImageList, sizes: Sizes) -> Rates:
    path = _path(images)
    readers: list[Program] = [
        partial(read_input, net, images, 0),
        partial(_read_in_full, net, path),
        partial(_read_with_torchvision, net, path),
    ]
    times = time_alternating(
        *(partial(_repeat, reader, sizes.images) for reader in readers), rounds=sizes.rounds
    )
    ours, full, torchvision = (sizes.images / median(reader_times) for reader_times in times)
    pillow_pixels = rs.read_image(path).pixels.astype(int)
    torch_pixels = _decode_with_torchvision(path).permute(1, 2, 0).numpy().astype(int)
    drafted = read_input(net, images, 0)[0].rgb.astype(int)
    fitted = _read_in_full(net, path).rgb.astype(int)
    return Rates(
        ours,
        full,
        torchvision,
        median_ratio(times[2], times[0]),
        int(np.abs(pillow_pixels - torch_pixels).max()),
        float(np.abs(drafted - fitted).mean()),
    )


def _repeat(program: Program, count: int) -> None:
    for _ in range(count):
        program()


def _read_in_full(net: rs.Network, path: str) -> NetworkInput:
    """As retroscope reads, but decoded at full size, and without the digest."""
    with PIL.Image.open(path) as image:
        return net.prepare(image)


def _decode_with_torchvision(path: str) -> torch.Tensor:
    pixels: torch.Tensor = io.decode_jpeg(io.read_file(path), mode=io.ImageReadMode.RGB)
    return pixels


def _read_with_torchvision(net: rs.Network, path: str) -> torch.Tensor:
    """What torchvision's weights prescribe, on tensors all the way."""
    preprocessing = net.preprocessing
    resized = F.resize(
        _decode_with_torchvision(path), [preprocessing.fit.shorter or 0], antialias=True
    )
    cropped = F.center_crop(resized, list(preprocessing.fit.size))
    normalised: torch.Tensor = F.normalize(
        F.convert_image_dtype(cropped), list(preprocessing.mean), list(preprocessing.std)
    )
    return normalised


def _reader_table(names: Sequence[str], kilobytes: Sequence[str], rates: Sequence[Rates]) -> str:
    header = (
        *("JPEG", "kB", "retroscope, images/s", "decoded in full, images/s"),
        *("torchvision.io, images/s", "retroscope / torchvision.io"),
        *("decoders differ by, levels", "target"),
    )
    rows = [
        [
            *(name, size, f"{rate.ours:.0f}", f"{rate.full:.0f}", f"{rate.torchvision:.0f}"),
            *(format_factor(rate.ratio), rate.decoder_difference),
            at_most(0, rate.decoder_difference),
        ]
        for name, size, rate in zip(names, kilobytes, rates, strict=True)
    ]
    return markdown_table(header, rows)


# Parts


PARTS = ("decode", "digest", "resize and crop", "normalise")


def _time_parts(net: rs.Network, images: ImageList, sizes: Sizes) -> list[float]:
    """Milliseconds of each part of reading a file."""
    path, fit = _path(images), net.preprocessing.fit
    at_least = fit.decoding_size
    assert at_least is not None
    draft = _decode_draft(path, at_least)
    fitted = fit_pil(draft, fit, path).pixels
    with open_image_file(Path(path), path) as file:
        parts = (
            partial(_decode_draft, path, at_least),
            partial(_digest, file),
            partial(fit_pil, draft, fit, path),
            partial(net.preprocessing.to_input, fitted),
        )
        times = time_alternating(
            *(partial(_repeat, part, sizes.images) for part in parts), rounds=sizes.rounds
        )
    return [1e3 * median(part_times) / sizes.images for part_times in times]


def _decode_draft(path: str, at_least: tuple[int, int]) -> PIL.Image.Image:
    with PIL.Image.open(path) as image:
        image.draft(None, (at_least[1], at_least[0]))
        image.load()
    return image


def _part_table(names: Sequence[str], parts: Sequence[Sequence[float]]) -> str:
    rows = [
        [name, *(f"{time:.2f}" for time in times)] for name, times in zip(names, parts, strict=True)
    ]
    return markdown_table(("JPEG, ms", *PARTS), rows)


# Networks


def _time_network(name: str, sizes: Sizes) -> float:
    """The images a second of the bare forward pass."""
    module = rs.open_model(name, random_weights=0, device="cpu").module
    stack = torch.randn(sizes.batch, 3, 224, 224).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        (times,) = time_alternating(partial(module, stack), rounds=sizes.rounds)
    return sizes.batch / median(times)


def _network_table(names: Sequence[str], rates: Sequence[Rates], networks: dict[str, float]) -> str:
    header = (
        *("network", "bare forward, images/s"),
        *(f"reading {name} / forward" for name in names),
        "target of the slowest",
    )
    rows = []
    for name, images in networks.items():
        shares = [images / rate.ours for rate in rates]
        factors = map(format_factor, shares)
        rows.append([name, f"{images:.1f}", *factors, at_most(1, max(shares))])
    return markdown_table(header, rows)


# Workers


def _time_workers(images: ImageList, sizes: Sizes) -> list[float | None]:
    """How many times as fast two threads and two processes read as one of them; elapsed time."""
    if uses_process_time():
        return [None, None]
    processes = partial(ProcessPoolExecutor, mp_context=get_context("spawn"))
    return [
        _speedup(ThreadPoolExecutor, images, sizes),
        _speedup(processes, images, sizes) if sizes.with_processes else None,
    ]


@cache
def _reading_network() -> rs.Network:
    torch.set_num_threads(1)
    return rs.open_model(NETWORK, random_weights=0, device="cpu")


@cache
def _list_images(folder: Path) -> ImageList:
    return list_images(folder)


def _read(folder: Path, _number: int) -> None:
    read_input(_reading_network(), _list_images(folder), 0)


def _speedup(pool_of: Callable[[int], Executor], images: ImageList, sizes: Sizes) -> float:
    folder, ratios = Path(_path(images)).parent, []
    with pool_of(1) as one, pool_of(2) as two:
        for _ in range(sizes.rounds + 1):  # the first starts the workers
            one_time, two_time = (_elapsed(pool, folder, 2 * sizes.images) for pool in (one, two))
            ratios.append(one_time / two_time)
    return median(ratios[1:])


def _elapsed(pool: Executor, folder: Path, count: int) -> float:
    start = perf_counter()
    list(pool.map(partial(_read, folder), range(count)))
    return perf_counter() - start


def _worker_table(names: Sequence[str], workers: Sequence[Sequence[float | None]]) -> str:
    rows = [
        [name, *(NOT_MEASURED if factor is None else format_factor(factor) for factor in factors)]
        for name, factors in zip(names, workers, strict=True)
    ]
    return markdown_table(
        ("JPEG", "two threads / one, images a second", "two processes / one"), rows
    )


def _explanation(names: Sequence[str], rates: Sequence[Rates]) -> str:
    cores = ", ".join(
        f"R / {rate.ours:.0f} ({name})" for name, rate in zip(names, rates, strict=True)
    )
    draft = ", ".join(
        f"{rate.draft_difference:.2f} ({name})" for name, rate in zip(names, rates, strict=True)
    )
    return (
        f"One core, one thread of torch. JPEGs of quality {QUALITY} from photographs at their own "
        f"resolution; the input of {NETWORK} is made of each: opened, decoded, hashed, resized, "
        "cropped, normalised. `torchvision.io` does the same on tensors, without the hash. N cores "
        f"feed N times the rate. A network that takes R images a second on a GPU needs {cores} "
        "cores that read; with fewer, it waits. Reduced decoding changes the fitted pixels by "
        f"{draft} levels of 255 on average (decision 8)."
    )
