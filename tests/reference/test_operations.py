"""Each operation alone: known values, the adjoint law, and torch in float64 as a second opinion."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tests.reference import activations, operations, pools
from tests.reference.operations import Array, Step

Setting = dict[str, Any]

CONVS: list[tuple[tuple[int, int], Setting]] = [
    ((1, 1), {}),
    ((3, 3), {"padding": 1}),
    ((3, 3), {"stride": 2, "padding": 1}),
    ((2, 4), {"stride": (2, 1), "padding": (1, 2)}),
    ((2, 2), {"stride": 3}),
    ((3, 2), {"dilation": (2, 3)}),
    ((3, 3), {"dilation": 2, "stride": 2, "padding": 2}),
    ((3, 3), {"groups": 2}),
    ((2, 3), {"groups": 4, "stride": 2, "padding": 1}),
    ((9, 11), {}),
]
MAX_POOLS: list[Setting] = [
    {"kernel": 2},
    {"kernel": 3, "stride": 2},
    {"kernel": 3, "stride": 2, "ceil_mode": True},
    {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel": 2, "stride": 3, "padding": 1, "ceil_mode": True},
    {"kernel": 3, "stride": 1, "padding": 1},
    {"kernel": (2, 3), "stride": (3, 1), "padding": (1, 0)},
    {"kernel": 3, "stride": 2, "padding": 1, "dilation": 2},
    {"kernel": 2, "stride": 2, "dilation": 3, "ceil_mode": True},
]
AVG_POOLS: list[Setting] = [
    {"kernel": 2},
    {"kernel": 3, "stride": 2, "padding": 1},
    {"kernel": 3, "stride": 2, "padding": 1, "count_include_pad": False},
    {"kernel": 3, "stride": 2, "ceil_mode": True},
    {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False},
    {"kernel": 2, "stride": 3, "padding": 1, "ceil_mode": True},
    {"kernel": (2, 3), "stride": (3, 2), "ceil_mode": True, "divisor": 5},
]
ACTIVATIONS: dict[str, tuple[Callable[[Array], Step], Callable[[Tensor], Tensor]]] = {
    "relu": (activations.relu, F.relu),
    "relu6": (activations.relu6, F.relu6),
    "leaky_relu": (lambda x: activations.leaky_relu(x, 0.2), lambda x: F.leaky_relu(x, 0.2)),
    "elu": (lambda x: activations.elu(x, 0.7), lambda x: F.elu(x, 0.7)),
    "silu": (activations.silu, F.silu),
    "gelu": (activations.gelu, F.gelu),
    "hardswish": (activations.hardswish, F.hardswish),
    "sigmoid": (activations.sigmoid, torch.sigmoid),
}


def random(*size: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=size)


def agrees_with_torch(step: Step, x: Array, function: Callable[[Tensor], Tensor]) -> None:
    """Value and gradient are torch's."""
    leaf = torch.from_numpy(x)[None].requires_grad_()
    value = function(leaf)
    np.testing.assert_allclose(step.value, value[0].detach().numpy(), rtol=0, atol=1e-12)
    signal = random(*step.value.shape, seed=1)
    (down,) = torch.autograd.grad(value, leaf, torch.from_numpy(signal)[None])
    np.testing.assert_allclose(
        step.back(signal, "gradient")[0], down[0].numpy(), rtol=0, atol=1e-12
    )


def obeys_the_adjoint_law(step: Step, x: Array) -> None:
    """<step(x), y> = <x, back(y)>, and every rule goes back alike."""
    signal = random(*step.value.shape, seed=2)
    (down,) = step.back(signal, "gradient")
    assert down.shape == x.shape
    assert np.vdot(step.value, signal) == pytest.approx(np.vdot(x, down), abs=1e-10)
    for rules in ("deconvnet", "guided"):
        np.testing.assert_array_equal(step.back(signal, rules)[0], down)


