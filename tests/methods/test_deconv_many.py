"""Many projections at once: the order asked, and each as by itself."""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from retroscope.errors import ImageError, RetroscopeError, UnitError
from retroscope.imaging.image import Image
from retroscope.methods.deconv.deconv import Request, deconv, deconv_many
from retroscope.methods.saliency import saliency
from retroscope.network import AnyImage, Network
from retroscope.unit import Unit
from tests.conftest import built, never_crops, numbers
from tests.methods.conftest import SIZE, almost_same, picture


def mixed_requests(photo: Path) -> list[Request]:
    """Layers, pictures and sizes in no order, some of them more than once."""
    pictures: list[AnyImage] = [picture(1), photo, picture(2, (31, 17)), picture(3)]
    units: list[str | Unit] = [
        "3:1@2,2",
        "0:3",
        "7:1",
        "1:2@*",
        "3",
        "3:1@2,3",
        "0:3",
        Unit("4", 5),
    ]
    asked: list[Request] = [(unit, image) for unit in units for image in pictures]
    return [asked[(7 * n) % len(asked)] for n in range(len(asked))]


def test_many_come_in_the_order_asked_each_as_by_itself(net: Network, photo: Path) -> None:
    asked = mixed_requests(photo)
    for shown, (unit, image) in zip(deconv_many(net, asked), asked, strict=True):
        assert almost_same(shown, deconv(net, unit, image))
        assert shown.source == (str(photo) if image is photo else "")


def test_asking_twice_is_answered_twice(net: Network) -> None:
    image = picture()
    once, again, later = deconv_many(net, [("3:1", image), ("3:1", image), ("3:1", image.clone())])
    assert almost_same(once, again)
    assert almost_same(once, later)


def test_nothing_asked_is_nothing_answered(net: Network) -> None:
    assert list(deconv_many(net, [])) == []


def test_requests_are_read_as_they_are_needed(net: Network) -> None:
    read: list[int] = []

    def endless() -> Iterator[Request]:
        for n in count():
            read.append(n)
            yield f"0:{n % 4}@2,2", picture(n)

    found = deconv_many(net, endless())
    assert not read
    assert [shown.unit.channel for shown in islice(found, 6)] == [0, 1, 2, 3, 0, 1]
    assert len(read) < 1000


def test_more_than_are_done_at_once_keep_their_order(net: Network) -> None:
    images = [picture(n) for n in range(150)]
    found = list(deconv_many(net, (("0:1@2,2", image) for image in images)))
    for n in (0, 1, 127, 128, 149):
        assert almost_same(found[n], deconv(net, "0:1@2,2", images[n]))


def test_each_picture_is_prepared_once(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[AnyImage] = []
    prepare = Network.prepare

    def watched(self: Network, image: AnyImage) -> object:
        prepared.append(image)
        return prepare(self, image)

    monkeypatch.setattr(Network, "prepare", watched)
    images = [picture(1), picture(2)]
    asked = [(f"3:{channel}", image) for channel in range(6) for image in images]
    assert len(list(deconv_many(net, asked))) == 12
    assert len(prepared) == 2


def test_a_picture_that_changes_between_requests_is_read_anew(net: Network) -> None:
    buffer = torch.zeros(3, *SIZE)

    def frames() -> Iterator[Request]:
        for seed in (1, 2):
            buffer.copy_(picture(seed))
            yield "3:1@4,4", buffer

    first, second = deconv_many(net, frames())
    assert almost_same(first, deconv(net, "3:1@4,4", picture(1)))
    assert almost_same(second, deconv(net, "3:1@4,4", picture(2)))


def test_an_array_that_is_filled_anew_between_requests_is_read_anew(net: Network) -> None:
    buffer = np.zeros((*SIZE, 3), np.uint8)
    frames = [
        np.random.default_rng(seed).integers(0, 256, buffer.shape, np.uint8) for seed in (1, 2)
    ]

    def shown() -> Iterator[Request]:
        for frame in frames:
            buffer[:] = frame
            yield "3:1@4,4", buffer

    for found, frame in zip(deconv_many(net, shown()), frames, strict=True):
        assert almost_same(found, deconv(net, "3:1@4,4", Image(frame)))


@pytest.mark.parametrize("unit", [("3", 1), 3, ["3", 1]])
def test_what_is_no_unit_is_told_in_a_line(net: Network, unit: Any) -> None:
    with pytest.raises(UnitError, match="is not a unit; "):
        deconv(net, unit, picture())
    with pytest.raises(UnitError, match="is not a unit; "):
        saliency(net, picture(), unit=unit)


@pytest.mark.parametrize(
    ("asked", "error"),
    [(("3:99", picture()), UnitError), (("3:1", "no-such.jpg"), ImageError)],
    ids=["unit", "picture"],
)
def test_one_wrong_request_is_an_error_of_the_whole(
    net: Network, asked: Request, error: type[RetroscopeError]
) -> None:
    with pytest.raises(error):
        list(deconv_many(net, [("3:1", picture()), asked]))


class Branches(nn.Module):
    """Changes maps in place after they were computed, as ResNets do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.third = nn.Conv2d(6, 4, 3, padding=2, dilation=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.first(image).relu_()
        branch = self.second(maps)
        branch += maps
        last: torch.Tensor = self.third(branch.relu_())
        return last.mean((2, 3))


@pytest.mark.parametrize("rules", ["deconvnet", "relevance", "contrast", "guided", "gradient"])
def test_units_of_all_layers_share_one_forward_pass_of_an_image(rules: str) -> None:
    net = Network(built(Branches).double(), input_size=(20, 24))
    images = [numbers(3, 20, 24) + shift for shift in (0, 0.5)]
    units = ["first:2@4,5", "third:1", "second:0@2,2", "relu2:3@1,1", "third:2@7,9", "first:0@*"]
    requests = [(unit, image) for unit in units for image in images][:-1]
    passes = []
    with never_crops():
        net.survey(net.input_size).needs_single_images  # noqa: B018
        with net.module.register_forward_pre_hook(lambda _, args: passes.append(len(args[0]))):
            together = list(deconv_many(net, requests, rules=rules))
            assert sum(passes) <= len(images) + len(images)  # once for the strongest positions
        alone = [deconv(net, unit, image, rules=rules) for unit, image in requests]
    for shown, expected in zip(together, alone, strict=True):
        assert shown.unit == expected.unit
        assert shown.activation == pytest.approx(expected.activation)
        np.testing.assert_allclose(shown.pixels, expected.pixels, rtol=1e-8, atol=1e-12)


class Spoiler(nn.Module):
    """Overwrites a map that the way back from its second layer needs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.second = nn.Conv2d(6, 6, 3)
        self.third = nn.Conv2d(3, 4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.first(image).exp()
        branch = self.second(maps)
        maps.zero_()
        last: torch.Tensor = self.third(image)
        result: torch.Tensor = last.mean((2, 3)) + branch.mean()
        return result


def test_what_runs_after_a_layer_does_not_spoil_its_projections() -> None:
    net, image = Network(built(Spoiler).double(), input_size=(20, 24)), numbers(3, 20, 24)
    units = ["second:2@4,5", "third:1@2,2"]
    with never_crops():
        together = list(deconv_many(net, [(unit, image) for unit in units], rules="gradient"))
        alone = [deconv(net, unit, image, rules="gradient") for unit in units]
    for shown, expected in zip(together, alone, strict=True):
        assert shown.pixels.any()
        np.testing.assert_allclose(shown.pixels, expected.pixels)
