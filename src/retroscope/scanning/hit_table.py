"""The hits of a layer in one ranking, as a writer of an atlas takes them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Place = tuple[int, int, int, int]
"""Channel, image, y and x of a hit."""


@dataclass(frozen=True, eq=False)
class HitTable:
    """Arrays of (channels, ranks), the best hit first. An empty slot has image -1."""

    scores: Array
    images: Array
    ys: Array
    xs: Array

    def places(self) -> set[Place]:
        """Where the hits are."""
        channels = np.broadcast_to(np.arange(len(self.images))[:, None], self.images.shape)
        is_hit = self.images >= 0
        columns = (a[is_hit].tolist() for a in (channels, self.images, self.ys, self.xs))
        return set(zip(*columns, strict=True))

    @property
    def columns(self) -> dict[str, Array]:
        """All but the scores, by name."""
        return {"images": self.images, "ys": self.ys, "xs": self.xs}
