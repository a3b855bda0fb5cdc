"""Heat maps of classes, boxes, pixels of segments and numbers, against their definitions."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tools.coverage.answer_checks import as_maps, relative_difference
from tools.coverage.report import Report
from tools.coverage.rules_by_patching import mended_batch_norm
from tools.coverage.subject import Subject, seed_randomness
from torch import Tensor

import retroscope as rs

Heat = Callable[[Tensor, Tensor], Tensor]
"""The heat (along the axes) of maps and their gradients (channels, and the axes)."""


def _gradcam(maps: Tensor, slopes: Tensor) -> Tensor:
    """Each map weighted by the mean of its gradient (Selvaraju 2017)."""
    axes = tuple(range(1, maps.dim()))
    return (slopes.mean(axes, keepdim=True) * maps).sum(0).clamp(min=0)


def _hirescam(maps: Tensor, slopes: Tensor) -> Tensor:
    """Gradient times map at each position (Draelos 2020)."""
    return (slopes * maps).sum(0).clamp(min=0)


def _layercam(maps: Tensor, slopes: Tensor) -> Tensor:
    """Positive gradient times map at each position (Jiang 2021)."""
    return (slopes.clamp(min=0) * maps).sum(0).clamp(min=0)


DEFINITIONS: dict[str, Heat] = {
    "gradcam": _gradcam,
    "hirescam": _hirescam,
    "layercam": _layercam,
}


def check_cam(subject: Subject, report: Report) -> None:
    """Grad-CAM without a target or a layer equals its definition."""
    seed_randomness()
    heat_map = rs.cam(subject.net, subject.image, method="gradcam")
    report.facts["cam"] = _compare(
        subject, report, heat_map, lambda result: _best(result, heat_map)
    )


def check_targets(subject: Subject, report: Report) -> None:
    """Heat maps of boxes by rank, classes at a pixel, classes by number and numbers of outputs."""
    for target, method in zip(_targets(subject), DEFINITIONS, strict=False):
        seed_randomness()
        heat_map = rs.cam(subject.net, subject.image, target=target, method=method)
        score_of = partial(plain_score, subject, target=target)
        outcome = _compare(subject, report, heat_map, score_of)
        report.add("targets_compared", int(outcome == "compared"))
        report.add(f"targets_{_kind(target)}", int(outcome == "compared"))
        if outcome != "compared":
            report.facts[f"target {target}"] = outcome


def _kind(target: str) -> str:
    """What a target is: a box, a pixel, a number of the outputs, or a class."""
    kinds = {"box:": "box", "output": "output"}
    named = next((kind for start, kind in kinds.items() if target.startswith(start)), "")
    return named or ("pixel" if "@" in target else "class")


def _compare(
    subject: Subject, report: Report, heat_map: rs.HeatMap, score_of: Callable[[Any], Tensor | None]
) -> str:
    """Whether a heat map could be compared with its definition, or why not."""
    layer = subject.net.layer(heat_map.layer)
    paths = [path for path, named in subject.layers_of_modules().items() if named == layer]
    if not paths:
        return "not comparable: the layer is no module's output"
    output, result = _run_and_keep(subject, paths[0])
    maps, score = as_maps(output, layer), score_of(result)
    if score is None or maps is None:
        return "not comparable: no scores of a known kind"
    if abs(float(score.detach()) - heat_map.score) > 1e-4 * max(abs(heat_map.score), 1e-3):
        return "not comparable: the score is not the output"
    if not score.requires_grad:
        return "not comparable: torch cannot differentiate it"
    (gradient,) = torch.autograd.grad(score, output, allow_unused=True, materialize_grads=True)
    slopes = as_maps(gradient, layer)
    assert slopes is not None
    expected = DEFINITIONS[heat_map.method](maps, slopes)
    difference = relative_difference(heat_map.values, np.asarray(expected.detach()))
    if not difference < (1e-4 if subject.precise else 1e-2):
        report.answer_is_wrong(
            f"{heat_map.method} of {heat_map.target} at {layer.name}: differs by {difference:.2g}"
        )
    return "compared"


def _run_and_keep(subject: Subject, path: str) -> tuple[Tensor, object]:
    """The output of a module as the rest of the network reads it, and what the network returns."""
    kept: list[Tensor] = []

    def keep(_module: object, _args: object, output: Tensor) -> Tensor:
        kept.append(output.clone())
        return kept[-1].clone()  # what follows may change its input in place

    seed_randomness()
    handle = subject.module.get_submodule(path).register_forward_hook(keep)
    try:
        with torch.enable_grad(), mended_batch_norm():
            pixels = subject.image.clone().requires_grad_()
            result = subject.module(subject.in_survey_layout(pixels))
    finally:
        handle.remove()
    return kept[0], result


def _best(result: Any, heat_map: rs.HeatMap) -> Tensor | None:
    """The score of the class, of the most confident box, or of the pixels of the segment."""
    target = heat_map.target
    if not isinstance(target, rs.Target):
        return None
    if isinstance(result, list | tuple) and result and target.box is None:
        return _best(result[0], heat_map)
    if target.box is not None:
        scores = _box_scores(result)
        return None if scores is None else scores.max()
    result = result.get("out") if isinstance(result, dict) else result
    if not isinstance(result, Tensor) or len(result) != 1:
        return None
    if heat_map.mask is not None:
        return result[0, target.index][torch.from_numpy(heat_map.mask)].sum()
    return result[0, target.index] if result.dim() == 2 else None


def _targets(subject: Subject) -> Iterator[str]:
    """Targets that the outputs have, one for each method that is compared."""
    result: Any = subject.plain.result
    height, width = subject.net.input_size[-2:]
    scores, logits = _box_scores(result), _logits(subject, result)
    if subject.case.family in {"detection", "ultralytics"} and scores is not None and len(scores):
        yield "box:1"
        yield "box:1" if _is_dense(result) or len(scores) == 1 else "box:2"
        yield "box:1"
    elif logits is not None:
        yield from (f"1@{height // 3},{width // 2}", f"0@{height - 1},0", f"2@{height // 2},3")
    elif isinstance(result, Tensor) and result.dim() == 2 and result.shape[1] > 1:
        yield from ("1", "output[0][0]", str(result.shape[1] - 1))


def plain_score(subject: Subject, result: Any, target: str) -> Tensor | None:
    """The score that a target asks for, in what the network returns for one image."""
    if target.startswith("box:"):
        scores = _box_scores(result)
        return None if scores is None else scores.sort(descending=True).values[int(target[4:]) - 1]
    if target.startswith("output"):
        return result[0][0]  # type: ignore[no-any-return]
    if "@" in target:
        logits = _logits(subject, result)
        index, y, x = map(int, re.split("[@,]", target))
        return None if logits is None else logits[0, index, y, x]
    return result[0, int(target)]  # type: ignore[no-any-return]


def _is_dense(result: Any) -> bool:
    """Whether boxes are those of all positions, of which some hide others."""
    return isinstance(result, tuple)


def _box_scores(result: Any) -> Tensor | None:
    """The scores of the boxes of one image; of YOLO's, the best class of each position."""
    if isinstance(result, list) and result and isinstance(result[0], dict):
        scores: Tensor | None = result[0].get("scores")
        return scores
    if _is_dense(result) and isinstance(result[0], Tensor) and result[0].dim() == 3:
        predictions: Tensor = result[0][0]
        if predictions.shape[1] < 40:  # boxes in rows: edges, score, class
            return predictions[:, 4]
        return predictions[4 : 4 + YOLO_CLASSES].amax(0)
    return None


YOLO_CLASSES = 80


def _logits(subject: Subject, result: Any) -> Tensor | None:
    """The logits of the classes at each pixel of the image (1, classes, height, width)."""
    result = result.get("out") if isinstance(result, dict) else result
    if subject.case.family not in {"segmentation", "smp"}:
        return None
    if not isinstance(result, Tensor) or result.dim() != 4:
        return None
    size, logits = subject.net.input_size, result
    if tuple(logits.shape[2:]) != size:
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    return logits
