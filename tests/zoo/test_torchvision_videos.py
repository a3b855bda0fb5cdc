"""torchvision's networks of videos: how they open, what they say of a clip, what they refuse."""

from math import prod
from typing import Any

import pytest
import torch
from tools.coverage.rules_by_patching import replaced_rectifiers

import retroscope as rs
from retroscope.errors import RetroscopeError
from tests.conftest import numbers

SIZE = (6, 32, 28)
NAMES = ("r3d_18", "mc3_18", "r2plus1d_18")


@pytest.fixture(scope="module", params=NAMES)
def net(request: pytest.FixtureRequest) -> rs.Network:
    net = rs.open_model(request.param, random_weights=0, input_size=SIZE, device="cpu")
    net.module.double()
    return net


def test_a_video_network_opens_with_the_clips_it_was_trained_on() -> None:
    net = rs.open_model("r3d_18", random_weights=0, device="cpu")
    assert net.input_size == (16, 112, 112)
    assert net.preprocessing.mean == (0.43216, 0.394666, 0.37645)
    assert net.preprocessing.fit.shorter == 128
    assert len(net.labels) == 400
    assert rs.open_model("r3d_18", random_weights=0, input_size=56).input_size == (16, 56, 56)


def test_every_layer_has_maps_and_nothing_is_left_out(net: rs.Network) -> None:
    assert not net.unlisted
    modules = dict(net.module.named_modules())
    convolutions = [name for name, part in modules.items() if isinstance(part, torch.nn.Conv3d)]
    named = {name for layer in net.layers for name in (layer.name, *layer.aliases)}
    assert set(convolutions) <= named
    assert all(len(layer.size) == 3 for layer in net.layers)
    assert net["fc"].size == (1, 1, 1)


def maps_of(net: rs.Network, layer: str, image: torch.Tensor) -> torch.Tensor:
    outputs: list[torch.Tensor] = []
    module = net.module.get_submodule(layer)
    hook = module.register_forward_hook(lambda _m, _i, output: outputs.append(output.clone()))
    try:
        net.module(image[None])
    finally:
        hook.remove()
    return outputs[0]


@pytest.mark.parametrize("rules", ["gradient", "guided", "deconvnet"])
def test_a_projection_is_that_of_autograd_with_other_rectifiers(
    net: rs.Network, rules: str
) -> None:
    image = numbers(3, *SIZE, seed=1)
    for layer in ("stem", "layer2.0.conv1", "layer3.0.conv2"):
        size = net[layer].size
        unit = rs.Unit(layer, 5, tuple(length // 2 for length in size))
        projection = rs.deconv(net, unit, image, rules=rules)
        pixels = image.clone().requires_grad_()
        with replaced_rectifiers(rules) if rules != "gradient" else torch.enable_grad():
            activation = maps_of(net, layer, pixels)[(0, 5, *(unit.position or ()))]
        (expected,) = torch.autograd.grad(activation, pixels, activation.detach())
        scale = float(expected.abs().max())
        torch.testing.assert_close(
            projection.to_tensor(), expected, rtol=1e-7, atol=1e-9 * scale + 1e-14
        )


def test_heat_of_a_clip_has_its_length(net: rs.Network) -> None:
    image = numbers(3, *SIZE, seed=2)
    heat = rs.cam(net, image, target=7)
    assert heat.full().shape == SIZE
    assert prod(heat.values.shape) > 1
    assert rs.saliency(net, image, target=7, method="guided").values.shape == SIZE


def test_an_image_for_a_video_network_is_refused_in_one_line(net: rs.Network) -> None:
    given: Any = torch.zeros(3, 32, 28)
    for method in (rs.cam, rs.occlusion, rs.explain):
        with pytest.raises(
            RetroscopeError, match=r"takes a float tensor of \(3, depth, height, width\)"
        ):
            method(net, given)
