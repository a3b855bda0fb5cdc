"""Which class is meant: by number, by name, or the most probable one."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retroscope.errors import RetroscopeError
from retroscope.heat import Target
from retroscope.methods.cam.cam import cam
from retroscope.network import Network
from tests.conftest import built, numbers

SIZE = (13, 11)


def small() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(body, nn.Flatten(), nn.Linear(5, 4))


def picture() -> Tensor:
    return numbers(3, *SIZE, seed=0).float()


def labelled(*labels: str) -> Network:
    return Network(built(small), input_size=SIZE, labels=labels, name="small")


def test_without_a_target_the_most_probable_class_is_shown() -> None:
    net = labelled("cat", "dog", "owl", "elk")
    heat = cam(net, picture())
    with torch.no_grad():
        shares = net.module(picture()[None]).softmax(dim=1)[0]
    best = int(shares.argmax())
    assert heat.target == Target(best, net.labels[best])
    assert heat.probability == pytest.approx(shares[best].item(), abs=1e-6)


def test_a_class_may_be_named_in_many_ways() -> None:
    net = labelled("tabby, tabby cat", "Great Dane", "owl", "7")
    asked = {"tabby, tabby cat": 0, "tabby cat": 0, "TABBY": 0, "great dane": 1, "2": 2, "7": 3}
    assert {name: cam(net, picture(), target=name).target.index for name in asked} == asked  # type: ignore[union-attr]


def test_a_number_may_come_from_numpy() -> None:
    net = labelled("tabby", "owl", "3", "1")
    numbers_of_one: tuple[Any, ...] = (1, np.int64(1), np.uint8(1))
    for number in numbers_of_one:
        assert cam(net, picture(), target=number).target == Target(1, "owl")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("tabbi", r"no class 'tabbi' in small; did you mean 'tabby'"),
        ("zzz", r"it has 4 classes, 'tabby' to 'owl'"),
        (4, "no class 4 in small; it has 4, 0 to 3"),
        (-1, "no class -1"),
        (["tabby", "owl"], "a class is a name or a number, not .*; name one at a time"),
        ("owl", "2 classes of small are called 'owl'; say which by its number, 2 or 3"),
    ],
)
def test_a_class_that_is_not_there_is_answered(target: Any, says: str) -> None:
    with pytest.raises(RetroscopeError, match=says):
        cam(labelled("tabby", "dog", "owl", "owl"), picture(), target=target)


def test_a_name_for_a_network_without_labels_is_answered() -> None:
    with pytest.raises(RetroscopeError, match="no labels; give a number from 0 to 3"):
        cam(labelled(), picture(), target="cat")
