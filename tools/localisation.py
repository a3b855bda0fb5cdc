"""Measure where the heat of each method lies, for each object that a network finds in a crowd.

    python -m tools.localisation docs/localisation.md [TABLE] [SCENES]

Writes the tables between the marks in the file: `detector` and `segmenter` compare all methods,
`default` those that a default for boxes and segments was chosen from, in more scenes. The objects
are those that `demo-detector` and `demo-segmenter` find in scenes of two to four objects that
neither was trained on.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from tools.accountability import interval_cell, report, table, update
from tools.explainers import BASELINES, OCCLUDER, STRIDE, Map
from tools.localiser_scores import box_overlaps

import retroscope as rs
from retroscope.imaging.decoding import RGB
from retroscope.methods.cam.cam_methods import CAM_METHODS
from retroscope.methods.dense_detectors import BoxFilter, select_boxes
from retroscope.methods.saliency import SALIENCY_METHODS
from retroscope.scanning.scoring.intervals import mean_interval
from retroscope.world import LABELS, Scene, SceneObject, scene
from retroscope.zoo.demo_localisers import LOCALISER_SIZE

MAKER = "tools/localisation.py"
FIRST_SEED, MIN_OVERLAP, MIN_PIXELS = 5 * 10**9, 0.5, 60
"""The first scene; the overlap of what is found with the object; the visible pixels of an object
that counts."""
SCENES, MANY_SCENES = 12, 100
"""How many scenes: for all methods, and for those that cost one pass back."""

LAST_MAP_METHODS = ("gradcam", "gradcam++", "hirescam", "layercam", "eigencam", "ablationcam")
RULES = ("deconvnet", "guided", "gradient", "relevance", "contrast")
SCORES = ("in the box", "in the mask", "hit", "own object")
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class FoundObject:
    """An object of a scene that a network finds.

    `target` is what methods explain, `unit` the score of the class at the place of the object.
    """

    painted: Scene
    truth: SceneObject
    target: str
    unit: rs.Unit

    @property
    def pixels(self) -> RGB:
        return self.painted.pixels


Explain = Callable[[rs.Network, FoundObject], Map]
"""The heat of an object at every pixel (height, width)."""


def main() -> None:
    """Write the tables, or one of them, into the page."""
    page = Path(sys.argv[1])
    number = int(sys.argv[3]) if sys.argv[3:] else None
    torch.set_num_threads(1)
    for name in sys.argv[2:3] or TABLES:
        TABLES[name](page, number)


def write_comparison(name: str, page: Path, number: int | None) -> None:
    """The table of all methods for a network."""
    net = rs.open_model(f"demo-{name}", device="cpu")
    scenes = list(islice(found_scenes(net, FINDERS[net.name]), number or SCENES))
    insert(page, {f"facts of the {name}": describe(net.name, scenes)})
    insert(page, {name: scores_table(score_methods(net, scenes, COMPARISONS | EXPLAINERS))})


def write_defaults(page: Path, number: int | None) -> None:
    """The table of the methods that may be the default, for each kind of target."""
    facts = ""
    rows: dict[str, npt.NDArray[np.float64]] = {}
    for kind, (name, aim) in KINDS.items():
        net = rs.open_model(name, device="cpu")
        found = islice(found_scenes(net, FINDERS[name]), number or MANY_SCENES)
        scenes = [[aim(item) for item in group] for group in found]
        facts += describe(name, scenes) if aim is as_found else ""
        methods = CANDIDATES | {"even": COMPARISONS["even"]}
        scores = score_methods(net, scenes, methods)
        rows |= {f"{kind}: {method}": values for method, values in scores.items()}
    insert(page, {"facts of the default": facts, "default": scores_table(rows)})


# Objects that are found


def crowds() -> Iterator[Scene]:
    """Scenes of two to four objects that no network was trained on."""
    for seed in count(FIRST_SEED):
        yield scene(seed, objects=2 + seed % 3, size=LOCALISER_SIZE)


def found_scenes(
    net: rs.Network, find: Callable[[rs.Network, Scene], list[FoundObject]]
) -> Iterator[list[FoundObject]]:
    """The objects that are found in each scene with at least two of them."""
    for painted in crowds():
        found = find(net, painted)
        if len(found) > 1:
            yield found


def visible_objects(painted: Scene) -> list[SceneObject]:
    return [item for item in painted.objects if item.mask.sum() >= MIN_PIXELS]


@torch.inference_mode()
def detected_objects(net: rs.Network, painted: Scene) -> list[FoundObject]:
    """The objects whose class and box the detector gets right."""
    output = net.module(net.prepare(painted.pixels).tensor[None])
    boxes = output["boxes"][0].flatten(1).T
    scores = output["class_logits"][0].flatten(1).T.sigmoid()
    rows, classes = select_boxes(boxes, scores, BoxFilter())
    columns = output["class_logits"].shape[3]
    found = []
    for item in visible_objects(painted):
        index, box = LABELS.index(item.label), item.box
        corners = np.array([[box.left, box.top, box.right, box.bottom]], float)
        overlaps = box_overlaps(boxes[rows].double().numpy(), corners)[:, 0]
        overlaps[classes.numpy() != index] = 0
        if not len(overlaps) or overlaps.max() < MIN_OVERLAP:
            continue
        row = int(rows[int(overlaps.argmax())])
        left, top, right, bottom = boxes[row].tolist()
        target = f"box:{top:.2f},{left:.2f},{bottom:.2f},{right:.2f}:{item.label}"
        unit = rs.Unit("classes", index, divmod(row, columns))
        found.append(FoundObject(painted, item, target, unit))
    return found


@torch.inference_mode()
def segmented_objects(net: rs.Network, painted: Scene) -> list[FoundObject]:
    """The objects of which the segmenter gets most pixels right, and few others."""
    logits = net.module(net.prepare(painted.pixels).tensor[None])[0]
    predicted = logits.argmax(dim=0).numpy()
    scores = F.avg_pool2d(logits, 2)
    found = []
    for item in visible_objects(painted):
        index = net.labels.index(item.label)
        segment = predicted == index
        union = (segment | item.mask).sum()
        if (segment & item.mask).sum() < MIN_OVERLAP * union:
            continue
        place = int(scores[index].flatten().argmax())
        unit = rs.Unit("classes", index, divmod(place, scores.shape[2]))
        found.append(FoundObject(painted, item, item.label, unit))
    return found


FINDERS = {"demo-detector": detected_objects, "demo-segmenter": segmented_objects}


def as_found(found: FoundObject) -> FoundObject:
    return found


def at_its_pixel(found: FoundObject) -> FoundObject:
    """The class at the pixel of the object with the highest score."""
    assert found.unit.position is not None
    y, x = (2 * coordinate for coordinate in found.unit.position)
    return replace(found, target=f"{found.truth.label}@{y},{x}")


KINDS = {
    "box": ("demo-detector", as_found),
    "segment": ("demo-segmenter", as_found),
    "pixel": ("demo-segmenter", at_its_pixel),
}
"""Targets whose scores depend on the maps near their place: the network, and what is explained."""


# Methods


def cam_heat(method: str, net: rs.Network, found: FoundObject) -> Map:
    """At the default layer, the last one of the encoder."""
    return np.asarray(rs.cam(net, found.pixels, method=method, target=found.target).full())


def last_map_heat(method: str, net: rs.Network, found: FoundObject) -> Map:
    """At the last maps before the predictions."""
    layer = LAST_MAPS[net.name]
    heat = rs.cam(net, found.pixels, method=method, layer=layer, target=found.target)
    return np.asarray(heat.full())


def saliency_heat(method: str, net: rs.Network, found: FoundObject) -> Map:
    return np.asarray(rs.saliency(net, found.pixels, method=method, target=found.target).full())


def occlusion_heat(net: rs.Network, found: FoundObject) -> Map:
    occluded = rs.occlusion(net, found.pixels, target=found.target, size=OCCLUDER, stride=STRIDE)
    return np.asarray(occluded.heat.full())


def projection_heat(rules: str, net: rs.Network, found: FoundObject) -> Map:
    """The size of the projection of the score of the class at the place of the object."""
    projection = rs.deconv(net, found.unit, found.pixels, rules=rules)
    return np.asarray(np.abs(projection.full()).sum(axis=2))


def random_heat(_net: rs.Network, found: FoundObject) -> Map:
    """Independent uniform values."""
    random = np.random.default_rng(crc32(found.pixels.tobytes()))
    return random.random(found.pixels.shape[:2])


def baseline_heat(name: str, net: rs.Network, found: FoundObject) -> Map:
    return BASELINES[name].explain(net, found.pixels, 0)


def summed_layercam(net: rs.Network, found: FoundObject) -> Map:
    """LayerCAM as for YOLO: a hook on the last layer before the head, the sum of all outputs.

    It knows no target.
    """
    maps: list[torch.Tensor] = []
    layer = net.module.get_submodule(LAST_MAPS[net.name])
    hook = layer.register_forward_hook(lambda *call: maps.append(call[2]))
    try:
        with torch.enable_grad():
            batch = net.prepare(found.pixels).tensor[None].requires_grad_()
            output = net.module(batch)
    finally:
        hook.remove()
    outputs = output.values() if isinstance(output, Mapping) else [output]
    total = torch.stack([values.sum() for values in outputs]).sum()
    (gradient,) = torch.autograd.grad(total, maps[-1])
    heat = (gradient.clamp(min=0) * maps[-1]).sum(dim=1, keepdim=True).clamp(min=0)
    full = F.interpolate(heat.detach(), size=batch.shape[2:], mode="bilinear")
    return full[0, 0].numpy()


LAST_MAPS = {"demo-detector": "head", "demo-segmenter": "smooths.2"}
"""The last layer before the predictions."""

COMPARISONS: dict[str, Explain] = {
    "even": partial(baseline_heat, "uniform"),
    "random": random_heat,
    "centre": partial(baseline_heat, "centre"),
    "Sobel": partial(baseline_heat, "Sobel"),
    "LayerCAM of all outputs": summed_layercam,
}
"""What knows nothing of the object that is asked for."""

EXPLAINERS: dict[str, Explain] = {
    **{name: partial(cam_heat, name) for name in CAM_METHODS},
    **{f"{name}, last maps": partial(last_map_heat, name) for name in LAST_MAP_METHODS},
    **{name: partial(saliency_heat, name) for name in SALIENCY_METHODS},
    "occlusion": occlusion_heat,
    **{f"projection, {rules}": partial(projection_heat, rules) for rules in RULES},
}
"""Every method of the library that explains a target, or a unit."""

CANDIDATES = {
    name: EXPLAINERS[name]
    for name in ("gradcam", "gradcam++", "hirescam", "layercam", "xgradcam", "eigencam")
}
"""Class activation maps that cost one pass back, as a default has to."""


# Scores


def score_methods(
    net: rs.Network, scenes: Sequence[Sequence[FoundObject]], methods: Mapping[str, Explain]
) -> dict[str, npt.NDArray[np.float64]]:
    """The scores of each method (scenes, scores): means over the objects of a scene."""
    scores = {}
    for name, explain in methods.items():
        scores[name] = np.array(
            [
                np.nanmean([score(explain(net, found), found) for found in objects], axis=0)
                for objects in scenes
            ]
        )
        report(f"{net.name}, {name}: {np.nanmean(scores[name], axis=0).round(2).tolist()}")
    return scores


def score(heat: Map, found: FoundObject) -> tuple[float, ...]:
    """What of the positive heat is in the box and in the mask, whether the peak is in the box,
    and what of the heat on all objects is on this one.
    """
    heat = np.maximum(heat, 0)
    box = np.zeros(heat.shape, bool)
    area = found.truth.box
    box[area.top : area.bottom, area.left : area.right] = True
    everything = found.painted.object_map > 0
    on_objects = np.where(everything, heat, 0)
    return (
        share(heat, box),
        share(heat, found.truth.mask),
        hit(heat, box),
        share(on_objects, found.truth.mask, of=everything),
    )


def share(heat: Map, mask: Mask, *, of: Mask | None = None) -> float:
    """The share of the heat inside a mask. Without any heat, that of the area.

    >>> share(np.array([[3.0, 1.0]]), np.array([[True, False]]))
    0.75
    """
    total = float(heat.sum())
    if total > 0:
        return float(heat[mask].sum()) / total
    return float(mask.sum() / (mask.size if of is None else of.sum()))


def hit(heat: Map, mask: Mask) -> float:
    """Whether the peak lies in a mask; of equal peaks, the share that does.

    >>> hit(np.array([[1.0, 1.0, 0.0]]), np.array([[True, False, False]]))
    0.5
    """
    peaks = heat == heat.max()
    return float((peaks & mask).sum() / peaks.sum())


# The page


def describe(name: str, scenes: Sequence[Sequence[FoundObject]]) -> str:
    """How many objects are measured, in one sentence."""
    objects = [found for group in scenes for found in group]
    classes = len({found.truth.label for found in objects})
    return f"`{name}` finds {len(objects)} objects of {classes} classes in {len(scenes)} scenes.\n"


def scores_table(scores: Mapping[str, npt.NDArray[np.float64]]) -> str:
    rows = [[name, *map(cell, values.T)] for name, values in scores.items()]
    return table(["method", *SCORES], rows)


def cell(values: npt.NDArray[np.float64]) -> str:
    """The mean over the scenes, and its interval."""
    return interval_cell("", float(np.nanmean(values)), *mean_interval(values))


def insert(page: Path, tables: Mapping[str, str]) -> None:
    page.write_text(update(page.read_text("utf-8"), tables, maker=MAKER), "utf-8")


TABLES: dict[str, Callable[[Path, int | None], None]] = {
    "detector": partial(write_comparison, "detector"),
    "segmenter": partial(write_comparison, "segmenter"),
    "default": write_defaults,
}

if __name__ == "__main__":
    main()
