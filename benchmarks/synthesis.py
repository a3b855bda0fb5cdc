"""One optimisation step of a pattern of VGG16: ours, one and eight at once, and lucent.

Both maximise the mean of a channel's map, with Adam on a spectrum of 128 pixels and the same
transforms. Lucent resizes the network's input to 224 pixels unless it gets a size; both are
measured. Besides, a whole pattern of a unit of EfficientNet-Lite0, by the default recipe.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from warnings import catch_warnings, simplefilter

import torch

import retroscope as rs
from benchmarks.timing import (
    NOT_INSTALLED,
    at_least,
    at_most,
    describe_machine,
    format_factor,
    format_milliseconds,
    if_installed,
    markdown_table,
    ratio_if_timed,
    seconds,
    time_alternating,
)
from retroscope.errors import ModelError
from retroscope.methods.synthesis.synthesize import synthesize_many

CHANNEL, MARGIN = 5, 24
"""Lucent pads its canvas by the margin."""
WHOLE_TARGET = 30


@dataclass(frozen=True)
class Layer:
    """A layer, lucent's name of it, and our target speedup."""

    name: str
    peer_name: str
    target: float


@dataclass(frozen=True)
class Sizes:
    """How much is measured; `unit` is that of `network` whose whole pattern is timed."""

    layers: Sequence[Layer]
    model: str = "vgg16"
    canvas: int = 128
    batch: int = 8
    steps: int = 3
    rounds: int = 5
    network: str = "imagenet"
    unit: str = f"block8.project.norm:{CHANNEL}"
    unit_steps: int | None = None


FULL = Sizes(
    [
        Layer("conv2_2", "features_7", 8),
        Layer("conv3_3", "features_14", 4),
        Layer("conv5_3", "features_28", 1.5),
    ]
)
TINY = Sizes(
    [Layer("conv2", "features_3", 1)],
    "alexnet",
    canvas=64,
    batch=2,
    steps=1,
    rounds=1,
    network="demo",
    unit=f"conv2:{CHANNEL}",
    unit_steps=2,
)


def report(sizes: Sizes = FULL) -> str:
    """The results in Markdown."""
    net = rs.open_model(sizes.model, random_weights=0, device="cpu")
    rows = [_row(net, layer, sizes) for layer in sizes.layers]
    padded = sizes.canvas + MARGIN
    header = (
        *("layer", "lucent, ms", f"lucent at {padded} px, ms"),
        *("retroscope, ms", f"retroscope, batch of {sizes.batch}, ms"),
        *("speedup", "target", f"speedup over {padded} px", f"speedup, batch of {sizes.batch}"),
    )
    return "\n\n".join(
        (
            f"# One step of a pattern, {net.name}, canvas of {sizes.canvas} px, float32",
            describe_machine("torchvision", "torch-lucent"),
            markdown_table(header, rows),
            f"Milliseconds per step of one pattern: the time of {sizes.steps + 1} steps minus that "
            f"of one, divided by {sizes.steps}; medians of alternating rounds. Lucent runs the "
            f"whole network, on 224 px by default or on its padded canvas of {padded} px. "
            f"Retroscope stops at the layer and runs on the canvas of {sizes.canvas} px.",
            "## A whole pattern",
            _whole_pattern(sizes),
        )
    )


def _row(net: rs.Network, layer: Layer, sizes: Sizes) -> list[object]:
    lucent = partial(_lucent, net.module, layer.peer_name, canvas=sizes.canvas)
    peers = [partial(lucent, size=None), partial(lucent, size=sizes.canvas + MARGIN)]
    ours = [
        partial(_ours, net, layer.name, size=sizes.canvas, count=count)
        for count in (1, sizes.batch)
    ]
    step_counts = (1, sizes.steps + 1)
    runs = [
        *(if_installed("lucent", partial(peer, steps)) for peer in peers for steps in step_counts),
        *(partial(program, steps) for program in ours for steps in step_counts),
    ]
    times = time_alternating(*runs, rounds=sizes.rounds)
    pairs = zip(times[::2], times[1::2], strict=True)
    enlarged, padded, single, batch = (
        [(long - short) / sizes.steps for short, long in zip(*pair, strict=True)] for pair in pairs
    )
    batched = [elapsed / sizes.batch for elapsed in batch]
    speedup = ratio_if_timed(enlarged, single)
    return [
        layer.name,
        *(format_milliseconds(column, 0) for column in (enlarged, padded, single, batched)),
        format_factor(speedup),
        at_least(layer.target, speedup),
        format_factor(ratio_if_timed(padded, single)),
        format_factor(ratio_if_timed(enlarged, batched)),
    ]


def _ours(net: rs.Network, layer: str, steps: int, *, size: int, count: int) -> object:
    units = [f"{layer}:{CHANNEL + n}@*" for n in range(count)]
    return synthesize_many(net, units, steps=steps, size=size)


def _lucent(
    module: torch.nn.Module, path: str, steps: int, *, canvas: int, size: int | None
) -> object:
    with catch_warnings():
        simplefilter("ignore")
        from lucent.optvis import param, render

        return render.render_vis(
            module,
            f"{path}:{CHANNEL}",
            param_f=lambda: param.image(canvas),
            thresholds=(steps,),
            show_image=False,
            progress=False,
            fixed_image_size=size,
        )


def _whole_pattern(sizes: Sizes) -> str:
    """The seconds of one pattern with all defaults, as a user waits for it."""
    header = "network", "unit", "seconds", "target"
    try:
        net = rs.open_model(sizes.network, device="cpu")
    except ModelError:
        row = [sizes.network, sizes.unit, NOT_INSTALLED, at_most(WHOLE_TARGET, None, " s")]
        return markdown_table(header, [row])
    run = partial(rs.synthesize, net, sizes.unit, steps=sizes.unit_steps)
    times = [seconds(run) for _ in range(min(sizes.rounds, 3))]
    middle = median(times)
    row = [sizes.network, sizes.unit, f"{middle:.1f}", at_most(WHOLE_TARGET, middle, " s")]
    return f"{markdown_table(header, [row])}\n\nThe default recipe; median of {len(times)} runs."
