"""How fast a GPU sweeps, projects and is fed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import PIL.Image
import torch

import retroscope as rs
from benchmarks.gpu_equality import (
    Row,
    choose_depths,
    copy_to,
    describe_failure,
    prepare_batches,
    sweep_batches,
)
from benchmarks.noise import noise_batches
from benchmarks.timing import (
    Program,
    at_least,
    at_most,
    format_factor,
    median_ratio,
    ratio_if_timed,
    seconds,
    time_alternating,
)
from retroscope.engine.batching import NetworkInput
from retroscope.results.layers import Layer
from retroscope.scanning.layer_choice import scan_layers
from retroscope.scanning.loading import load_batches
from retroscope.scanning.sources import list_images
from retroscope.scanning.statistics.plain_summary import Scratch, summarise_plainly
from retroscope.scanning.statistics.summary import summarise

SWEEP_TARGET = 1.1
"""Of the compiled forward, in float16 and bfloat16."""
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
JPEG_SIZE = (500, 375)


def time_sweep(
    net: rs.Network,
    device: torch.device,
    dtype: str,
    *,
    batch: int,
    batches: int,
    rounds: int,
    backend: str,
) -> list[Row]:
    """The sweep of some batches, from nothing, beside the eager and the compiled forward of them.

    The images of a sweep come from the processor's memory, as they do in a scan; those of a
    forward pass lie on the GPU.
    """
    pixels = net.input_size[0]
    copy = copy_to(net, device, DTYPES[dtype])
    layers = scan_layers(copy)
    inputs = prepare_batches(copy, batch, count=batches, pixels=pixels)
    stacks = [_stack(images).to(device, memory_format=torch.channels_last) for images in inputs]
    compiled, failure = _compile(copy.module, stacks, backend)
    programs = [
        partial(_run_forward, copy.module, stacks),
        compiled,
        partial(_transfer, inputs, device),
        partial(sweep_batches, copy, layers, inputs),
    ]
    times = SweepTimes(batch * batches, *time_alternating(*programs, rounds=rounds))
    return times.rows(f"{net.name}, {dtype}", failure, is_judged=dtype != "float32")


@dataclass(frozen=True)
class SweepTimes:
    """The seconds of each run of some images by each program; `compiled` may have none."""

    images: int
    eager: list[float]
    compiled: list[float]
    transfer: list[float]
    sweep: list[float]

    def rows(self, name: str, failure: str, *, is_judged: bool) -> list[Row]:
        """The sweep beside the others; `failure` is why there is no compiled forward."""
        what, rate = f"{name}, sweep of {self.images} images", self._rate(self.sweep)
        ratio = ratio_if_timed(self.sweep, self.compiled)
        compiled_rate = failure or self._rate(self.compiled)
        return [
            Row(
                what,
                rate,
                f"eager forward, {self._rate(self.eager)}",
                format_factor(median_ratio(self.sweep, self.eager)),
            ),
            Row(
                what,
                rate,
                f"compiled forward, {compiled_rate}",
                "" if ratio is None else format_factor(ratio),
                at_most(SWEEP_TARGET, ratio) if is_judged else "",
            ),
            Row(
                f"{name}, stacking a batch and copying it to the GPU",
                self._rate(self.transfer),
                "sweep",
                format_factor(median_ratio(self.transfer, self.sweep)),
            ),
        ]

    def _rate(self, times: Sequence[float]) -> str:
        each = median(times) / self.images
        return f"{each * 1e3:.3f} ms/image ({1 / each:,.0f} images/s)"


def _compile(
    module: torch.nn.Module, stacks: Sequence[torch.Tensor], backend: str
) -> tuple[Program | None, str]:
    """The compiled forward of some batches, or why there is none: it stays whole, or fails."""
    torch.compiler.reset()
    try:
        compiled = torch.compile(module, backend=backend, fullgraph=True)
        program = partial(_run_forward, compiled, stacks)
        program()
    except (RuntimeError, ImportError, OSError) as error:
        return None, f"failed: {describe_failure(error)}"
    return program, ""


def _stack(images: Sequence[NetworkInput]) -> torch.Tensor:
    return torch.stack([image.tensor for image in images])


@torch.inference_mode()
def _run_forward(module: Callable[..., object], stacks: Sequence[torch.Tensor]) -> None:
    for stack in stacks:
        module(stack)


def _transfer(inputs: Sequence[Sequence[NetworkInput]], device: torch.device) -> None:
    for images in inputs:
        stack = _stack(images)
        if device.type == "cuda":
            stack = stack.pin_memory()
        stack.to(device, non_blocking=True, memory_format=torch.channels_last)


MAP_SHAPES = ((64, 112, 112), (256, 56, 56), (2048, 7, 7))
"""Of ResNet-50."""


def time_statistics(device: torch.device, *, images: int, rounds: int, repeats: int) -> list[Row]:
    """The statistics of maps as a sweep computes them, beside torch's own operations and a copy.

    A copy reads the maps once and writes them once: twice what one read of them takes. They are
    computed `repeats` times before the GPU is waited for, as a sweep does for many layers.
    """
    rows = []
    for dtype in ("float32", "bfloat16"):
        for channels, height, width in MAP_SHAPES:
            maps = torch.randn(images, channels, height, width, device=device).to(DTYPES[dtype])
            maps = maps.to(memory_format=torch.channels_last)
            programs = (
                partial(summarise, maps),
                partial(summarise_plainly, maps, Scratch()),
                maps.clone,
            )
            runs = (partial(_repeat, program, repeats) for program in programs)
            ours, plain, copy = (
                [elapsed / repeats for elapsed in times]
                for times in time_alternating(*runs, rounds=rounds)
            )
            what = f"statistics of {images} maps of {channels}x{height}x{width}, {dtype}"
            measured = f"{median(ours) * 1e3:.3f} ms"
            rows += [
                Row(
                    what,
                    measured,
                    f"{name}, {median(times) * 1e3:.3f} ms",
                    format_factor(median_ratio(ours, times)),
                )
                for name, times in (("plain torch", plain), ("a copy of the maps", copy))
            ]
    return rows


def _repeat(program: Program, count: int) -> None:
    for _ in range(count):
        program()


def time_projections(
    net: rs.Network, device: torch.device, *, images: int, hits: int, rounds: int
) -> list[Row]:
    """Projections of random units at four depths, `hits` in each of some images, in one call."""
    copy = copy_to(net, device)
    (inputs,) = prepare_batches(copy, images, count=1, pixels=net.input_size[0])
    stack = _stack(inputs[:1]).to(device, memory_format=torch.channels_last)
    bare = partial(_run_forward, copy.module, [stack])
    rows = []
    for layer in choose_depths(scan_layers(copy)):
        requests = _random_requests(layer, inputs, hits)
        ours = partial(_project, copy, requests)
        bare_times, our_times = time_alternating(bare, ours, rounds=rounds)
        unit_times = [elapsed / len(requests) for elapsed in our_times]
        forward = f"forward of one image, {median(bare_times) * 1e3:.2f} ms"
        rate = f"{1 / median(unit_times):,.0f}/s"
        ratio = format_factor(median_ratio(unit_times, bare_times))
        rows.append(Row(f"{net.name}, float32, projections of {layer.name}", rate, forward, ratio))
    return rows


def _random_requests(
    layer: Layer, inputs: Sequence[NetworkInput], hits: int
) -> list[tuple[rs.Unit, NetworkInput]]:
    random = np.random.default_rng(0)
    requests = []
    for image in inputs:
        for _ in range(hits):
            channel, y, x = random.integers((layer.channels, *layer.size)).tolist()
            requests.append((rs.Unit(layer.name, channel, (y, x)), image))
    return requests


def _project(net: rs.Network, requests: Sequence[tuple[rs.Unit, NetworkInput]]) -> None:
    list(rs.deconv_many(net, requests))


def time_reading(
    net: rs.Network,
    device: torch.device,
    dtype: str,
    *,
    files: int,
    batch: int,
    workers: Sequence[int],
) -> list[Row]:
    """JPEG files read by threads, and a scan of them, beside the sweep of images in memory."""
    copy = copy_to(net, device, DTYPES[dtype])
    layers = scan_layers(copy)
    inputs = prepare_batches(copy, batch, count=max(files // batch, 1), pixels=net.input_size[0])
    sweep = partial(sweep_batches, copy, layers, inputs)
    sweep()
    sweep_rate = batch * len(inputs) / seconds(sweep)
    against = f"sweep of images in memory, {sweep_rate:,.0f} images/s"
    rows = []
    with TemporaryDirectory() as folder:
        _write_jpegs(Path(folder), files)
        for count in workers:
            rate = files / seconds(partial(_read_all, copy, folder, batch=batch, workers=count))
            what = f"{net.name}, {files} JPEG files of {JPEG_SIZE[0]}x{JPEG_SIZE[1]} px read by "
            row = f"{what}{count} thread{'s' * (count > 1)}"
            rows.append(_rate_row(row, rate, against, rate / sweep_rate))
        atlas = f"{folder}/jpegs.atlas"
        scan = partial(rs.scan, copy, folder, to=atlas, projections=False, workers=max(workers))
        rate = files / seconds(lambda: scan().close())
        what = f"{net.name}, {dtype}, whole scan of the files, projections left out"
        rows.append(_rate_row(what, rate, against, rate / sweep_rate))
    return rows


def _rate_row(what: str, rate: float, against: str, ratio: float) -> Row:
    return Row(what, f"{rate:,.0f} images/s", against, f"{ratio:.2f}", at_least(1, ratio))


def _read_all(net: rs.Network, folder: str, *, batch: int, workers: int) -> None:
    image_list = list_images(folder, glob="*.jpg")
    indices = range(len(image_list.keys))
    batches = (indices[start : start + batch] for start in range(0, len(indices), batch))
    for _ in load_batches(net, image_list, batches, workers=workers):
        pass


def _write_jpegs(folder: Path, count: int) -> None:
    """Files of smooth noise plus fine noise, about as large as photographs are."""
    width, height = JPEG_SIZE
    (batch,) = noise_batches(min(count, 32), count=1, pixels=max(JPEG_SIZE))
    levels = (128 + 40 * batch[:, :, :height, :width]).clamp(0, 255).to(torch.uint8)
    for number in range(count):
        pixels = levels[number % len(levels)].permute(1, 2, 0).numpy()
        PIL.Image.fromarray(pixels).save(folder / f"{number:05}.jpg", quality=90)
