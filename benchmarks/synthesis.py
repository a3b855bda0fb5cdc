"""One optimisation step of a pattern of VGG16: ours, one and eight at once, and lucent.

Both maximise the mean of a channel's map, with Adam on a spectrum of 128 pixels and the same
transforms. Lucent resizes the network's input to 224 pixels unless it gets a size; both are
measured.
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from warnings import catch_warnings, simplefilter

import torch

import retroscope as rs
from benchmarks.timing import describe_machine, markdown_table, median_ratio, time_alternating
from retroscope.methods.synthesis.synthesize import synthesize_many

SIZE, MANY, STEPS, CHANNEL = 128, 8, 3, 5
PADDED = SIZE + 24
LAYERS = {
    "conv2_2": ("features_7", 8),
    "conv3_3": ("features_14", 4),
    "conv5_3": ("features_28", 1.5),
}
"""Lucent's name of each layer, and our target speedup."""
StepsProgram = Callable[[int], object]


def report() -> str:
    """The results in Markdown."""
    net = rs.open_model("vgg16", random_weights=0, device="cpu")
    rows = [_row(net, name, path, target) for name, (path, target) in LAYERS.items()]
    header = (
        *("layer", "lucent, ms", "lucent at 152 px, ms"),
        *("retroscope, ms", f"retroscope, batch of {MANY}, ms"),
        *("speedup", "target speedup", "speedup over 152 px", f"speedup, batch of {MANY}"),
    )
    return "\n\n".join(
        (
            "# One step of a pattern, VGG16, canvas of 128 px, float32",
            describe_machine("torchvision", "torch-lucent"),
            markdown_table(header, rows),
            f"Milliseconds per step of one pattern: the time of {STEPS + 1} steps minus that of "
            f"one, divided by {STEPS}; medians of alternating rounds. Lucent runs the whole "
            "network, on 224 px by default or on its padded canvas of 152 px. Retroscope stops at "
            "the layer and runs on the canvas of 128 px.\n",
        )
    )


def _row(net: rs.Network, name: str, path: str, target: float) -> list[object]:
    programs: list[StepsProgram] = [
        partial(_lucent, net.module, path, None),
        partial(_lucent, net.module, path, PADDED),
        partial(_ours, net, name, 1),
        partial(_ours, net, name, MANY),
    ]
    times = time_alternating(
        *(partial(program, count) for program in programs for count in (1, STEPS + 1))
    )
    pairs = zip(times[::2], times[1::2], strict=True)
    enlarged, padded, single, batch = (
        [(long - short) / STEPS for short, long in zip(*pair, strict=True)] for pair in pairs
    )
    batched = [seconds / MANY for seconds in batch]
    return [
        name,
        *(f"{median(seconds) * 1e3:.0f}" for seconds in (enlarged, padded, single, batched)),
        f"{median_ratio(enlarged, single):.1f}",
        f"{target:g}",
        f"{median_ratio(padded, single):.1f}",
        f"{median_ratio(enlarged, batched):.1f}",
    ]


def _ours(net: rs.Network, layer: str, count: int, steps: int) -> object:
    units = [f"{layer}:{CHANNEL + n}@*" for n in range(count)]
    return synthesize_many(net, units, steps=steps, size=SIZE)


def _lucent(module: torch.nn.Module, path: str, size: int | None, steps: int) -> object:
    with catch_warnings():
        simplefilter("ignore")
        from lucent.optvis import param, render

        return render.render_vis(
            module,
            f"{path}:{CHANNEL}",
            param_f=lambda: param.image(SIZE),
            thresholds=(steps,),
            show_image=False,
            progress=False,
            fixed_image_size=size,
        )
