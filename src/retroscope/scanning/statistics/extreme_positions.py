"""Where the highest and the lowest values of maps are, for those that enter a ranking."""

import torch

from retroscope.methods.positions import peak_indices


def peak_positions(maps: torch.Tensor, mask: torch.Tensor, *, finite: bool) -> torch.Tensor:
    """The first flat position of each map's maximum (images, channels) where `mask` is set.

    `finite` says that all values of the maps (images, channels, height, width) are finite;
    otherwise values that are not are skipped. Outside `mask` the result may be anything.
    """
    return _extreme_positions(maps, mask, finite=finite, sign=1)


def trough_positions(maps: torch.Tensor, mask: torch.Tensor, *, finite: bool) -> torch.Tensor:
    """The same of each map's minimum."""
    return _extreme_positions(maps, mask, finite=finite, sign=-1)


def _extreme_positions(
    maps: torch.Tensor, mask: torch.Tensor, *, finite: bool, sign: int
) -> torch.Tensor:
    """Of the highest values times `sign`."""
    if maps.is_cuda:
        return peak_indices(sign * maps.flatten(2), finite=finite)
    positions = torch.full(mask.shape, -1, dtype=torch.int64, device="cpu")
    for image in mask.any(dim=1).nonzero()[:, 0].tolist():
        channels = mask[image].nonzero()[:, 0]
        columns = maps[image].permute(1, 2, 0).flatten(0, 1).index_select(1, channels)
        positions[image, channels] = peak_indices(sign * columns.T.contiguous(), finite=finite)
    return positions
