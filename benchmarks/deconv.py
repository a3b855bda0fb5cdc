"""The projection of a unit of VGG16: ours in batches, captum one at a time, and the limit.

The limit is the time of the multiply-adds inside the unit's cone, forward and backward, at this
machine's rate for matrix products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from warnings import catch_warnings, simplefilter

import torch
import torch.nn.functional as F

import retroscope as rs
from benchmarks.timing import (
    at_least,
    describe_machine,
    format_factor,
    format_milliseconds,
    if_installed,
    markdown_table,
    ratio_if_timed,
    time_alternating,
)
from retroscope.engine.motion import Slide
from retroscope.engine.program import Survey


@dataclass(frozen=True)
class Layer:
    """A layer, how many units of it are projected in one of our rounds, and the target speedup."""

    name: str
    units: int
    target: float


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    layers: Sequence[Layer]
    model: str = "vgg16"
    pixels: int = 224
    matrix: int = 2048
    rounds: int = 5


FULL = Sizes(
    [
        Layer("conv1_2", 4096, 5000),
        Layer("conv2_2", 1024, 1000),
        Layer("conv3_3", 128, 80),
        Layer("conv4_3", 32, 8),
        Layer("conv5_3", 8, 2),
    ]
)
TINY = Sizes([Layer("conv2", 2, 1), Layer("conv5", 2, 1)], "alexnet", 64, matrix=128, rounds=1)


def report(sizes: Sizes = FULL) -> str:
    """The results in Markdown."""
    net = rs.open_model(sizes.model, random_weights=0, input_size=sizes.pixels)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, sizes.pixels, sizes.pixels, generator=generator).to(net.device)
    rate = matrix_rate(net.device, sizes.matrix)
    rows = [_row(net, layer, images, rate=rate, rounds=sizes.rounds) for layer in sizes.layers]
    header = (
        *("layer", "captum, ms", "retroscope, ms", "speedup", "target"),
        *("limit, ms", "time relative to limit"),
    )
    return "\n\n".join(
        (
            f"# Projection of one unit, {net.name} at {sizes.pixels} px, float32",
            describe_machine("torchvision", "captum"),
            markdown_table(header, rows),
            f"Medians of alternating rounds. The limit is the time of the multiply-adds inside the "
            f"unit's cone at the rate of matrix products, {rate / 1e9:.0f} Gflop/s.",
        )
    )


def _row(
    net: rs.Network, entry: Layer, images: torch.Tensor, *, rate: float, rounds: int
) -> list[object]:
    layer, count = net.layer(entry.name), entry.units
    middle = (layer.size[0] // 2, layer.size[1] // 2)
    units = [
        (rs.Unit(layer.name, n % layer.channels, middle), images[n % len(images)])
        for n in range(count)
    ]
    ours = partial(lambda requests: list(rs.deconv_many(net, requests)), units)
    peer = if_installed("captum", partial(_captum, net, layer.name, (0, *middle), images[:1]))
    peer_times, our_times = time_alternating(peer, ours, rounds=rounds)
    unit_times = [seconds / count for seconds in our_times]
    limit = 2 * 2 * count_cone_operations(net.survey(), net.module, layer.index) / rate
    speedup = ratio_if_timed(peer_times, unit_times)
    return [
        entry.name,
        format_milliseconds(peer_times, 0),
        format_milliseconds(unit_times, 3),
        format_factor(speedup),
        at_least(entry.target, speedup),
        f"{limit * 1e3:.3f}",
        f"{median(unit_times) / limit:.1f}",
    ]


def _captum(
    net: rs.Network, path: str, position: tuple[int, ...], image: torch.Tensor
) -> torch.Tensor:
    from captum.attr import NeuronDeconvolution

    with catch_warnings():
        simplefilter("ignore")
        peer = NeuronDeconvolution(net.module, net.module.get_submodule(path))
        signal: torch.Tensor = peer.attribute(image.clone().requires_grad_(), position)
    return signal


def matrix_rate(device: torch.device, size: int = 2048) -> float:
    """Floating-point operations per second in a large float32 matrix product, at best.

    It is measured as a product and as a 1x1 convolution, which use different libraries.
    """
    first, second = torch.randn(2, size, size, device=device)
    maps = first.T.reshape(1, size, 64, size // 64).to(memory_format=torch.channels_last)
    filters = second[:, :, None, None]
    programs = [partial(torch.mm, first, second), partial(F.conv2d, maps, filters)]
    times = time_alternating(*programs, rounds=8)
    return float(2 * size**3 / min(map(min, times)))


def count_cone_operations(survey: Survey, module: torch.nn.Module, target: int) -> int:
    """The multiply-adds of one forward pass on the receptive field of an inner unit of a chain."""
    total, rows, columns = 0, 1, 1
    weights = iter(
        [part.weight for part in module.modules() if isinstance(part, torch.nn.Conv2d)][::-1]
    )
    steps = [step for step in survey.steps if isinstance(step.motion, Slide)]
    convolutions = [step for step in steps if step.operation and step.operation.kind == "conv"]
    later = sum(survey.steps.index(step) > target for step in convolutions)
    for _ in range(later):
        next(weights)
    for step in reversed(survey.steps[: target + 1]):
        if not isinstance(step.motion, Slide):
            continue
        if step.operation and step.operation.kind == "conv":
            total += rows * columns * next(weights).numel()
        along_y, along_x = step.motion.windows
        rows = (rows - 1) * along_y.stride + along_y.reach
        columns = (columns - 1) * along_x.stride + along_x.reach
    return total