def function_of(setting: Setting, torch_function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A torch pool under the names of a setting."""
    names = {"kernel": "kernel_size", "divisor": "divisor_override"}
    keywords = {names.get(name, name): number for name, number in setting.items()}
    return lambda x: torch_function(x, **keywords)


@pytest.mark.parametrize(("kernel", "setting"), CONVS)
def test_a_convolution_and_its_transpose_are_adjoint(
    kernel: tuple[int, int], setting: Setting
) -> None:
    inputs = 4 // setting.get("groups", 1)
    x, weight, bias = random(4, 9, 11), random(8, inputs, *kernel), random(8, seed=3)
    obeys_the_adjoint_law(operations.conv2d(x, weight, **setting), x)
    agrees_with_torch(
        operations.conv2d(x, weight, bias, **setting),
        x,
        lambda leaf: F.conv2d(leaf, torch.from_numpy(weight), torch.from_numpy(bias), **setting),
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_any_convolution_and_its_transpose_are_adjoint(data: st.DataObject) -> None:
    def number(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    kernel, dilation = (number(1, 4), number(1, 4)), (number(1, 3), number(1, 3))
    padding = ((number(0, 3), number(0, 3)), (number(0, 3), number(0, 3)))
    groups = number(1, 2)
    least = [dilation[axis] * (kernel[axis] - 1) + 1 - sum(padding[axis]) for axis in (0, 1)]
    x = random(2 * groups, *(max(1, low) + number(0, 6) for low in least))
    step = operations.conv2d(
        x,
        random(3 * groups, 2, *kernel),
        stride=(number(1, 4), number(1, 4)),
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    obeys_the_adjoint_law(step, x)


def test_a_transposed_convolution_stamps_the_filter_as_it_is_stored() -> None:
    weight = np.arange(6.0).reshape(1, 1, 2, 3)
    signal = np.zeros((1, 2, 2))
    signal[0, 1, 0] = 1.0
    down = operations.transposed(signal, weight, stride=(2, 2), dilation=(1, 1), size=(5, 6))
    expected = np.zeros((1, 5, 6))
    expected[0, 2:4, 0:3] = weight[0, 0]
    np.testing.assert_array_equal(down, expected)


@pytest.mark.parametrize("setting", MAX_POOLS)
def test_max_pooling_and_unpooling_are_adjoint(setting: Setting) -> None:
    x = random(3, 17, 14)
    step = pools.max_pool(x, **setting)
    obeys_the_adjoint_law(step, x)
    agrees_with_torch(step, x, function_of(setting, F.max_pool2d))


@pytest.mark.parametrize("setting", MAX_POOLS)
def test_a_tie_goes_to_the_first_in_reading_order(setting: Setting) -> None:
    x = np.random.default_rng(0).integers(-1, 2, size=(3, 17, 14)).astype(np.float64)
    step = pools.max_pool(x, **setting)
    agrees_with_torch(step, x, function_of(setting, F.max_pool2d))


def test_a_switch_is_the_first_of_equals() -> None:
    step = pools.max_pool(np.ones((1, 2, 2)), 2)
    assert step.back(np.array([[[5.0]]]), "deconvnet")[0].tolist() == [[[5.0, 0.0], [0.0, 0.0]]]


def test_padding_never_wins_a_max_pool() -> None:
    x = np.full((1, 2, 2), -7.0)
    assert (pools.max_pool(x, 2, padding=1).value == -7.0).all()


@pytest.mark.parametrize("setting", AVG_POOLS)
def test_average_pooling_and_its_way_back_are_adjoint(setting: Setting) -> None:
    x = random(3, 17, 14)
    step = pools.avg_pool(x, **setting)
    obeys_the_adjoint_law(step, x)
    agrees_with_torch(step, x, function_of(setting, F.avg_pool2d))


@pytest.mark.parametrize("size", [1, (4, 3), (17, 14), (5, 14), (20, 3)])
def test_adaptive_pooling_and_its_way_back_are_adjoint(size: int | tuple[int, int]) -> None:
    x = random(3, 17, 14)
    step = pools.adaptive_avg_pool(x, size)
    obeys_the_adjoint_law(step, x)
    agrees_with_torch(step, x, lambda leaf: F.adaptive_avg_pool2d(leaf, size))


@pytest.mark.parametrize("keepdims", [True, False])
def test_a_global_mean_and_its_way_back_are_adjoint(*, keepdims: bool) -> None:
    x = random(3, 17, 14)
    step = pools.global_mean(x, keepdims=keepdims)
    obeys_the_adjoint_law(step, x)
    agrees_with_torch(step, x, lambda leaf: leaf.mean((2, 3), keepdim=keepdims))


def test_moving_channels_about_is_adjoint_to_moving_them_back() -> None:
    x = random(6, 5, 4)
    for step in (
        operations.channel_shuffle(x, 3),
        operations.channel_slice(x, 1, 4),
        operations.zero_pad(x, ((1, 2), (0, 3))),
        operations.flatten(x),
        operations.reshape(x, (3, 10, 4)),
        operations.identity(x),
    ):
        obeys_the_adjoint_law(step, x)


def test_a_linear_layer_and_its_transpose_are_adjoint() -> None:
    x, weight = random(7), random(5, 7, seed=1)
    obeys_the_adjoint_law(operations.linear(x, weight), x)
    biased = operations.linear(x, weight, random(5, seed=2))
    np.testing.assert_allclose(biased.back(np.ones(5), "guided")[0], weight.sum(axis=0))


def test_a_channel_shuffle_is_torchs() -> None:
    x = random(6, 5, 4)
    agrees_with_torch(operations.channel_shuffle(x, 3), x, lambda leaf: F.channel_shuffle(leaf, 3))


def test_a_batch_norm_is_torchs() -> None:
    x, mean, bias = random(6, 5, 4), random(6, seed=1), random(6, seed=2)
    variance, weight = random(6, seed=3) ** 2 + 0.1, random(6, seed=4)
    agrees_with_torch(
        operations.batch_norm(x, mean, variance, weight=weight, bias=bias, eps=1e-3),
        x,
        lambda leaf: F.batch_norm(
            leaf,
            torch.from_numpy(mean),
            torch.from_numpy(variance),
            torch.from_numpy(weight),
            torch.from_numpy(bias),
            eps=1e-3,
        ),
    )


@pytest.mark.parametrize("size", [1, 2, 4, 5, 9])
def test_a_local_response_norm_is_torchs_and_the_deconvnet_passes_it_through(size: int) -> None:
    x, signal = random(7, 5, 4), random(7, 5, 4, seed=1)
    step = operations.local_response_norm(x, size, alpha=0.5, beta=0.6, k=1.5)
    agrees_with_torch(
        step, x, lambda leaf: F.local_response_norm(leaf, size, alpha=0.5, beta=0.6, k=1.5)
    )
    assert step.back(signal, "deconvnet")[0] is signal
    np.testing.assert_array_equal(step.back(signal, "guided"), step.back(signal, "gradient"))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_and_its_derivative_are_torchs(name: str) -> None:
    activation, torch_function = ACTIVATIONS[name]
    x = random(3, 17, 14) * 5
    agrees_with_torch(activation(x), x, torch_function)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "sigmoid"])
def test_the_deconvnet_rectifies_the_signal_and_guided_also_looks_at_the_value(name: str) -> None:
    x, signal = np.meshgrid([-7.0, -1.0, 1.0, 7.0], [-2.0, 0.0, 2.0])
    step = ACTIVATIONS[name][0](x)
    (deconvnet,), (guided,) = step.back(signal, "deconvnet"), step.back(signal, "guided")
    assert deconvnet.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [2, 2, 2, 2]]
    assert guided.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 2, 2]]


def test_a_gate_is_no_rectifier() -> None:
    step = activations.sigmoid(np.array([0.0, math.log(3)]))
    for rules in ("gradient", "deconvnet", "guided"):
        np.testing.assert_allclose(step.back(np.array([-4.0, 16.0]), rules)[0], [-1.0, 3.0])


def test_a_gate_sends_to_each_operand_the_signal_times_the_other() -> None:
    values, gate = np.array([[[1.0, 2.0]], [[3.0, 4.0]]]), np.array([[[10.0]], [[100.0]]])
    step = operations.multiply(values, gate)
    to_values, to_gate = step.back(np.array([[[1.0, -1.0]], [[0.0, 1.0]]]), "deconvnet")
    assert to_values.tolist() == [[[10.0, -10.0]], [[0.0, 100.0]]]
    assert to_gate.tolist() == [[[-1.0]], [[4.0]]]


def test_a_sum_and_a_concatenation_hand_each_operand_its_signal() -> None:
    a, b, signal = random(2, 3, 3), random(2, 3, 3, seed=1), random(4, 3, 3, seed=2)
    for down in operations.add(a, b).back(signal[:2], "guided"):
        np.testing.assert_array_equal(down, signal[:2])
    joined = operations.concat(a, b)
    np.testing.assert_array_equal(joined.value[2:], b)
    np.testing.assert_array_equal(np.concatenate(joined.back(signal, "guided")), signal)
