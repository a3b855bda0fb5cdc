"""Segments of a segmenter as targets: `cat`, `cat@120,80`, `cat@mask.png`.

In a volume a place is a voxel: `tumour@7,120,80`.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np
import torch

from retroscope.engine.batching import Size
from retroscope.errors import ModelError, RetroscopeError
from retroscope.geometry import IMAGE_RANK, INPUTS, axis_names, format_size
from retroscope.methods.class_scores import NetworkOutput, check_label_count
from retroscope.methods.mask_files import read_mask
from retroscope.methods.segmentation import segmenter_of
from retroscope.methods.target_scorer import TargetScorer
from retroscope.methods.targets import ClassSpec, resolve_target, target_at
from retroscope.network import Network
from retroscope.results.heat_maps import Mask, Prediction, Target

_PLACE = re.compile(r"\s*\d+(\s*,\s*\d+)*\s*")
_BACKGROUND = ("background", "__background__")
_PLACE_FORMS = {
    1: "CLASS@X for a position",
    2: "CLASS@Y,X for a pixel, or CLASS@MASK.png for the pixels that are white in a file",
    3: "CLASS@Z,Y,X for a voxel, or CLASS@MASK.npy for the voxels that a volume marks",
}
"""How a target names a place, by the number of axes."""
_POINTS = {1: "position", 2: "pixel", 3: "voxel"}
_ALL_AXES = {1: "", 2: "both ", 3: "all "}
_ORIGINS = {"z": "from the front", "y": "from the top", "x": "from the left"}


def segment_scorer(output: NetworkOutput, spec: ClassSpec, row: int = 0) -> TargetScorer:
    """The scorer of a class at a pixel, or summed over a mask, in logits.

    Without a `spec` the mask is the largest segment, with a class alone the segment of that class:
    the pixels where it has the highest logit.
    """
    assert output.logits is not None
    winners = winning_classes(output.logits[row].detach())
    check_label_count(output.net, output.logits.shape[1])
    class_spec, place = split_place(output.net, spec)
    if class_spec is None:
        target, mask = _largest_segment(output, winners)
    else:
        index = resolve_target(output.net, class_spec, output.logits[row].flatten(1)[:, 0]).index
        assert index is not None
        target, mask = _class_at(output.net, index, place, winners)
    assert target.index is not None
    pixels = torch.from_numpy(mask).to(output.logits.device)
    return TargetScorer(
        target,
        scores=partial(_scores, target.index, pixels),
        probabilities=partial(_probabilities, target.index, pixels),
        mask=mask,
        is_local=True,
    )


def _scores(index: int, mask: torch.Tensor, output: NetworkOutput) -> torch.Tensor:
    """The logits of a class summed over the mask (images)."""
    assert output.logits is not None
    return output.logits[:, index][:, mask].sum(dim=1)


def _probabilities(index: int, mask: torch.Tensor, output: NetworkOutput) -> torch.Tensor:
    """The mean probability of a class over the mask (images)."""
    assert output.logits is not None
    logits = output.logits.detach()[:, :, mask].float()
    shares = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)
    return shares[:, index].mean(dim=1)


def winning_classes(logits: torch.Tensor) -> torch.Tensor:
    """The class with the highest logit at each pixel (height, width) or voxel.

    A single class wins where its logit is above 0; elsewhere no class does: -1.

    >>> winning_classes(torch.tensor([[[2.0, -3.0]]])).tolist()
    [[0, -1]]
    """
    if len(logits) == 1:
        return (logits[0] > 0).long() - 1
    return logits.argmax(dim=0)


def split_place(net: Network, spec: ClassSpec) -> tuple[ClassSpec, str]:
    """The class and the place of a target; the place is empty if there is none."""
    if not isinstance(spec, str) or "@" not in spec or spec in net.labels:
        return spec, ""
    class_name, _, place = spec.rpartition("@")
    if not place.strip():
        raise RetroscopeError(f"{spec!r} has no place after the @; give {_PLACE_FORMS[net.rank]}")
    return class_name, place


def class_and_pixel(
    net: Network, spec: ClassSpec, logits: torch.Tensor, size: Size
) -> tuple[int, tuple[int, ...] | None]:
    """The class of a target and its pixel; None if it stands for the whole image.

    `logits` are those of the classes at one pixel.
    """
    class_spec, place = split_place(net, spec)
    index = resolve_target(net, class_spec, logits).index
    assert index is not None
    if not place:
        return index, None
    pixel = _read_place(place, size)
    if pixel is None:
        axes = ",".join(axis_names(len(size))).upper()
        raise RetroscopeError(
            f"{place!r} is not a {_POINTS[len(size)]}; give CLASS@{axes}, or the class alone"
        )
    return index, pixel


def _largest_segment(output: NetworkOutput, winners: torch.Tensor) -> tuple[Target, Mask]:
    """The class with most pixels; the background only if it is alone."""
    net, classes = output.net, output.logits.shape[1] if output.logits is not None else 0
    if segmenter_of(net.module) is None and len(net.labels) != classes:
        raise ModelError(
            f"{net.name} returns {classes} maps of the size of the {INPUTS[net.rank]}, not one "
            "score per class; "
            f"give a target, {_PLACE_FORMS[net.rank]}, or a unit instead of a class"
        )
    segments = _segment_sizes(net, winners)
    if not segments:
        raise ModelError(
            f"{net.name} finds no segment in this {INPUTS[net.rank]}: no logit is above 0; give "
            f"{_PLACE_FORMS[net.rank]}"
        )
    index, pixels = segments[0]
    target = _segment(net, index, "largest segment: ", pixels / winners.numel())
    return target, _mask_of(winners, index)


def _segment(net: Network, index: int, prefix: str, share: float) -> Target:
    target = _class_target(net, index)
    description = f"{prefix}{target}, {_percent(share)} of the {INPUTS[net.rank]}"
    return Target(index, target.label, description=description)


def _percent(share: float) -> str:
    """
    >>> _percent(0.342), _percent(0.004)
    ('34 %', '0.4 %')
    """
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"


def segment_predictions(output: NetworkOutput, count: int) -> tuple[Prediction, ...]:
    """The largest segments of a single image, each with its mean probability."""
    assert output.logits is not None
    winners = winning_classes(output.logits[0].detach())
    predictions = []
    for index, pixels in _segment_sizes(output.net, winners)[:count]:
        target = _segment(output.net, index, "", pixels / winners.numel())
        mask = winners == index
        predictions.append(Prediction(target, float(_probabilities(index, mask, output)[0])))
    return tuple(predictions)


def _segment_sizes(net: Network, winners: torch.Tensor) -> list[tuple[int, int]]:
    """Each class that wins somewhere with its number of pixels, largest first, background last."""
    classes, counts = np.unique(winners.cpu().numpy(), return_counts=True)
    pairs = zip(classes.tolist(), counts.tolist(), strict=True)
    sizes = [(index, pixels) for index, pixels in pairs if index >= 0]
    return sorted(sizes, key=lambda size: (_is_background(net, size[0]), -size[1], size[0]))


def _is_background(net: Network, index: int) -> bool:
    return index < len(net.labels) and net.labels[index].lower() in _BACKGROUND


def _mask_of(winners: torch.Tensor, index: int) -> Mask:
    mask: Mask = (winners == index).cpu().numpy()
    return mask


def _class_at(net: Network, index: int, place: str, winners: torch.Tensor) -> tuple[Target, Mask]:
    """A class with the pixels that count: one, those of a file, or its segment."""
    size, target = tuple(winners.shape), _class_target(net, index)
    pixel = _read_place(place, size)
    if pixel is not None:
        mask = np.zeros(size, bool)
        mask[pixel] = True
        return _described(target, f"{target} at {','.join(map(str, pixel))}"), mask
    if place:
        mask = _read_mask(net, place, size)
        return _described(target, f"{target} in {Path(place).name}"), mask
    mask = _mask_of(winners, index)
    if not mask.any():
        segments = [str(_class_target(net, number)) for number, _ in _segment_sizes(net, winners)]
        raise RetroscopeError(
            f"{target} has no segment in this {INPUTS[net.rank]}, which {net.name} takes for "
            f"{', '.join(segments[:5]) or 'no class'}; give {_PLACE_FORMS[net.rank]}"
        )
    return _segment(net, index, "segment of ", float(mask.mean())), mask


def _class_target(net: Network, index: int) -> Target:
    return target_at(net, index, max(len(net.labels), index + 1))


def _described(target: Target, description: str) -> Target:
    return Target(target.index, target.label, description=description)


def _read_place(place: str, size: Size) -> tuple[int, ...] | None:
    """The pixel or the voxel that a place names; None if it names none, as a file does."""
    if _PLACE.fullmatch(place) is None:
        return None
    pixel, rank = tuple(map(int, place.split(","))), len(size)
    if len(pixel) == rank and all(map(int.__lt__, pixel, size)):
        return pixel
    first, *rest = (f"{axis.upper()} {_ORIGINS[axis]}" for axis in axis_names(rank))
    origins = ", ".join([first.replace(" ", " counts ", 1), *rest])
    raise RetroscopeError(
        f"no {_POINTS[rank]} {place.strip()} in this {INPUTS[rank]} of {format_size(size)}; "
        f"{origins}, {_ALL_AXES[rank]}from 0"
    )


def _read_mask(net: Network, path: str, size: Size) -> Mask:
    if len(size) < IMAGE_RANK:
        raise RetroscopeError(f"{path!r} is not a position; give {_PLACE_FORMS[net.rank]}")
    if not Path(path).exists():
        raise RetroscopeError(f"no file {path!r} for a mask; a target is {_PLACE_FORMS[net.rank]}")
    return read_mask(net, path, size)
