"""Train a small detector on crowds of the world, and measure where heat lies at each of its layers.

    python -m tools.detector_layers docs/localisation.md FAMILY FOLDER [SCENES]

FAMILY is `YOLO`, `RetinaNet` or `Faster R-CNN`. Trains into FOLDER/FAMILY.pt unless it is there,
which takes five to ten minutes on one core; the third starts from the backbone of the second.
Writes the table of the family between the marks in the page. YOLO needs the extra `yolo`.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tools.accountability import report, table, update
from tools.detector_training import RECIPES, set_side, trained_network
from tools.localisation import (
    MIN_OVERLAP,
    SCORES,
    FoundObject,
    cell,
    crowds,
    score,
    visible_objects,
)
from tools.localiser_scores import Boxes, box_overlaps, mean_average_precision

import retroscope as rs
from retroscope.methods.detections import Detections, read_detections
from retroscope.methods.observation import observe
from retroscope.world import Scene

MAKER = "tools/detector_layers.py"
SCENES, TEST_SCENES = 20, 100
"""Scenes of found objects whose heat is measured; scenes for the average precision."""

METHODS = ("layercam", "hirescam", "gradcam")
OWN_STAGE, OWN_LEVEL = "the level of the box, backbone", "the level of the box, neck"
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CandidateLayers:
    """The layers to measure. `levels` are those of the neck that boxes are predicted from, each
    with the last layer of the backbone of its size.
    """

    layers: tuple[str, ...]
    levels: Mapping[str, str]


_BODY, _NECK = "backbone.body.layer{}", "backbone.fpn.layer_blocks.{}"
CANDIDATES = {
    "YOLO": CandidateLayers(("model.4", "model.6", "model.9", "model.12", "model.15"), {}),
    "RetinaNet": CandidateLayers(
        tuple(_BODY.format(number) for number in (1, 2, 3, 4)),
        {_NECK.format(number): _BODY.format(number + 2) for number in range(3)},
    ),
    "Faster R-CNN": CandidateLayers(
        tuple(_BODY.format(number) for number in (1, 2, 3, 4)),
        {_NECK.format(number): _BODY.format(number + 1) for number in range(4)},
    ),
}


def main() -> None:
    """Train if needed, and write the tables into the page."""
    page, family, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    number = int(sys.argv[4]) if sys.argv[4:] else SCENES
    torch.set_num_threads(1)
    trained = trained_network(family, folder)
    facts, rows = "", list[list[str]]()
    for side in RECIPES[family].sides:
        set_side(trained.module, side)
        net = replace_fit(trained)
        scenes = list(islice(found_scenes(net), number))
        facts += describe(net, family, side, scenes)
        report(facts)
        rows += layer_rows(net, CANDIDATES[family], side, scenes)
    tables = {f"facts of {family}": facts, f"layers of {family}": table(HEADINGS, rows)}
    page.write_text(update(page.read_text("utf-8"), tables, maker=MAKER), "utf-8")


def replace_fit(net: rs.Network) -> rs.Network:
    """The network as new, after its own resizing has changed."""
    return rs.Network(net.module, fit=net.preprocessing.fit, labels=net.labels, name=net.name)


# Objects that are found


def found_scenes(net: rs.Network) -> Iterator[list[FoundObject]]:
    """The objects that are found in each scene with at least two of them."""
    for painted in crowds():
        found = list(found_objects(net, painted))
        if len(found) > 1:
            yield found


def found_objects(net: rs.Network, painted: Scene) -> Iterator[FoundObject]:
    """The objects whose class and box the detector gets right."""
    detections = detect(net, painted)
    boxes = detections.boxes.double().numpy()
    labels = [net.labels[index] for index in detections.classes.tolist()]
    for item in visible_objects(painted):
        shares = box_overlaps(boxes, corners_of([item.box]))[:, 0]
        right = [
            rank
            for rank, number in enumerate(detections.order, 1)
            if labels[number] == item.label and shares[number] >= MIN_OVERLAP
        ]
        if right:
            yield FoundObject(painted, item, f"box:{right[0]}", rs.Unit(net.layers[0].name))


def detect(net: rs.Network, painted: Scene) -> Detections:
    detections = observe(net, net.prepare(painted.pixels), []).output.detections
    assert detections is not None
    return detections[0]


def corners_of(boxes: Sequence[rs.Box]) -> Numbers:
    """Top, left, bottom and right of each box (boxes, 4)."""
    corners = [(box.top, box.left, box.bottom, box.right) for box in boxes]
    return np.array(corners, float).reshape(-1, 4)


def precision(net: rs.Network) -> float:
    """The mean average precision at an overlap of a half, of the boxes that the detector gives."""
    pairs = []
    for painted in islice(crowds(), TEST_SCENES):
        detections, objects = detect(net, painted), visible_objects(painted)
        classes = np.array([net.labels.index(item.label) for item in objects], np.int64)
        predicted = Boxes(
            detections.boxes.double().numpy(),
            detections.classes.numpy(),
            detections.scores.double().numpy(),
        )
        truth = Boxes(corners_of([item.box for item in objects]), classes, np.ones(len(objects)))
        pairs.append((predicted, truth))
    return mean_average_precision(pairs)


def describe(
    net: rs.Network, family: str, side: int, scenes: Sequence[Sequence[FoundObject]]
) -> str:
    """How good the detector is, and how many objects are measured, in one sentence."""
    objects = [found for group in scenes for found in group]
    areas = [found.truth.box.width * found.truth.box.height for found in objects]
    length = np.sqrt(areas).mean() * side / objects[0].pixels.shape[0]
    return (
        f"{family} at {side} pixels: mean average precision {precision(net):.2f} in {TEST_SCENES} "
        f"scenes; measured are {len(objects)} objects of about {length:.0f} pixels in "
        f"{len(scenes)} scenes.  \n"
    )


# Measurement

HEADINGS = [
    "image",
    "layer",
    "size",
    *SCORES,
    "HiResCAM: hit, own object",
    "Grad-CAM: hit, own object",
]


def layer_rows(
    net: rs.Network,
    candidates: CandidateLayers,
    side: int,
    scenes: Sequence[Sequence[FoundObject]],
) -> list[list[str]]:
    """A row for each layer: all scores of LayerCAM, and two of each other method."""
    stages = (*candidates.layers, *candidates.levels.values())
    layers = list(dict.fromkeys((*stages, *candidates.levels)))
    measured: Scores = {(layer, method): [] for layer in layers for method in METHODS}
    for objects in scenes:
        for pair, scores in scene_scores(net, objects, layers).items():
            measured[pair].append(scores)
    sizes = {layer: "x".join(map(str, net.layer(layer).size)) for layer in layers}
    if candidates.levels:
        measured |= own_level_scores(candidates, measured)
    rows = []
    for name in dict.fromkeys(layer for layer, _ in measured):
        means = [scene_means(measured[name, method]) for method in METHODS]
        others = [", ".join(f"{value:.2f}" for value in mean.mean(0)[2:]) for mean in means[1:]]
        rows.append([str(side), name, sizes.get(name, ""), *map(cell, means[0].T), *others])
        report(" ".join(rows[-1]))
    return rows


@dataclass(frozen=True, eq=False)
class ObjectScore:
    """The scores of the heat of an object, and whether there is any heat."""

    values: tuple[float, ...]
    has_heat: bool


SceneScores = list[ObjectScore]
Scores = dict[tuple[str, str], list[SceneScores]]
"""By layer and method, then by scene."""


def scene_scores(
    net: rs.Network, objects: Sequence[FoundObject], layers: Sequence[str]
) -> dict[tuple[str, str], SceneScores]:
    """The scores of the heat of each object of a scene, by layer and method.

    It takes one pass for a scene and one back for an object, instead of those of `rs.cam` for each
    layer and method. The heat of the first layer must be that of `rs.cam`.
    """
    maps, detections = run_with_maps(net, objects[0].painted, layers)
    scores: dict[tuple[str, str], SceneScores] = {
        (layer, method): [] for layer in layers for method in METHODS
    }
    for found in objects:
        example = rs.cam(net, found.pixels, method="layercam", layer=layers[0], target=found.target)
        confidence = detections.scores[detections.order[int(found.target[4:]) - 1]]
        gradients = torch.autograd.grad(
            confidence, maps, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        heats = {
            (layer, method): heat_of(tensor, gradient, method).detach().numpy()
            for layer, tensor, gradient in zip(layers, maps, gradients, strict=True)
            for method in METHODS
        }
        limit = 1e-3 * float(example.values.max()) + 1e-9
        np.testing.assert_allclose(heats[layers[0], "layercam"], example.values, atol=limit)
        for pair, values in heats.items():
            full = np.asarray(replace(example, values=values).full())
            scores[pair].append(ObjectScore(score(full, found), bool(values.any())))
    return scores


@torch.enable_grad()
def run_with_maps(
    net: rs.Network, painted: Scene, layers: Sequence[str]
) -> tuple[list[torch.Tensor], Detections]:
    """The maps of the layers and the detections of a scene, in one graph of autograd."""
    maps: dict[str, torch.Tensor] = {}
    parts = {name: net.module.get_submodule(name) for name in layers}
    hooks = [
        part.register_forward_hook(lambda *call, name=name: maps.update({name: call[2]}))
        for name, part in parts.items()
    ]
    image = net.prepare(painted.pixels)
    try:
        output = net.module(image.tensor[None].clone().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    detections = read_detections(net.module, output, image.size)
    assert detections is not None
    return [maps[name] for name in layers], detections[0]


def heat_of(maps: torch.Tensor, gradient: torch.Tensor, method: str) -> torch.Tensor:
    """The heat of an image by the definition of a method, without what is negative."""
    weights = {
        "gradcam": gradient.mean((2, 3), keepdim=True),
        "hirescam": gradient,
        "layercam": gradient.clamp(min=0),
    }
    return (weights[method] * maps).sum(dim=1)[0].clamp(min=0)


def own_level_scores(candidates: CandidateLayers, measured: Scores) -> Scores:
    """Scores at the level that each box is predicted from: the one on which its score depends."""
    first = measured[next(iter(candidates.levels)), METHODS[0]]
    chosen = [
        [own_level(candidates, measured, group, number) for number in range(len(first[group]))]
        for group in range(len(first))
    ]
    counts = {name: sum(names.count(name) for names in chosen) for name in candidates.levels}
    report(f"boxes of each level: {counts}")
    return {
        (title, method): [
            [measured[layers[name], method][group][number] for number, name in enumerate(names)]
            for group, names in enumerate(chosen)
        ]
        for title, layers in (
            (OWN_STAGE, candidates.levels),
            (OWN_LEVEL, {name: name for name in candidates.levels}),
        )
        for method in METHODS
    }


def own_level(
    candidates: CandidateLayers,
    measured: Scores,
    group: int,
    number: int,
) -> str:
    """The layer of the neck with heat of an object; of a coarser level, the last of them."""
    names = list(candidates.levels)
    with_heat = [name for name in names if measured[name, METHODS[0]][group][number].has_heat]
    return with_heat[0] if with_heat else names[-1]


def scene_means(scores: Sequence[SceneScores]) -> Numbers:
    """The mean scores of the objects of each scene (scenes, scores)."""
    means = [np.nanmean([item.values for item in objects], axis=0) for objects in scores]
    return np.array(means, np.float64)


if __name__ == "__main__":
    main()
