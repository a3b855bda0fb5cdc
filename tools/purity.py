"""Measures how pure the units of `demo` are: `python tools/purity.py docs/world.md`.

Writes a table between the marks in the file. A channel's nine strongest scenes are projected back
to the pixels. Each shows the part that holds most of the projection's absolute values, or none
where what is no part holds more. The channel's purity is the share of the nine that show its
commonest part.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch

from retroscope import Layer, Network, Unit, deconv_many
from retroscope.world import Scene, world_scene
from retroscope.world.part_map import dominant_part, most_common_part
from retroscope.zoo.demo_networks import open_named

WORLD, SCENES, TOP, PURE = 11, 1500, 9, 0.8
MARKS = "<!-- made by tools/purity.py -->\n", "<!-- end -->"

Numbers = npt.NDArray[np.int64]
Purity = tuple[str, float]
"""The commonest part of a channel, and its share of the nine."""


def convolutions(net: Network) -> list[Layer]:
    return [layer for layer in net.layers if layer.kind == "conv"]


@torch.inference_mode()
def strongest(net: Network, scenes: Sequence[Scene]) -> dict[str, Numbers]:
    """For each convolution the scenes that excite a channel most: (channels, nine)."""
    peaks: dict[str, list[torch.Tensor]] = {layer.name: [] for layer in convolutions(net)}
    for one in scenes:
        signal = torch.from_numpy(net.preprocessing.numbers(one.pixels))[None].to(net.device)
        for name, part in net.module.get_submodule("features").named_children():
            signal = part(signal.clone())
            if f"features.{name}" in peaks:
                peaks[f"features.{name}"].append(signal.amax((2, 3))[0])
    found = {name: torch.stack(several, dim=1).topk(TOP) for name, several in peaks.items()}
    return {name: best.indices.cpu().numpy() for name, best in found.items()}


def purities(
    net: Network, layer: Layer, best: Numbers, *, scenes: Sequence[Scene], truth: Sequence[Scene]
) -> list[Purity]:
    """The purity of each channel; where `truth` is other scenes, what chance would give."""
    pictures = {
        n: net.prepare(PIL.Image.fromarray(scenes[n].pixels)) for n in set(best.ravel().tolist())
    }
    asked = [
        (Unit(layer.name, channel), pictures[number])
        for channel, row in enumerate(best)
        for number in row.tolist()
    ]
    shown = [
        dominant_part(projection, truth[number].parts)
        for projection, number in zip(deconv_many(net, asked), best.ravel().tolist(), strict=True)
    ]
    return [most_common_part(shown[start : start + TOP]) for start in range(0, len(shown), TOP)]


def row(layer: Layer, pure: Sequence[Sequence[Purity]]) -> str:
    """A line of the table: the trained network, then chance, then a network that is not trained."""
    counts = [sum(share >= PURE for _, share in one) for one in pure]
    parts = Counter(part for part, share in pure[0] if share >= PURE)
    names = ", ".join(f"{part} {times}" for part, times in parts.most_common(8))
    mean = np.mean([share for _, share in pure[0]])
    seen = layer.field.y.size
    return (
        f"| {layer.name} | {seen} | {layer.channels} | {counts[0]} | {mean:.2f} | "
        f"{counts[1]} | {counts[2]} | {names} |"
    )


def table(net: Network, untrained: Network) -> str:
    scenes = [world_scene(WORLD, number) for number in range(SCENES)]
    order = np.random.default_rng(0).permutation(SCENES)
    others = [scenes[number] for number in order]
    best, aimless = strongest(net, scenes), strongest(untrained, scenes)
    lines = [
        "| layer | field | channels | pure | mean purity | by chance | untrained | pure units of |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for layer in convolutions(net):
        own, found = best[layer.name], aimless[layer.name]
        pure = (
            purities(net, layer, own, scenes=scenes, truth=scenes),
            purities(net, layer, own, scenes=scenes, truth=others),
            purities(untrained, layer, found, scenes=scenes, truth=scenes),
        )
        lines.append(row(layer, pure))
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main(file: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = open_named("demo", False)
    text, (begin, end) = file.read_text("utf-8"), MARKS
    before, _, rest = text.partition(begin)
    made = table(open_named("demo", True), untrained)
    file.write_text(f"{before}{begin}{made}{end}{rest.partition(end)[2]}", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
