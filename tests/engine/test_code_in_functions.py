"""Custom autograd functions, compiled code, branches on values, and what autograd refuses."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from retroscope.errors import DivergenceError, ModelError
from retroscope.methods.activations import activations
from retroscope.methods.deconv.deconv import deconv
from retroscope.network import Network
from tests.conftest import built, numbers

SIZE = (12, 11)


class Quantise(torch.autograd.Function):
    """Rounds, with the gradient of a rectifier: a backward that autograd cannot know."""

    @staticmethod
    def forward(ctx: Any, maps: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(maps)
        return F.relu(maps * 4).round() / 4

    @staticmethod
    def backward(ctx: Any, signal: torch.Tensor) -> torch.Tensor:
        passed: torch.Tensor = signal * (ctx.saved_tensors[0] > 0)
        return passed


class Triple(torch.autograd.Function):
    """Gives its input, and three times the gradient."""

    @staticmethod
    def forward(_ctx: Any, maps: torch.Tensor) -> torch.Tensor:
        return maps

    @staticmethod
    def backward(_ctx: Any, signal: torch.Tensor) -> torch.Tensor:
        return 3 * signal


def rectify(maps: torch.Tensor) -> torch.Tensor:
    return F.relu(maps) * 2


class Between(nn.Module):
    def __init__(self, code: Any) -> None:
        super().__init__()
        self.code = code
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.b(self.code(self.a(image)))
        return maps


def network(code: Any) -> Network:
    return Network(built(lambda: Between(code)).double(), input_size=SIZE)


@pytest.mark.parametrize("function", [Quantise, Triple])
def test_a_custom_function_is_one_operation_with_its_own_backward(function: Any) -> None:
    net, image = network(function.apply), numbers(3, *SIZE)
    assert [layer.name for layer in net.layers] == ["a", "b"]
    assert str(net.layer("b").field) == "5/1/0"
    assert not net.layer("b").note
    pixels = image[None].clone().requires_grad_()
    value = net.module(pixels)[0, 1, 3, 2]
    (expected,) = torch.autograd.grad(value, pixels, value.detach())
    for rules in ("gradient", "guided", "deconvnet"):  # no rectifier outside of the function
        projection = deconv(net, "b:1@3,2", image, rules=rules)
        np.testing.assert_allclose(
            projection.full(), expected[0].permute(1, 2, 0), rtol=0, atol=1e-12
        )


def test_a_compiled_function_runs_as_the_code_it_stands_for() -> None:
    plain, image = network(rectify), numbers(3, *SIZE)
    compiled = network(torch.compile(rectify, backend="eager"))
    assert [layer.name for layer in compiled.layers] == ["a", "relu", "mul", "b"]
    assert str(compiled.layer("b").field) == "5/1/0"
    expected = deconv(plain, "b:0@2,2", image)
    np.testing.assert_array_equal(deconv(compiled, "b:0@2,2", image).full(), expected.full())


def test_what_vmap_computes_is_named_and_sees_the_whole_image() -> None:
    def blur(maps: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(maps[None], 3, 1, 1)[0]

    layer = network(torch.func.vmap(blur)).layer("b")
    assert layer.field.whole
    assert "vmapped" in layer.note


class Branch(nn.Module):
    """Takes one of two convolutions, by the values of its maps."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.dark, self.light = (nn.Conv2d(3, 3, 3) for _ in range(3))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.a(image)
        chosen = self.light if maps.abs().mean() > 1 else self.dark
        result: torch.Tensor = chosen(maps)
        return result


def test_an_image_for_which_another_layer_runs_is_refused() -> None:
    net = Network(built(Branch).double(), input_size=SIZE)
    assert [layer.name for layer in net.layers] == ["a", "dark"]
    assert activations(net, "dark", torch.zeros(3, *SIZE)).maps.shape == (3, 8, 7)
    with pytest.raises(DivergenceError, match="with other weights than for a black image"):
        activations(net, "dark", 100 * numbers(3, *SIZE))


def test_a_call_that_autograd_refuses_is_refused_in_one_line() -> None:
    def changed_part(maps: torch.Tensor) -> torch.Tensor:
        first, _ = maps.chunk(2, 1)
        first.mul_(2)
        return maps

    net = network(changed_part)
    assert activations(net, "b", numbers(3, *SIZE)).maps.shape == (2, 8, 7)
    with pytest.raises(ModelError, match="torch cannot differentiate this network"):
        deconv(net, "b:0", numbers(3, *SIZE))


def test_a_result_written_to_out_is_followed() -> None:
    def added(maps: torch.Tensor) -> torch.Tensor:
        result = torch.empty_like(maps)
        torch.add(maps, F.relu(maps), out=result)
        return result

    image = numbers(3, *SIZE)
    expected = deconv(network(lambda maps: maps + F.relu(maps)), "b:0@2,3", image)
    projection = deconv(network(added), "b:0@2,3", image)
    np.testing.assert_allclose(projection.full(), expected.full(), rtol=0, atol=1e-12)


class Tokens(nn.Module):
    """A batch norm whose gradient arrives transposed, as tokens make it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8)
        self.norm, self.last = nn.LayerNorm(8), nn.Linear(8, 8)
        self.bn.running_var = torch.linspace(0.5, 2, 8)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.bn(self.conv(image).contiguous())
        result: torch.Tensor = self.last(self.norm(maps.flatten(2).transpose(1, 2)))
        return result


def test_the_gradient_of_a_batch_norm_is_right_in_every_layout() -> None:
    """Against finite differences: torch 2.15 computes another one for some layouts."""
    net = Network(built(Tokens).double(), input_size=(24, 20))
    image, step = numbers(3, 24, 20), 1e-6 * numbers(3, 24, 20)

    def value(pixels: torch.Tensor) -> float:
        with torch.no_grad():
            return float(net.module.eval()(pixels[None])[0, 0, 3])

    projection = deconv(net, "last:3@0,0", image, rules="gradient").full()
    slope = (value(image + step) - value(image - step)) / 2
    along = float((torch.from_numpy(projection).permute(2, 0, 1) * step).sum())
    assert along == pytest.approx(slope * value(image), rel=1e-4)
