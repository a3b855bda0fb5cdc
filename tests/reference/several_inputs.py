"""Small networks of several inputs, and the definition of looking back to one of them."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 12


class Pair(nn.Module):
    """A siamese encoder, a stem for each side, and maps that are compared where they lie."""

    def __init__(self) -> None:
        super().__init__()
        self.left_stem, self.right_stem = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.encoder = nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.compare, self.head = nn.Conv2d(5, 6, 2), nn.Linear(6, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        left, right = self.encoder(self.left_stem(left)), self.encoder(self.right_stem(right))
        maps = F.relu(self.compare((left - right).abs()))
        scores: Tensor = self.head(maps.mean((2, 3)))
        return scores


class Conditioned(nn.Module):
    """An image, and numbers that scale its maps, as FiLM has it; the numbers by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.scale = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(2, 4)
        self.last, self.head = nn.Conv2d(4, 5, 3), nn.Linear(7, 3)

    def forward(self, image: Tensor, *, numbers: Tensor) -> Tensor:
        maps = F.relu(self.first(image) * self.scale(numbers)[..., None, None])
        pooled = F.relu(self.last(maps)).mean((2, 3))
        scores: Tensor = self.head(torch.cat([pooled, numbers], dim=1))
        return scores


class ByName(nn.Module):
    """RGB and depth in a dictionary, as one input of four channels, written to in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(4, 5, 3), nn.Linear(5, 3)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        depth = batch["depth"]
        depth -= 0.5
        maps = F.relu(self.first(torch.cat([batch["rgb"], depth], dim=1)))
        return {"logits": self.head(maps.mean((2, 3)))}


class Centred(nn.Module):
    """Mixes the images of a batch, but only through the other input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        maps = F.relu(self.first(left) + self.first(right - right.mean(dim=0)))
        scores: Tensor = self.head(maps.mean((2, 3)))
        return scores


class Held(nn.Module):
    """The definition: a module of one image that closes over the other inputs of another."""

    def __init__(self, module: nn.Module, image: str, **held: Tensor) -> None:
        super().__init__()
        self.module, self.image, self.held = module, image, held

    def forward(self, image: Tensor) -> Any:
        rows = {
            name: value.repeat(len(image), *[1] * value.dim()) for name, value in self.held.items()
        }
        values = {self.image: image, **rows}
        return self.module(values) if isinstance(self.module, ByName) else self.module(**values)


class Stacked(nn.Module):
    """A siamese encoder that takes both images as one batch, which is taken apart again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.of_left, self.of_right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.compare = nn.Conv2d(4, 3, 1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        maps = F.relu(self.encoder(torch.cat([left, right])))
        first, second = maps.chunk(2)
        first, second = self.of_left(first), self.norm(self.of_right(second))
        compared: Tensor = self.compare(first - second)
        return compared.mean((2, 3))
