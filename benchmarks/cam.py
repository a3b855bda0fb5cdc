"""Grad-CAM of a batch of eight: ours, pytorch-grad-cam, and the bare forward pass.

The classes are given, so neither program has to find the most probable one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from warnings import catch_warnings, simplefilter

import torch
from torch import nn

import retroscope as rs
from benchmarks.timing import (
    at_least,
    at_most,
    describe_machine,
    format_factor,
    format_milliseconds,
    if_installed,
    markdown_table,
    median_ratio,
    ratio_if_timed,
    time_alternating,
)
from retroscope.engine.batching import NetworkInput
from retroscope.methods.cam.cam import cam_many

SPEEDUP_TARGET, BARE_TARGET = 4, 1.1


@dataclass(frozen=True)
class Sizes:
    """How much is measured; `layers` are pairs of a model and a layer of it."""

    layers: Sequence[tuple[str, str]] = (("vgg16", "features.29"), ("resnet50", "layer4.2"))
    batch: int = 8
    pixels: int = 224
    rounds: int = 9


FULL = Sizes()
TINY = Sizes([("squeezenet1_1", "features.12")], batch=2, pixels=64, rounds=1)


def report(sizes: Sizes = FULL) -> str:
    """The results in Markdown."""
    rows = [_row(name, layer, sizes) for name, layer in sizes.layers]
    header = (
        *("model", "pytorch-grad-cam, ms/image", "retroscope, ms/image", "bare, ms/image"),
        *("speedup", "target of speedup", "time relative to bare", "target of time"),
    )
    return "\n\n".join(
        (
            f"# Grad-CAM of the last maps, batch of {sizes.batch} at {sizes.pixels} px, float32",
            describe_machine("torchvision", "grad-cam"),
            markdown_table(header, rows),
            f"Medians of {sizes.rounds} alternating rounds; ratios are medians over pairs of "
            "adjacent runs. `bare` is `model(x)` alone, in inference mode, channels last.",
        )
    )


def _row(name: str, layer: str, sizes: Sizes) -> list[object]:
    net = rs.open_model(name, random_weights=0, input_size=sizes.pixels)
    generator = torch.Generator().manual_seed(0)
    shape = (3, sizes.pixels, sizes.pixels)
    images = [net.prepare(torch.randn(shape, generator=generator)) for _ in range(sizes.batch)]
    stack = torch.stack([image.tensor for image in images]).to(net.device)
    channels_last = stack.to(memory_format=torch.channels_last)
    module = net.module.eval()
    times = time_alternating(
        if_installed("pytorch_grad_cam", partial(_pytorch_grad_cam, module, layer, stack)),
        partial(_ours, net, layer, images),
        partial(_bare_forward, module, channels_last),
        rounds=sizes.rounds,
    )
    peer, ours, bare = ([seconds / sizes.batch for seconds in program] for program in times)
    speedup, relative = ratio_if_timed(peer, ours), median_ratio(ours, bare)
    return [
        name,
        *map(format_milliseconds, (peer, ours, bare)),
        format_factor(speedup),
        at_least(SPEEDUP_TARGET, speedup),
        format_factor(relative),
        at_most(BARE_TARGET, relative),
    ]


def _classes(count: int) -> list[int]:
    return [10 * number for number in range(count)]


def _ours(net: rs.Network, layer: str, images: list[NetworkInput]) -> object:
    requests = list(zip(_classes(len(images)), images, strict=True))
    return list(cam_many(net, requests, layer=layer, max_bytes=1 << 34))


def _pytorch_grad_cam(module: nn.Module, layer: str, stack: torch.Tensor) -> object:
    with catch_warnings():
        simplefilter("ignore")
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        targets = [ClassifierOutputTarget(index) for index in _classes(len(stack))]
        with GradCAM(module, [module.get_submodule(layer)]) as grad_cam:
            return grad_cam(stack, targets)


@torch.inference_mode()
def _bare_forward(module: nn.Module, stack: torch.Tensor) -> object:
    return module(stack)
