"""From a name to a network: by a seed, on a device, with pictures fitted in some way."""

import random
import socket

import numpy as np
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.errors import ImageError, ModelError
from retroscope.zoo import opening

SMALL = "squeezenet1_1"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reaches the network."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("somebody asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def weights(net: rs.Network) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in net.module.state_dict().values()])


def opened(module: nn.Module, monkeypatch: pytest.MonkeyPatch, **options: object) -> rs.Network:
    """What opening makes of a network that a factory returned."""
    made = rs.Network(module, fit=rs.Fit((8, 12), mode="stretch"), name="made")
    monkeypatch.setattr("retroscope.zoo.factory.open_named", lambda *_: made)
    return rs.open_model("nets.py:make", device="cpu", **options)  # type: ignore[arg-type]


# Random weights


@pytest.mark.usefixtures("offline")
def test_random_weights_are_the_same_for_a_seed_and_differ_between_seeds() -> None:
    first, again, other = (rs.open_model(SMALL, random_weights=seed) for seed in (3, 3, 4))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


@pytest.mark.usefixtures("offline")
def test_random_weights_move_nobodys_random_numbers() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    first = rs.open_model(SMALL, random_weights=0)
    after = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    torch.rand(7)
    assert torch.equal(weights(first), weights(rs.open_model(SMALL, random_weights=0)))


def test_a_factory_is_seeded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*_: object) -> rs.Network:
        return rs.Network(nn.Conv2d(3, 2, 3))

    monkeypatch.setattr("retroscope.zoo.factory.open_named", make)
    first, again, free = (rs.open_model("nets.py:make", random_weights=s) for s in (1, 1, None))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(free))


@pytest.mark.parametrize("seed", [-(2**63), -1, 2**64 - 1])
def test_a_seed_has_64_bits(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened(nn.Conv2d(3, 2, 3), monkeypatch, random_weights=seed).layers


@pytest.mark.parametrize("seed", [-(2**63) - 1, 2**64, 10**30])
def test_a_longer_seed_is_refused(seed: int) -> None:
    with pytest.raises(ModelError, match="64 bits"):
        rs.open_model(SMALL, random_weights=seed)


# Names


def test_torchvisions_names_need_no_source() -> None:
    short = rs.open_model(SMALL, random_weights=0)
    long = rs.open_model(f"torchvision/{SMALL}", random_weights=0)
    assert short.name == long.name == SMALL
    assert torch.equal(weights(short), weights(long))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tim/resnet10t", "did you mean 'timm'"),
        ("mine/resnet10t", "there are torchvision/NAME and timm/NAME"),
        ("vgg61", "did you mean 'vgg19' or 'vgg16'"),
        ("", "write torchvision/NAME, timm/NAME, package.module:factory or file.py:factory"),
        ("nets.py", "names no function; write package.module:factory or file.py:factory"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_or_the_forms(name: str, said: str) -> None:
    with pytest.raises(ModelError) as refused:
        rs.open_model(name)
    assert said in str(refused.value)
    assert repr(name) in str(refused.value)


# Devices


def has(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "first"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_is_the_fastest_device_there_is(
    cuda: bool, mps: bool, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, cuda=cuda, mps=mps)
    assert opening._device("auto").type == first


def test_a_device_that_is_not_there_is_told_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, cuda=False, mps=True)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(ModelError, match="no cuda device here; there is cpu, mps"):
            rs.open_model(SMALL, random_weights=0, device=name)


@pytest.mark.parametrize("name", ["gpu", "", "CPU"])
def test_an_unknown_device_is_told_the_devices(name: str) -> None:
    with pytest.raises(ModelError, match=f"no device '{name}'; there are auto, cpu, cuda, mps"):
        rs.open_model(SMALL, random_weights=0, device=name)


def test_a_device_that_torch_cannot_read_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(ModelError, match="'cpu:first'"):
        rs.open_model("nowhere.py:make", device="cpu:first")


def test_the_network_stands_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    net = opened(nn.Conv2d(3, 2, 3), monkeypatch)
    assert net.device == torch.device("cpu")
    assert net.prepare(torch.zeros(3, 8, 8)).numbers.device == net.device


# What a network brings along is kept


def test_pictures_are_fitted_in_the_networks_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    own = rs.Fit((8, 12), mode="stretch")
    assert opened(nn.Conv2d(3, 2, 3), monkeypatch).preprocessing.fit == own
    net = rs.open_model(SMALL, random_weights=0)
    assert net.preprocessing.fit == rs.Fit((224, 224), "network", 256, "bilinear")


def test_pictures_are_fitted_in_another_way_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = opened(nn.Conv2d(3, 2, 3), monkeypatch, resize="crop").preprocessing.fit
    assert fit == rs.Fit((8, 12), mode="crop")


def test_an_unknown_way_of_fitting_is_told_the_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="there are network, crop, stretch"):
        opened(nn.Conv2d(3, 2, 3), monkeypatch, resize="squash")


def test_numbers_stay_the_same_however_they_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithVolume(nn.Module):
        def __init__(self, rank: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)
            self.scale = nn.Parameter(torch.arange(2.0).view(1, 2, *[1] * (rank - 2)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scaled: torch.Tensor = self.conv(x) * self.scale.view(1, 2, 1, 1)
            return scaled

    for rank in (2, 4, 5):
        module = WithVolume(rank)
        before = {name: one.clone() for name, one in module.state_dict().items()}
        net = opened(module, monkeypatch)
        assert [layer.name for layer in net.layers] == ["conv", "mul"]
        assert all(torch.equal(before[name], one) for name, one in module.state_dict().items())
