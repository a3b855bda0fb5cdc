"""Measure how pure the units of `demo` are: `python -m tools.purity docs/world.md`.

Writes a table between the marks in the file. The nine strongest scenes of each channel are
projected back to the pixels. Each shows the part under most of the projection's absolute values, or
none if more of them lie outside all parts. The channel's purity is the share of the nine that show
its most common part.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from tools.marked_tables import made_by, update_file

from retroscope import Layer, Network, Unit, deconv_many
from retroscope.world import Scene, world_scene
from retroscope.world.part_map import dominant_part, most_common_part
from retroscope.zoo.demo_networks import open_named

WORLD, SCENES, TOP, PURE = 11, 1500, 9, 0.8

SceneNumbers = npt.NDArray[np.int64]
Purity = tuple[str, float]
"""The most common part of a channel, and its share of the nine."""


def convolutions(net: Network) -> list[Layer]:
    return [layer for layer in net.layers if layer.kind == "conv"]


@torch.inference_mode()
def find_strongest(net: Network, scenes: Sequence[Scene]) -> dict[str, SceneNumbers]:
    """For each convolution the scenes that excite each channel most: (channels, nine)."""
    peaks: dict[str, list[torch.Tensor]] = {layer.name: [] for layer in convolutions(net)}
    for painted in scenes:
        signal = torch.from_numpy(net.preprocessing.to_input(painted.pixels))[None].to(net.device)
        for name, part in net.module.get_submodule("features").named_children():
            signal = part(signal.clone())
            if f"features.{name}" in peaks:
                peaks[f"features.{name}"].append(signal.amax((2, 3))[0])
    return {
        name: torch.stack(scene_peaks, dim=1).topk(TOP).indices.cpu().numpy()
        for name, scene_peaks in peaks.items()
    }


def measure_purities(
    net: Network,
    layer: Layer,
    best: SceneNumbers,
    *,
    scenes: Sequence[Scene],
    truth: Sequence[Scene],
) -> list[Purity]:
    """The purity of each channel; if `truth` is other scenes, the purity by chance."""
    images = {
        n: net.prepare(PIL.Image.fromarray(scenes[n].pixels)) for n in set(best.ravel().tolist())
    }
    requests = [
        (Unit(layer.name, channel), images[number])
        for channel, row in enumerate(best)
        for number in row.tolist()
    ]
    parts = [
        dominant_part(projection, truth[number].parts)
        for projection, number in zip(
            deconv_many(net, requests), best.ravel().tolist(), strict=True
        )
    ]
    return [most_common_part(parts[start : start + TOP]) for start in range(0, len(parts), TOP)]


def row(layer: Layer, pure: Sequence[Sequence[Purity]]) -> str:
    """A row of the table: the trained network, chance, and the untrained network."""
    counts = [sum(share >= PURE for _, share in channels) for channels in pure]
    parts = Counter(part for part, share in pure[0] if share >= PURE)
    names = ", ".join(f"{part} {count}" for part, count in parts.most_common(8))
    mean = np.mean([share for _, share in pure[0]])
    return (
        f"| {layer.name} | {layer.field.y.size} | {layer.channels} | {counts[0]} | {mean:.2f} | "
        f"{counts[1]} | {counts[2]} | {names} |"
    )


def table(net: Network, untrained: Network) -> str:
    scenes = [world_scene(WORLD, number) for number in range(SCENES)]
    order = np.random.default_rng(0).permutation(SCENES)
    shuffled = [scenes[number] for number in order]
    trained_best = find_strongest(net, scenes)
    untrained_best = find_strongest(untrained, scenes)
    lines = [
        "| layer | field | channels | pure | mean purity | by chance | untrained | pure units of |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for layer in convolutions(net):
        best, baseline = trained_best[layer.name], untrained_best[layer.name]
        pure = (
            measure_purities(net, layer, best, scenes=scenes, truth=scenes),
            measure_purities(net, layer, best, scenes=scenes, truth=shuffled),
            measure_purities(untrained, layer, baseline, scenes=scenes, truth=scenes),
        )
        lines.append(row(layer, pure))
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main(file: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = open_named("demo", False)
    update_file(file, made_by("purity.py"), table(open_named("demo", True), untrained))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
