"""The projection of one unit of VGG16: ours in batches, captum one at a time, and the limit.

The limit is the multiply-adds inside the unit's cone, forward and back, at the rate that this
machine multiplies matrices.
"""

from functools import partial
from statistics import median
from warnings import catch_warnings, simplefilter

import torch
import torch.nn.functional as F
from captum.attr import NeuronDeconvolution

import retroscope as rs
from benchmarks.timing import in_turn, machine, ratio, table
from retroscope.engine.motion import Slide
from retroscope.engine.survey import Survey

UNITS = {"conv1_2": 4096, "conv2_2": 1024, "conv3_3": 128, "conv4_3": 32, "conv5_3": 8}
"""How many units of each layer run in one of our rounds."""
TARGETS = {"conv1_2": 5000, "conv2_2": 1000, "conv3_3": 80, "conv4_3": 8, "conv5_3": 2}
SIZE = 224


def report() -> str:
    """The table, in Markdown."""
    net = rs.open_model("vgg16", random_weights=0)
    pictures = torch.randn(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    pictures = pictures.to(net.device)
    rate = matrix_rate(net.device)
    rows = [_row(net, name, pictures, rate) for name in UNITS]
    heads = "layer", "captum, ms", "ours, ms", "times faster", "target", "limit, ms", "of limit"
    return "\n\n".join(
        (
            "# One unit's projection, VGG16 at 224, float32",
            machine("torchvision", "captum"),
            table(heads, rows),
            f"Matrix products: {rate / 1e9:.0f} Gflop/s. Medians of rounds run in turn. `of limit` "
            "is our time over the time that the cone's multiply-adds take at that rate.\n",
        )
    )


def _row(net: rs.Network, name: str, pictures: torch.Tensor, rate: float) -> list[object]:
    layer, count = net.layer(name), UNITS[name]
    middle = (layer.size[0] // 2, layer.size[1] // 2)
    units = [
        (rs.Unit(layer.name, n % layer.channels, middle), pictures[n % len(pictures)])
        for n in range(count)
    ]
    ours = partial(lambda wanted: list(rs.deconv_many(net, wanted)), units)
    peer = partial(_captum, net, layer.name, (0, *middle), pictures[:1])
    theirs, mine = in_turn(peer, ours)
    each = [time / count for time in mine]
    limit = 2 * 2 * cone(net.survey(), net.module, layer.index) / rate
    return [
        name,
        f"{median(theirs) * 1e3:.0f}",
        f"{median(each) * 1e3:.3f}",
        _times(ratio(theirs, each)),
        f"{TARGETS[name]}",
        f"{limit * 1e3:.3f}",
        f"{median(each) / limit:.1f}",
    ]


def _times(factor: float) -> str:
    return f"{factor:.0f}" if factor >= 100 else f"{factor:.1f}"


def _captum(
    net: rs.Network, path: str, place: tuple[int, ...], picture: torch.Tensor
) -> torch.Tensor:
    with catch_warnings():
        simplefilter("ignore")
        peer = NeuronDeconvolution(net.module, net.module.get_submodule(path))
        seen: torch.Tensor = peer.attribute(picture.clone().requires_grad_(), place)
    return seen


def matrix_rate(device: torch.device, size: int = 2048) -> float:
    """Floating-point operations a second in a large float32 matrix product; the best of some.

    Asked for as a product and as a 1x1 convolution, since the libraries behind them differ.
    """
    first, second = torch.randn(2, size, size, device=device)
    maps = first.T.reshape(1, size, 64, size // 64).to(memory_format=torch.channels_last)
    filters = second[:, :, None, None]
    programs = [partial(torch.mm, first, second), partial(F.conv2d, maps, filters)]
    times = in_turn(*programs, rounds=8)
    return float(2 * size**3 / min(map(min, times)))


def cone(survey: Survey, module: torch.nn.Module, target: int) -> int:
    """The multiply-adds of one forward pass on what one inner unit of a chain sees."""
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
