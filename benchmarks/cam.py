"""Grad-CAM of a batch of eight: ours, pytorch-grad-cam, and the bare forward pass.

The classes are given, so neither program has to find the most probable one.
"""

from functools import partial
from importlib.metadata import version
from statistics import median
from warnings import catch_warnings, simplefilter

import torch
from torch import nn

import retroscope as rs
from benchmarks.timing import describe_machine, markdown_table, median_ratio, time_alternating
from retroscope.engine.batching import NetworkInput
from retroscope.methods.cam.cam import cam_many

LAYERS = {"vgg16": "features.29", "resnet50": "layer4.2"}
BATCH, SIZE, ROUNDS = 8, 224, 9
CLASSES = tuple(range(0, 80, 10))


def report() -> str:
    """The results in Markdown."""
    rows = [_row(name) for name in LAYERS]
    header = (
        "model",
        "pytorch-grad-cam, ms/image",
        "retroscope, ms/image",
        "bare, ms/image",
        "speedup (target 4)",
        "time relative to bare (target 1.1)",
    )
    return "\n\n".join(
        (
            "# Grad-CAM of the last maps, batch of 8 at 224 px, float32",
            f"{describe_machine('torchvision')}, grad-cam {version('grad-cam')}",
            markdown_table(header, rows),
            f"Medians of {ROUNDS} alternating rounds; ratios are medians over pairs of adjacent "
            "runs. `bare` is `model(x)` alone, in inference mode, channels last.\n",
        )
    )


def _row(name: str) -> list[object]:
    net = rs.open_model(name, random_weights=0)
    generator = torch.Generator().manual_seed(0)
    images = [net.prepare(torch.randn(3, SIZE, SIZE, generator=generator)) for _ in range(BATCH)]
    stack = torch.stack([image.tensor for image in images]).to(net.device)
    channels_last = stack.to(memory_format=torch.channels_last)
    module = net.module.eval()
    programs = [
        partial(_pytorch_grad_cam, module, LAYERS[name], stack),
        partial(_ours, net, LAYERS[name], images),
        partial(_bare_forward, module, channels_last),
    ]
    peer, ours, bare = time_alternating(*programs, rounds=ROUNDS)
    milliseconds = [f"{median(times) / BATCH * 1e3:.1f}" for times in (peer, ours, bare)]
    return [
        name,
        *milliseconds,
        f"{median_ratio(peer, ours):.1f}",
        f"{median_ratio(ours, bare):.2f}",
    ]


def _ours(net: rs.Network, layer: str, images: list[NetworkInput]) -> object:
    requests = list(zip(CLASSES, images, strict=True))
    return list(cam_many(net, requests, layer=layer, max_bytes=1 << 34))


def _pytorch_grad_cam(module: nn.Module, layer: str, stack: torch.Tensor) -> object:
    with catch_warnings():
        simplefilter("ignore")
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        with GradCAM(module, [module.get_submodule(layer)]) as grad_cam:
            return grad_cam(stack, [ClassifierOutputTarget(index) for index in CLASSES])


@torch.inference_mode()
def _bare_forward(module: nn.Module, stack: torch.Tensor) -> object:
    return module(stack)
