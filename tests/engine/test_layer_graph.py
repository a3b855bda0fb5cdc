"""Which layers read which, against networks whose wiring is written down here."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from retroscope.engine.layer_graph import layer_graph
from retroscope.engine.survey import survey
from retroscope.results.layers import FROM_IMAGE
from tests.conftest import built


class Residual(nn.Module):
    """first → (second → third) + first → last, with rectifiers and a pool in between."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.third, self.last = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 5, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = torch.max_pool2d(torch.relu(self.first(image)), 2)
        inner = self.third(torch.relu(self.second(maps)))
        out: torch.Tensor = self.last(torch.relu(inner + maps))
        return out


class Branches(nn.Module):
    """Two branches of the image, and the image itself, joined; a gate on the result."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.gate, self.last = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = torch.cat([self.left(image), self.right(image)], 1)
        gate = torch.sigmoid(self.gate(maps.mean((2, 3), keepdim=True)))
        out: torch.Tensor = self.last(maps * gate)
        return out


def edges(module: nn.Module, *, kinds: str = "conv") -> dict[str, set[str]]:
    """What each node reads, by name; a node that is not a layer is called by its operation."""
    surveyed = survey(module, (3, 16, 16))
    layers = [layer for layer in surveyed.layers if layer.kind in kinds]
    names = {FROM_IMAGE: "image"} | {layer.index: layer.name for layer in layers}
    graph = layer_graph(surveyed, layers)
    for step in graph:
        names.setdefault(step.step, step.operation)
    return {names[step.step]: {names[source] for source in step.inputs} for step in graph}


def test_a_residual_block_meets_in_its_addition() -> None:
    assert edges(built(Residual)) == {
        "first": {"image"},
        "second": {"first"},
        "third": {"second"},
        "add": {"first", "third"},
        "last": {"add"},
    }


def test_branches_meet_where_they_are_joined_and_gated() -> None:
    assert edges(built(Branches)) == {
        "left": {"image"},
        "right": {"image"},
        "concat": {"left", "right"},
        "gate": {"concat"},
        "mul": {"concat", "gate"},
        "last": {"mul"},
    }


def test_layers_that_are_not_chosen_are_left_out_and_their_inputs_are_not() -> None:
    surveyed = survey(built(Residual), (3, 16, 16))
    last = [layer for layer in surveyed.layers if layer.name == "last"]
    (step,) = layer_graph(surveyed, last)
    assert step.inputs == (FROM_IMAGE,)


def _blur(maps: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(maps, 3, 1, 1)


class Scripted(nn.Module):
    """Two convolutions with a function between them that no handler sees."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.blur = torch.jit.script(_blur)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.blur(self.first(image)))
        return out


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_a_network_that_cannot_be_seen_has_no_graph() -> None:
    assert edges(built(Scripted)) == {}
