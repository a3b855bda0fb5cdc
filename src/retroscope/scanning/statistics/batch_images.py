"""What a sweep must know of the images of a batch, besides their maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch

from retroscope.scanning.statistics.batch_summary import device_tensor

NO_CLASS = -1


class SweptImage(NamedTuple):
    """An image: its number, the hash of its key, and its class, or `NO_CLASS`.

    `label` is the class whose sums it is added to, `ranked_label` the one in whose ranking it is.
    """

    number: int
    hash: int
    label: int = NO_CLASS
    ranked_label: int = NO_CLASS


@dataclass(frozen=True, eq=False)
class BatchImages:
    """The images of a batch; `numbers` are on the device of the maps."""

    images: Sequence[SweptImage]
    numbers: torch.Tensor

    @classmethod
    def of(cls, images: Sequence[SweptImage], device: torch.device | None = None) -> Self:
        """The images, with their numbers on a device."""
        numbers = torch.tensor([image.number for image in images], dtype=torch.int64, device="cpu")
        return cls(images, numbers if device is None else device_tensor(numbers, device))

    @property
    def labels(self) -> list[int]:
        """The classes whose sums the images are added to."""
        return [image.label for image in self.images]

    def places_by_class(self) -> dict[int, list[int]]:
        """Where in the batch the images of each class with a ranking are."""
        places: dict[int, list[int]] = {}
        for place, image in enumerate(self.images):
            if image.ranked_label != NO_CLASS:
                places.setdefault(image.ranked_label, []).append(place)
        return places
