"""Masks in files as the place of a target: which pixels or voxels count."""

from pathlib import Path

import numpy as np

from retroscope.engine.batching import Size
from retroscope.errors import RetroscopeError
from retroscope.geometry import IMAGE_RANK, INPUTS, format_size
from retroscope.imaging.image import fit_source, read_image
from retroscope.imaging.slice_files import open_slices, open_source
from retroscope.network import Network
from retroscope.results.heat_maps import Mask

_IN_MASK = 128
"""From this grey level on a pixel of a mask file is in the mask."""


def read_mask(net: Network, path: str, size: Size) -> Mask:
    """The mask in a file, which has the size of the network's input, or fits it as the image does.

    Only a fit that keeps all of an image is applied: after a crop, masks of any size would fit.
    """
    mask = _read_image_mask(net, path, size) if len(size) == IMAGE_RANK else _read_slices(path)
    if mask.shape != size:
        points = "pixels" if len(size) == IMAGE_RANK else "voxels"
        raise RetroscopeError(
            f"the mask {path!r} has {format_size(mask.shape)} {points}, and the "
            f"{INPUTS[len(size)]} {format_size(size)} as {net.name} takes it; give a mask of that "
            "size"
        )
    if not mask.any():
        empty = "no white pixel; white pixels are in the mask"
        if len(size) != IMAGE_RANK:
            empty = "no voxel above 0; those above half of the largest value are in the mask"
        raise RetroscopeError(f"the mask {path!r} has {empty}")
    return mask


def _read_image_mask(net: Network, path: str, size: Size) -> Mask:
    image, fit = read_image(path), net.preprocessing.fit
    if (image.height, image.width) != size and fit.mode == "whole":
        image = fit_source(image, fit)
    mask: Mask = image.pixels.mean(axis=2) >= _IN_MASK
    return mask


def _read_slices(path: str) -> Mask:
    """The voxels above half of the largest value, so that 1 marks them as well as 255."""
    with open_source(Path(path), takes_volumes=True) as file:
        slices = open_slices(file, repr(path), channels=1)
        planes = [np.asarray(piece, np.float32) for piece in slices.read(range(slices.count))]
    values = np.stack([plane.reshape(*plane.shape[:2], -1).mean(axis=2) for plane in planes])
    mask: Mask = values > max(float(np.nan_to_num(values).max()) / 2, 0.0)
    return mask
