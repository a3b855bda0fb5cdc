"""The occlusion map of VGG16: ours and captum's `Occlusion`, with their largest difference."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from warnings import catch_warnings, simplefilter

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import retroscope as rs
from benchmarks.timing import (
    NOT_INSTALLED,
    at_least,
    describe_machine,
    format_factor,
    if_installed,
    markdown_table,
    ratio_if_timed,
    time_alternating,
)
from retroscope.methods.occlusion.occlusion import occlusion

TARGET = 4
Heat = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sizes:
    """How much is measured: pixels of the image, of the occluder, and of a step."""

    model: str = "vgg16"
    pixels: int = 224
    occluder: int = 32
    stride: int = 8
    rounds: int = 5


FULL, TINY = Sizes(), Sizes("resnet18", 64, stride=16, rounds=1)


def report(sizes: Sizes = FULL) -> str:
    """The results in Markdown."""
    net = rs.open_model(sizes.model, random_weights=0, input_size=sizes.pixels)
    net = _scale_weights(net)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, sizes.pixels, sizes.pixels, generator=generator)
    with torch.no_grad():
        target = int(net.module(image[None].to(net.device)).argmax())
    run_captum = partial(_captum, net, image.to(net.device), target=target, sizes=sizes)
    ours = partial(_ours, net, image, target=target, sizes=sizes)
    captum = if_installed("captum", run_captum)
    captum_times, our_times = time_alternating(captum, ours, rounds=sizes.rounds)
    speedup = ratio_if_timed(captum_times, our_times)
    row = [
        f"{median(captum_times):.1f}" if captum_times else NOT_INSTALLED,
        f"{median(our_times):.1f}",
        format_factor(speedup),
        at_least(TARGET, speedup),
        _format_difference(run_captum, ours) if captum else NOT_INSTALLED,
    ]
    header = "captum, s", "retroscope, s", "speedup", "target", "largest difference"
    return "\n\n".join(
        (
            f"# Occlusion map, {net.name} at {sizes.pixels} px, {sizes.occluder} px occluder, "
            f"stride {sizes.stride}, float32",
            describe_machine("torchvision", "captum"),
            markdown_table(header, [row]),
            f"Medians of {sizes.rounds} alternating rounds. Each pixel of both maps is the mean "
            "drop of the class probability over the occluders that cover it.",
        )
    )


def _format_difference(captum: Callable[[], Heat], ours: Callable[[], Heat]) -> str:
    return f"{float(np.abs(captum() - ours()).max()):.1e}"


@torch.no_grad()
def _scale_weights(net: rs.Network) -> rs.Network:
    """Scale the weights so that occluders change the probabilities enough to show differences."""
    generator = torch.Generator().manual_seed(0)
    for module in net.module.eval().modules():
        if isinstance(module, nn.Conv2d):
            weights = torch.randn(module.weight.shape, generator=generator)
            module.weight.copy_(weights * (2 / module.weight[0].numel()) ** 0.5)
    last = [module for module in net.module.modules() if isinstance(module, nn.Linear)][-1]
    last.weight.mul_(5)
    return net


def _ours(net: rs.Network, image: torch.Tensor, *, target: int, sizes: Sizes) -> Heat:
    prepared = net.prepare(image)
    result = occlusion(
        net, prepared, target=target, size=sizes.occluder, stride=sizes.stride, fill=0.0
    )
    return result.heat.values


def _captum(net: rs.Network, image: torch.Tensor, *, target: int, sizes: Sizes) -> Heat:
    from captum.attr import Occlusion

    def probabilities(images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = net.module(images)
        return scores.softmax(dim=1)

    with catch_warnings(), torch.no_grad():
        simplefilter("ignore")
        heat: torch.Tensor = Occlusion(probabilities).attribute(
            image[None],
            sliding_window_shapes=(3, sizes.occluder, sizes.occluder),
            strides=(3, sizes.stride, sizes.stride),
            baselines=0,
            target=target,
        )
    return heat[0, 0].float().cpu().numpy()
