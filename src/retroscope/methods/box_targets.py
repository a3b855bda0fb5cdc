"""Boxes of a detector as targets: `box:1`, `box:12,30,80,99`, `box:12,30,80,99:cat`, or a class.

Of a detector that predicts masks also `mask:1`, the mask of the first box.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from retroscope.engine.batching import Size
from retroscope.errors import ModelError, RetroscopeError
from retroscope.methods.class_scores import NetworkOutput
from retroscope.methods.detections import Detections, overlaps
from retroscope.methods.target_scorer import TargetScorer
from retroscope.methods.targets import ClassSpec, resolve_target, target_at
from retroscope.network import Network
from retroscope.results.heat_maps import BoxEdges, Target

MIN_OVERLAP = 0.5
"""The intersection over union from which a detection counts as the box asked for."""

_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_RANK = re.compile(r"box:\s*(-?\d+)\s*")
_EDGES = re.compile(rf"box:{','.join([_NUMBER] * 4)}(?::(.+))?")
_MASK = re.compile(r"mask:\s*(-?\d+)\s*")
BOX_FORMS = (
    "box:N (1 is the most confident) or box:Y0,X0,Y1,X1, followed by :CLASS if the class matters"
)


def box_scorer(output: NetworkOutput, spec: ClassSpec, row: int = 0) -> TargetScorer:
    """The scorer of one detection of an image.

    Without a `spec` it is the most confident one, with a class the most confident of that class. In
    a changed image its score is that of the detection of the same class that overlaps its box most;
    0 if none overlaps it by half.
    """
    assert output.detections is not None
    detections = output.detections[row]
    if not len(detections):
        raise ModelError(
            f"{output.net.name} finds no box in this image; give an image with an object that it "
            "knows, a lower score threshold, or a unit instead of a box"
        )
    if isinstance(spec, str) and spec.startswith("mask:"):
        return _mask_scorer(output.net, spec, detections)
    number = _choose(output, spec, detections)
    target = target_of(output.net, detections, number)
    return TargetScorer(
        target,
        scores=partial(_scores, target),
        probabilities=partial(_probabilities, target),
        mask=detections.mask(number),
        is_local=True,
    )


def box_targets(net: Network, detections: Detections) -> list[Target]:
    """The detections of an image as targets, the most confident first."""
    return [target_of(net, detections, number) for number in detections.order]


def target_of(net: Network, detections: Detections, number: int) -> Target:
    """A detection as a target, called by its rank and its class."""
    class_index = int(detections.classes[number])
    label = net.labels[class_index] if class_index < len(net.labels) else ""
    top, left, bottom, right = (float(edge) for edge in detections.boxes[number])
    box, rank = (top, left, bottom, right), detections.order.index(number) + 1
    name = Target(class_index, label).class_name
    return Target(
        class_index,
        label,
        box,
        float(detections.scores[number].detach()),
        f"box {rank}: {name} at {_edges_text(box)}",
    )


def _edges_text(box: BoxEdges) -> str:
    return ",".join(f"{edge:.0f}" for edge in box)


def _scores(target: Target, output: NetworkOutput) -> torch.Tensor:
    """The score of the detection in each image that matches the target; 0 without one."""
    assert output.detections is not None
    return torch.stack([_score(target, detections) for detections in output.detections])


def _score(target: Target, detections: Detections) -> torch.Tensor:
    assert target.box is not None
    number = _match(detections, target.box, target.index)
    if number is None:
        return detections.scores.sum() * 0  # stays in the graph: its gradient is zero
    return detections.scores[number]


def _match(detections: Detections, box: BoxEdges, class_index: int | None = None) -> int | None:
    """The detection that overlaps a box most, of equal ones the most confident."""
    if not len(detections):
        return None
    shares = overlaps(detections.boxes, box)
    if class_index is not None:
        shares = shares * (detections.classes == class_index)
    values: list[float] = shares.tolist()
    best = max(detections.order, key=values.__getitem__)
    return best if values[best] >= MIN_OVERLAP else None


def _probabilities(target: Target, output: NetworkOutput) -> torch.Tensor:
    return _scores(target, output).detach().float()


def _mask_scorer(net: Network, spec: str, detections: Detections) -> TargetScorer:
    """The scorer of the mask of a detection: the sum of the logits inside it.

    In a changed image it is that of the detection that matches the box, at the same pixels.
    """
    rank = _MASK.fullmatch(spec)
    if rank is None:
        raise RetroscopeError(f"{spec!r} is not a mask; give mask:N, the mask of box:N")
    number = _at_rank(net, int(rank[1]), detections)
    mask = detections.mask(number)
    if mask is None:
        raise RetroscopeError(f"{net.name} finds boxes without masks; give box:{rank[1]}")
    if not mask.any():
        raise RetroscopeError(
            f"the mask of box {rank[1]} has no pixel in this image; give box:{rank[1]}"
        )
    target = target_of(net, detections, number)
    pixels = torch.from_numpy(mask).to(detections.scores.device)
    return TargetScorer(
        replace(target, description=target.description.replace("box", "mask", 1)),
        scores=partial(_mask_scores, target, pixels),
        probabilities=partial(_mask_probabilities, target, pixels),
        mask=mask,
        is_local=True,
    )


def _mask_scores(target: Target, pixels: torch.Tensor, output: NetworkOutput) -> torch.Tensor:
    return torch.stack([logits.sum() for logits in _logits_in_mask(target, pixels, output)])


def _mask_probabilities(
    target: Target, pixels: torch.Tensor, output: NetworkOutput
) -> torch.Tensor:
    """The mean probability of the pixels to be in the mask (images)."""
    return torch.stack(
        [
            logits.detach().float().sigmoid().mean()
            if len(logits)
            else torch.tensor(0.0, device="cpu")
            for logits in _logits_in_mask(target, pixels, output)
        ]
    )


def _logits_in_mask(
    target: Target, pixels: torch.Tensor, output: NetworkOutput
) -> Iterator[torch.Tensor]:
    """The logits of the matching detection at these pixels of each image; none without one."""
    assert output.detections is not None
    assert target.box is not None
    for detections in output.detections:
        number = _match(detections, target.box, target.index)
        if number is None or detections.mask_logits is None:
            yield detections.scores[:0]
        else:
            yield detections.mask_logits(number)[pixels]


def _choose(output: NetworkOutput, spec: ClassSpec, detections: Detections) -> int:
    """The number of the detection that a target asks for."""
    if spec is None:
        return detections.order[0]
    if not isinstance(spec, str) or not spec.startswith("box:"):
        return _most_confident_of_class(output.net, spec, detections)
    rank, edges = _RANK.fullmatch(spec), _EDGES.fullmatch(spec)
    if rank is not None:
        return _at_rank(output.net, int(rank[1]), detections)
    if edges is None:
        raise RetroscopeError(f"{spec!r} is not a box; give {BOX_FORMS}")
    top, left, bottom, right = map(float, edges.groups()[:4])
    box = top, left, bottom, right
    _check_box(spec, box, output.size)
    class_index = None if edges[5] is None else _class_index(output.net, edges[5], detections)
    number = _match(detections, box, class_index)
    if number is None:
        name = "" if class_index is None else _class_name(output.net, class_index)
        of_class = f" of {name}" if name else ""
        raise RetroscopeError(
            f"{output.net.name} finds no box{of_class} that overlaps {spec!r} by half "
            f"(intersection over union {MIN_OVERLAP}); {_nearest_text(output.net, detections, box)}"
        )
    return number


def _at_rank(net: Network, rank: int, detections: Detections) -> int:
    found = "1 box" if len(detections) == 1 else f"{len(detections)} boxes"
    if rank < 1:
        raise RetroscopeError(
            f"no box {rank}: boxes are numbered from 1, classes from 0; {net.name} finds {found} "
            "in this image, and box:1 is the most confident"
        )
    if rank > len(detections):
        raise RetroscopeError(
            f"no box {rank} in this image: {net.name} finds {found}; box:1 is the most confident"
        )
    return detections.order[rank - 1]


def _check_box(spec: str, box: BoxEdges, size: Size) -> None:
    top, left, bottom, right = box
    if bottom <= top or right <= left:
        raise RetroscopeError(f"{spec!r} has no area; give its top, left, bottom and right edge")
    if bottom <= 0 or right <= 0 or top >= size[0] or left >= size[1]:
        raise RetroscopeError(
            f"{spec!r} is outside the image, which has {size[0]}x{size[1]} pixels; give its top, "
            "left, bottom and right edge"
        )


def _class_index(net: Network, spec: ClassSpec, detections: Detections) -> int:
    """The class of a name or number. A detector without labels may have any number of classes."""
    count = len(net.labels) or max(int(detections.classes.max()) + 1, _number_of(spec) + 1)
    index = resolve_target(net, spec, torch.zeros(count, device="cpu")).index
    assert index is not None
    return index


def _number_of(spec: ClassSpec) -> int:
    text = str(spec).strip()
    return int(text) if text.isdecimal() else -1


def _most_confident_of_class(net: Network, spec: ClassSpec, detections: Detections) -> int:
    class_index = _class_index(net, spec, detections)
    numbers = (n for n in detections.order if int(detections.classes[n]) == class_index)
    number = next(numbers, None)
    if number is None:
        name = _class_name(net, class_index)
        raise RetroscopeError(
            f"{net.name} finds no {name} here; it finds {_summary(net, detections)}"
        )
    return number


def _class_name(net: Network, index: int) -> str:
    return str(target_at(net, index, max(len(net.labels), index + 1)))


def _summary(net: Network, detections: Detections) -> str:
    """The most confident detections in words."""
    targets = box_targets(net, detections)
    shown = "; ".join(map(str, targets[:3]))
    return shown + ("; ..." if len(targets) > 3 else "")


def _nearest_text(net: Network, detections: Detections, box: BoxEdges) -> str:
    """Which detection overlaps a box most."""
    shares = overlaps(detections.boxes, box).tolist()
    nearest = max(detections.order, key=shares.__getitem__)
    return f"the nearest is {target_of(net, detections, nearest)} ({shares[nearest]:.2f})"
