"""Projections of deep units, which see whole images, and the bare forward pass of one image."""

from functools import partial
from statistics import median

import numpy as np
import torch

import retroscope as rs
from benchmarks.timing import (
    at_most,
    describe_machine,
    markdown_table,
    median_ratio,
    time_alternating,
)
from retroscope.engine.batching import NetworkInput
from retroscope.engine.convolution_outputs import convolution_outputs
from retroscope.results.layers import Layer

STAGES = {
    ("resnet50", "layer3"): 1.15,
    ("resnet50", "layer4"): 1.15,
    ("mobilenet_v2", "features.1"): 1.15,
}
Request = tuple[rs.Unit, NetworkInput]
RULES = ("auto", "guided")
IMAGES, HITS_PER_IMAGE, SIZE = 2, 24, 224


def report() -> str:
    """The results in Markdown."""
    rows = [_row(name, stage, rules) for name, stage in STAGES for rules in RULES]
    header = (
        *("model", "layers", "rules", "bare forward, ms", "projection, ms"),
        *("time relative to bare", "target"),
    )
    return "\n\n".join(
        (
            "# Projection of one deep unit, at 224 px, float32",
            describe_machine("torchvision"),
            markdown_table(header, rows),
            f"Units drawn at random from the outputs of all convolutions whose names begin like "
            f"that, {HITS_PER_IMAGE} in each of {IMAGES} images, in one call. Medians of "
            "alternating rounds. `bare` is `model(x)` of one image, in inference mode, channels "
            "last.\n",
        )
    )


def _row(name: str, stage: str, rules: str) -> list[object]:
    net = rs.open_model(name, random_weights=0)
    generator = torch.Generator().manual_seed(0)
    images = [net.prepare(torch.randn(3, SIZE, SIZE, generator=generator)) for _ in range(IMAGES)]
    requests = [request for image in images for request in _requests(net, stage, image)]
    stack = images[0].tensor[None].to(net.device, memory_format=torch.channels_last)
    bare = partial(_run_bare, net, stack)
    ours = partial(_project, net, requests, rules)
    bare_times, our_times = time_alternating(bare, ours)
    unit_times = [seconds / len(requests) for seconds in our_times]
    ratio = median_ratio(unit_times, bare_times)
    return [
        *(name, stage, rules),
        f"{1e3 * median(bare_times):.1f}",
        f"{1e3 * median(unit_times):.1f}",
        f"{ratio:.2f}",
        at_most(STAGES[name, stage], ratio),
    ]


def _requests(net: rs.Network, stage: str, image: NetworkInput) -> list[Request]:
    random, layers = np.random.default_rng(0), _layers(net, stage)
    chosen = [layers[number] for number in random.integers(len(layers), size=HITS_PER_IMAGE)]
    return [(_random_unit(random, layer), image) for layer in chosen]


def _layers(net: rs.Network, stage: str) -> list[Layer]:
    outputs = convolution_outputs(net.survey(net.input_size))
    return [layer for layer in outputs if (layer.convolution or (layer.name,))[0].startswith(stage)]


def _random_unit(random: np.random.Generator, layer: Layer) -> rs.Unit:
    channel, y, x = random.integers((layer.channels, *layer.size)).tolist()
    return rs.Unit(layer.name, channel, (y, x))


def _project(net: rs.Network, requests: list[Request], rules: str) -> None:
    list(rs.deconv_many(net, requests, rules=rules))


@torch.inference_mode()
def _run_bare(net: rs.Network, stack: torch.Tensor) -> None:
    net.module(stack)
