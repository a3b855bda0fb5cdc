"""A network whose units are known: an edge, a colour, a corner, a dead one, a shut one."""

import torch
from torch import nn

from retroscope.network import Network
from tests.conftest import built

SIDE = 8
EDGE, COLOUR, CORNER, DEAD, SHUT = range(5)


def filters() -> torch.Tensor:
    """Five filters of 3 channels and 8x8 pixels; the colour is red beside cyan."""
    planted = torch.zeros(5, 3, SIDE, SIDE)
    planted[EDGE, :, :, :4], planted[EDGE, :, :, 4:] = -1, 1
    planted[COLOUR, 0], planted[COLOUR, 1:] = 1, -1
    planted[COLOUR, :, :, 4:] *= -1
    planted[CORNER], planted[CORNER, :, 4:, 4:] = -1, 1
    planted[SHUT, :, :4], planted[SHUT, :, 4:] = 1, -1
    return planted / 50


class Planted(nn.Module):
    """One layer of planted filters; the last is shut until its pattern is half there."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, SIDE, padding=3)
        self.act = nn.ReLU()
        self.later = nn.Conv2d(5, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)
        with torch.no_grad():
            self.first.weight.copy_(filters())
            self.first.bias.copy_(torch.tensor([0, 0, 0, -1.0, -0.5]))  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.later(self.act(self.first(x)))
        scores: torch.Tensor = self.head(maps.mean((2, 3)))
        return scores


def planted(side: int = 32) -> Network:
    mean, std = (0.5, 0.4, 0.45), (0.25, 0.22, 0.24)
    labels = ("cat", "dog", "pier")
    return Network(
        built(Planted), input_size=(side, side), mean=mean, std=std, labels=labels, name="planted"
    )
