"""The explanation of a volume or a clip as that of an image: its slices in a row."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from retroscope.geometry import IMAGE_RANK, Box
from retroscope.imaging.image import Scalar
from retroscope.render.slices import (
    MOST_SLICES,
    Array,
    choose_slices,
    lay_out,
    strength_of_slices,
)
from retroscope.results.explanations import Explanation, LayerFinding, OtherImage, UnusualUnit
from retroscope.results.heat_maps import HeatMap, Mask
from retroscope.results.projections import Projection

_GAP, _WHITE = 1, 255


def flatten_explanation(explanation: Explanation) -> tuple[Explanation, tuple[int, ...]]:
    """An explanation as that of an image, and the slices of the volume that stand side by side.

    Each unit is shown in the slice in which its projection is strongest, the outline of a segment
    in that which has most of it. These slices and that of the strongest heat are among those shown.

      slice 0   slice 4   slice 9
     +--------+ +--------+ +--------+    A box in slice 4 is moved to the right by the slices
     |        | | [box]  | |        |    before it and the gaps between them.
     +--------+ +--------+ +--------+
    """
    if explanation.image.ndim - 1 == IMAGE_RANK:
        others = tuple(_flatten_other(other, ()) for other in explanation.others)
        return replace(explanation, others=others), ()
    units = [unit for finding in explanation.findings for unit in finding.units]
    masks = [heat.mask for heat in (explanation.heat, *explanation.heats) if heat.mask is not None]
    wanted = tuple(
        dict.fromkeys(
            (*(strongest_slice(unit.projection) for unit in units), *map(_fullest_slice, masks))
        )
    )
    strengths = strength_of_slices(explanation.heat.full())
    most = max(MOST_SLICES, len(wanted) + 1)
    slices = choose_slices(strengths, most, including=wanted)
    flattened = replace(
        explanation,
        image=_side_by_side(explanation.image, slices, _WHITE),
        heat=_flatten_heat(explanation.heat, slices),
        heats=tuple(_flatten_heat(heat, slices) for heat in explanation.heats),
        others=tuple(_flatten_other(other, slices) for other in explanation.others),
        findings=tuple(
            LayerFinding(
                finding.layer, tuple(_flatten_unit(unit, slices) for unit in finding.units)
            )
            for finding in explanation.findings
        ),
    )
    return flattened, slices


def strongest_slice(projection: Projection) -> int:
    """The slice of a volume in which a projection is strongest, by the sum of magnitudes."""
    magnitudes = np.abs(np.nan_to_num(projection.pixels, posinf=0, neginf=0))
    sums = magnitudes.reshape(len(magnitudes), -1).sum(axis=1, dtype=np.float64)
    return projection.box.front + int(sums.argmax())


def _side_by_side(values: Array[Scalar], slices: Sequence[int], gap: int | bool) -> Array[Scalar]:
    """Slices in a row, with a gap of one pixel after each but the last."""
    padding = ((0, 0), (0, 0), (0, _GAP), *((0, 0),) * (values.ndim - 3))
    padded = np.pad(values, padding, constant_values=gap)
    return lay_out(padded, values.ndim, slices)[:, :-_GAP]


def _flatten_other(other: OtherImage, slices: Sequence[int]) -> OtherImage:
    """An image as it is; of a volume the same slices, or as many others if it lacks these."""
    pixels = other.pixels
    if pixels.ndim - 1 == IMAGE_RANK:
        return other
    if not slices or len(pixels) <= max(slices):
        slices = choose_slices(np.zeros(len(pixels)), len(slices) or MOST_SLICES)
    return replace(other, pixels=_side_by_side(pixels, slices, _WHITE))


def _flatten_heat(heat: HeatMap, slices: Sequence[int]) -> HeatMap:
    values = _side_by_side(heat.full(), slices, 0)
    mask = None if heat.mask is None else _mask_of_one_slice(heat.mask, slices)
    image = None if heat.image is None else _side_by_side(heat.image, slices, _WHITE)
    height, width = values.shape
    return replace(
        heat, values=values, mask=mask, image=image, pixels=None, size=(height, width), fit=None
    )


def _fullest_slice(mask: Mask) -> int:
    return int(mask.sum(axis=(1, 2)).argmax())


def _mask_of_one_slice(mask: Mask, slices: Sequence[int]) -> Mask:
    """The mask in the slice that has most of it."""
    fullest = _fullest_slice(mask)
    alone = np.zeros_like(mask)
    alone[fullest] = mask[fullest]
    return _side_by_side(alone, slices, False)


def _flatten_unit(unit: UnusualUnit, slices: Sequence[int]) -> UnusualUnit:
    z = strongest_slice(unit.projection)
    contrast = unit.contrast
    return replace(
        unit,
        projection=_move(unit.projection, z, slices),
        contrast=None if contrast is None else _move(contrast, z, slices),
    )


def _move(projection: Projection, z: int, slices: Sequence[int]) -> Projection:
    """One slice of a projection, at its place in the row."""
    flat = projection.slice(z)
    height, width = flat.size
    offset = slices.index(z) * (width + _GAP)
    box = flat.box
    return replace(
        flat,
        box=Box(box.top, box.left + offset, box.bottom, box.right + offset),
        size=(height, len(slices) * (width + _GAP) - _GAP),
    )


def slice_line(unit: UnusualUnit, slices: Sequence[int]) -> str:
    """Which slice of the volume a flattened unit is shown in; empty for an image."""
    if not slices:
        return ""
    place = unit.projection.box.left // ((unit.projection.size[1] + _GAP) // len(slices))
    return f"slice z {slices[place]}"
