"""Every device gives what the processor gives."""

import numpy as np
import pytest
import torch
from torch import nn

from retroscope.methods.activations import activations
from retroscope.methods.deconv.deconv import Request, deconv_many
from retroscope.network import Network
from tests.conftest import built, numbers
from tests.reference.shapes import SHAPES

DEVICES = [
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    ),
    pytest.param(
        "mps",
        marks=pytest.mark.skipif(
            not torch.backends.mps.is_available(), reason="there is no Apple GPU"
        ),
    ),
]
SIZE = (45, 38)


def network() -> nn.Module:
    parts: list[nn.Module] = []
    for inputs, outputs in ((3, 8), (8, 8), (8, 12)):
        parts += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        parts += [nn.MaxPool2d(3, 2, ceil_mode=True)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5))


def requests() -> list[Request]:
    units = ["0:1@9,9", "5:2", "9:3@*", "9:3@0,0", "8:1@4,4", "8:1@5,4", "14:2", "6"]
    return [(unit, numbers(3, *SIZE, seed=seed).float()) for seed in (1, 2) for unit in units]


@pytest.mark.parametrize("rules", ["gradient", "deconvnet", "guided"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_device_gives_what_the_processor_gives(device: str, rules: str) -> None:
    here = Network(built(network), input_size=SIZE)
    there = Network(built(network).to(device), input_size=SIZE)
    assert there.device.type == device
    shown = list(deconv_many(there, requests(), rules=rules))
    for one, other in zip(shown, deconv_many(here, requests(), rules=rules), strict=True):
        assert (one.unit, one.box) == (other.unit, other.box)
        assert one.activation == pytest.approx(other.activation, rel=1e-4, abs=1e-5)
        limit = 1e-4 * abs(other.pixels).max()
        np.testing.assert_allclose(one.pixels, other.pixels, rtol=0, atol=limit)


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_computes_the_processors_maps(device: str) -> None:
    here = Network(built(network), input_size=SIZE)
    there = Network(built(network).to(device), input_size=SIZE)
    image = numbers(3, *SIZE).float()
    for layer in ("0", "8", "14"):
        expected = activations(here, layer, image).maps
        limit = 1e-4 * abs(expected).max()
        found = activations(there, layer, image).maps
        np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("name", ["vgg", "inception", "pre_activation_in_place", "dense_concat"])
@pytest.mark.parametrize("device", DEVICES)
def test_every_wiring_runs_on_a_device(device: str, name: str) -> None:
    size = SHAPES[name].input_size[1:]
    image = torch.from_numpy(SHAPES[name].image(0)).float()
    here = Network(SHAPES[name].build(0).float(), input_size=size)
    there = Network(SHAPES[name].build(0).float().to(device), input_size=size)
    asked: list[Request] = [(f"{here.layers[-1].name}:{k}", image) for k in range(4)]
    for one, other in zip(deconv_many(there, asked), deconv_many(here, asked), strict=True):
        limit = 1e-4 * abs(other.pixels).max()
        np.testing.assert_allclose(one.pixels, other.pixels, rtol=0, atol=limit)


@pytest.mark.parametrize("device", DEVICES)
def test_a_devices_random_state_stays_where_it_was(device: str) -> None:
    def drawing() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(), nn.Conv2d(4, 4, 3))

    there = Network(built(drawing).to(device).train(), input_size=SIZE)
    states = torch.cuda if device == "cuda" else torch.mps
    before = states.get_rng_state()
    list(deconv_many(there, [("2:1", numbers(3, *SIZE).float())]))
    assert torch.equal(before, states.get_rng_state())
