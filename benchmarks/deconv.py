"""The projection of a unit of VGG16: ours in batches, captum one at a time, and the limit.

The limit is the time of the multiply-adds inside the unit's cone, forward and backward, at this
machine's rate for matrix products.
"""

from functools import partial
from statistics import median
from warnings import catch_warnings, simplefilter

import torch
import torch.nn.functional as F
from captum.attr import NeuronDeconvolution

import retroscope as rs
from benchmarks.timing import describe_machine, markdown_table, median_ratio, time_alternating
from retroscope.engine.motion import Slide
from retroscope.engine.program import Survey

UNITS = {"conv1_2": 4096, "conv2_2": 1024, "conv3_3": 128, "conv4_3": 32, "conv5_3": 8}
"""Units of each layer in one of our rounds."""
TARGETS = {"conv1_2": 5000, "conv2_2": 1000, "conv3_3": 80, "conv4_3": 8, "conv5_3": 2}
SIZE = 224


def report() -> str:
    """The results in Markdown."""
    net = rs.open_model("vgg16", random_weights=0)
    images = torch.randn(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    images = images.to(net.device)
    rate = matrix_rate(net.device)
    rows = [_row(net, name, images, rate) for name in UNITS]
    header = (
        *("layer", "captum, ms", "retroscope, ms", "speedup", "target speedup"),
        *("limit, ms", "time relative to limit"),
    )
    return "\n\n".join(
        (
            "# Projection of one unit, VGG16 at 224 px, float32",
            describe_machine("torchvision", "captum"),
            markdown_table(header, rows),
            f"Medians of alternating rounds. The limit is the time of the multiply-adds inside the "
            f"unit's cone at the rate of matrix products, {rate / 1e9:.0f} Gflop/s.\n",
        )
    )


def _row(net: rs.Network, name: str, images: torch.Tensor, rate: float) -> list[object]:
    layer, count = net.layer(name), UNITS[name]
    middle = (layer.size[0] // 2, layer.size[1] // 2)
    units = [
        (rs.Unit(layer.name, n % layer.channels, middle), images[n % len(images)])
        for n in range(count)
    ]
    ours = partial(lambda requests: list(rs.deconv_many(net, requests)), units)
    peer = partial(_captum, net, layer.name, (0, *middle), images[:1])
    peer_times, our_times = time_alternating(peer, ours)
    unit_times = [seconds / count for seconds in our_times]
    limit = 2 * 2 * count_cone_operations(net.survey(), net.module, layer.index) / rate
    return [
        name,
        f"{median(peer_times) * 1e3:.0f}",
        f"{median(unit_times) * 1e3:.3f}",
        _format_factor(median_ratio(peer_times, unit_times)),
        f"{TARGETS[name]}",
        f"{limit * 1e3:.3f}",
        f"{median(unit_times) / limit:.1f}",
    ]


def _format_factor(factor: float) -> str:
    return f"{factor:.0f}" if factor >= 100 else f"{factor:.1f}"


def _captum(
    net: rs.Network, path: str, position: tuple[int, ...], image: torch.Tensor
) -> torch.Tensor:
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
        rows = (rows - 1) * step.motion.y.stride + step.motion.y.reach
        columns = (columns - 1) * step.motion.x.stride + step.motion.x.reach
    return total
