"""One step of a pattern of VGG16, 128 px: ours, alone and eight at once, and lucent.

Both excite the mean of a channel's map by Adam on a spectrum through the same transforms. Lucent
enlarges what it shows the network to 224 pixels, unless it is told a size; both ways are measured.
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from warnings import catch_warnings, simplefilter

import torch

import retroscope as rs
from benchmarks.timing import in_turn, machine, ratio, table
from retroscope.methods.synthesis.synthesize import synthesize_many

SIZE, MANY, STEPS, CHANNEL = 128, 8, 3, 5
PADDED = SIZE + 24
LAYERS = {
    "conv2_2": ("features_7", 8),
    "conv3_3": ("features_14", 4),
    "conv5_3": ("features_28", 1.5),
}
"""Lucent's name of each layer, and how many times faster we want to be."""
Steps = Callable[[int], object]


def report() -> str:
    """The table, in Markdown."""
    net = rs.open_model("vgg16", random_weights=0, device="cpu")
    rows = [_row(net, name, path, target) for name, (path, target) in LAYERS.items()]
    heads = (
        *("layer", "lucent, ms", "lucent at 152 px, ms", "ours, ms", f"ours, {MANY} at once, ms"),
        *("times faster", "target", "than at 152 px", f"{MANY} at once"),
    )
    return "\n\n".join(
        (
            "# One step of a pattern, VGG16, a canvas of 128 px, float32",
            machine("torchvision", "torch-lucent"),
            table(heads, rows),
            f"Milliseconds for a step of one pattern: what {STEPS + 1} steps take longer than one, "
            f"over {STEPS}; medians of rounds run in turn. Lucent runs the whole network on 224 "
            "px, or on its padded canvas of 152 px where it is told to; we stop at the layer and "
            "show it the canvas of 128 px.\n",
        )
    )


def _row(net: rs.Network, name: str, path: str, target: float) -> list[object]:
    programs: list[Steps] = [
        partial(_lucent, net.module, path, None),
        partial(_lucent, net.module, path, PADDED),
        partial(_ours, net, name, 1),
        partial(_ours, net, name, MANY),
    ]
    timed = in_turn(*(partial(each, count) for each in programs for count in (1, STEPS + 1)))
    pairs = zip(timed[::2], timed[1::2], strict=True)
    enlarged, told, alone, many = (
        [(long - short) / STEPS for short, long in zip(*pair, strict=True)] for pair in pairs
    )
    each = [one / MANY for one in many]
    return [
        name,
        *(f"{median(times) * 1e3:.0f}" for times in (enlarged, told, alone, each)),
        f"{ratio(enlarged, alone):.1f}",
        f"{target:g}",
        f"{ratio(told, alone):.1f}",
        f"{ratio(enlarged, each):.1f}",
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
