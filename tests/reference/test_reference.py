"""The judge is judged: known answers, torch's autograd for every shape, and captum where it can."""

import warnings
from functools import partial
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.reference import graph_shapes
from tests.reference.operations import Array, Rules
from tests.reference.programs import Tape, one_unit
from tests.reference.shapes import SHAPES

RULES: tuple[Rules, ...] = get_args(Rules)

SEQUENTIAL_WITH_RELU = [
    "vgg",
    "fully_connected",
    "grouped_conv",
    "depthwise_conv",
    "dilated_conv",
    "zero_pad_module",
    "even_kernel",
    "wide_stride",
    "overlapping_max_pool",
    "ceil_max_pool",
    "ceil_max_pool_padded",
    "max_pool_before_relu",
    "dilated_max_pool",
    "ceil_avg_pool_counting_padding",
    "ceil_avg_pool_without_padding",
    "batch_norm",
]


@pytest.fixture
def no_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run checkpointed blocks as they stand, so that autograd can start inside of them."""
    monkeypatch.setattr(graph_shapes, "checkpoint", lambda block, x, **_: block(x))


def called(net: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """What each module gave, before anything changed it in place, named as a script names it."""
    outputs: dict[str, list[Tensor]] = {}

    def keep(name: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        outputs.setdefault(name, []).append(output.clone())

    for name, module in net.named_modules():
        module.register_forward_hook(partial(keep, name))
    net(image)
    return {
        f"{name}#{k}" if len(calls) > 1 else name: output
        for name, calls in outputs.items()
        for k, output in enumerate(calls)
    }


def leaf(image: Array) -> Tensor:
    return torch.from_numpy(image)[None].requires_grad_()


def random_start(value: Array) -> Array:
    return np.random.default_rng(7).normal(size=value.shape)


# Known answers


def test_a_small_network_has_the_three_known_answers() -> None:
    answers = {
        "gradient": [[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]],
        "deconvnet": [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]],
        "guided": [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]],
    }
    tape = Tape()
    x = tape.input(np.arange(16.0).reshape(1, 4, 4))
    x = tape.relu(tape.conv(x, np.ones((2, 1, 3, 3)), np.array([-50.0, -75.0])))
    y = tape.relu(tape.linear(tape.flatten(x), np.array([[1.0] * 5 + [-1.0] * 3] * 4)))
    for rules in RULES:
        down = tape.project(y, np.array([1.0, 0.0, 0.0, 0.0]), rules)
        assert down[0].tolist() == answers[rules]


def test_a_rectifier_has_the_three_known_answers() -> None:
    tape = Tape()
    x = tape.input(np.array([5.0, 0.0, -5.0, 10.0]))
    y = tape.linear(tape.relu(x), 10 * np.eye(4))
    assert tape.project(y, np.ones(4), "gradient").tolist() == [10, 0, 0, 10]
    assert tape.project(y, np.ones(4), "deconvnet").tolist() == [10, 10, 10, 10]
    assert tape.project(y, np.ones(4), "guided").tolist() == [10, 0, 0, 10]


@pytest.mark.parametrize("rules", RULES)
def test_overlapping_pools_add_up_at_their_common_switch(rules: Rules) -> None:
    image = np.zeros((1, 5, 5))
    image[0, 2, 2], image[0, 0, 0] = 3.0, 1.0
    tape = Tape()
    pooled = tape.max_pool(tape.input(image), 3, stride=2)
    expected = np.zeros((1, 5, 5))
    expected[0, 2, 2] = 12.0
    np.testing.assert_array_equal(tape.project(pooled, pooled.value, rules), expected)


def test_a_skip_beside_a_rectifier_brings_its_own_signal() -> None:
    tape = Tape()
    x = tape.input(np.array([-1.0, 2.0, -1.0, 2.0]))
    y = tape.add(tape.relu(x), x)
    start = np.array([3.0, 3.0, -3.0, -3.0])
    assert tape.project(y, start, "gradient").tolist() == [3, 6, -3, -6]
    assert tape.project(y, start, "deconvnet").tolist() == [6, 6, -3, -3]
    assert tape.project(y, start, "guided").tolist() == [3, 6, -3, -3]


def test_a_rectifier_on_two_branches_rectifies_each_signal_before_the_sum() -> None:
    tape = Tape()
    x = tape.input(np.array([1.0]))
    left, right = tape.relu(x), tape.relu(x)
    y = tape.concat(left, right)
    assert tape.project(y, np.array([5.0, -3.0]), "gradient").tolist() == [2]
    assert tape.project(y, np.array([5.0, -3.0]), "deconvnet").tolist() == [5]


def test_a_rectifier_used_twice_rectifies_the_sum() -> None:
    tape = Tape()
    x = tape.relu(tape.input(np.array([1.0])))
    y = tape.concat(x, x)
    assert tape.project(y, np.array([5.0, -3.0]), "deconvnet").tolist() == [2]
    assert tape.project(y, np.array([3.0, -5.0]), "deconvnet").tolist() == [0]


# Laws


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", SHAPES)
def test_twice_the_start_is_twice_the_projection(name: str, rules: Rules) -> None:
    tape = Tape()
    node = SHAPES[name].program(SHAPES[name].build(0), tape, SHAPES[name].image(0))[""]
    start = random_start(node.value)
    once, twice = (tape.project(node, k * start, rules) for k in (1, 2))
    np.testing.assert_allclose(twice, 2 * once, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "conv_only"])
def test_a_shape_with_a_rectifier_tells_the_three_rules_apart(name: str) -> None:
    tape = Tape()
    node = SHAPES[name].program(SHAPES[name].build(0), tape, SHAPES[name].image(0))[""]
    start = random_start(node.value)
    one, two, three = (tape.project(node, start, rules) for rules in RULES)
    assert min(abs(one - two).max(), abs(two - three).max(), abs(three - one).max()) > 1e-3


def test_without_a_rectifier_every_rule_is_the_gradient() -> None:
    tape, shape = Tape(), SHAPES["conv_only"]
    node = shape.program(shape.build(0), tape, shape.image(0))[""]
    one, two, three = (tape.project(node, random_start(node.value), rules) for rules in RULES)
    assert np.array_equal(one, two)
    assert np.array_equal(two, three)


def test_a_projection_stays_inside_the_receptive_field() -> None:
    tape, shape = Tape(), SHAPES["vgg"]
    node = shape.program(shape.build(0), tape, shape.image(0))["5"]  # conv, conv, pool, conv
    down = tape.project(node, one_unit(node.value, (1, 3, 2)), "deconvnet")
    outside = down.copy()
    outside[:, 2:12, 0:10] = 0.0  # 3 * 2 - 4 .. + 10 rows, 2 * 2 - 4 .. + 10 columns
    assert down.any()
    assert not outside.any()


# Torch


@pytest.mark.usefixtures("no_checkpoints")
@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_computes_what_its_module_computes(name: str) -> None:
    shape = SHAPES[name]
    net, image = shape.build(1), shape.image(1)
    nodes = shape.program(net, Tape(), image)
    outputs = called(net, leaf(image))
    assert nodes.keys() == outputs.keys()
    for target, node in nodes.items():
        expected = outputs[target][0].detach().numpy()
        np.testing.assert_allclose(node.value, expected, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("no_checkpoints")
@pytest.mark.parametrize("name", SHAPES)
def test_under_the_gradient_rule_every_target_gives_torchs_gradient(name: str) -> None:
    shape, tape = SHAPES[name], Tape()
    net, image = shape.build(2), shape.image(2)
    nodes, x = shape.program(net, tape, image), leaf(image)
    for target, output in called(net, x).items():
        start = random_start(nodes[target].value)
        (expected,) = torch.autograd.grad(
            output, x, torch.from_numpy(start)[None], retain_graph=True
        )
        down = tape.project(nodes[target], start, "gradient")
        np.testing.assert_allclose(down, expected[0].numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["checkpointed", "checkpointed_reentrant"])
def test_a_checkpointed_block_has_torchs_gradient(name: str) -> None:
    shape, tape = SHAPES[name], Tape()
    net, image = shape.build(3), shape.image(3)
    node, x = shape.program(net, tape, image)[""], leaf(image)
    start = random_start(node.value)
    net(x).backward(torch.from_numpy(start)[None])
    assert x.grad is not None
    down = tape.project(node, start, "gradient")
    np.testing.assert_allclose(down, x.grad[0].numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_built_from_its_seed_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    one, same, other = (SHAPES[name].build(seed).state_dict() for seed in (4, 4, 5))
    assert torch.equal(torch.random.get_rng_state(), before)
    for key, tensor in one.items():
        assert torch.equal(tensor, same[key])
        if tensor.is_floating_point():
            assert tensor.dtype == torch.float64
            assert not torch.equal(tensor, other[key])


# Captum, on plain sequential networks with one nn.ReLU per call, where it is right


@pytest.mark.parametrize("rules", ["deconvnet", "guided"])
@pytest.mark.parametrize("name", SEQUENTIAL_WITH_RELU)
def test_on_plain_networks_captum_gives_the_same_picture(name: str, rules: Rules) -> None:
    attr = pytest.importorskip("captum.attr")
    method = attr.NeuronDeconvolution if rules == "deconvnet" else attr.NeuronGuidedBackprop
    shape, tape = SHAPES[name], Tape()
    net, image = shape.build(6), shape.image(6)
    for target, node in shape.program(net, tape, image).items():
        if not target:
            continue
        place = np.unravel_index(node.value.argmax(), node.value.shape)
        unit = tuple(int(index) for index in place)
        start = np.zeros_like(node.value)
        start[unit] = 1.0
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Setting backward hooks on ReLU activations")
            expected = method(net, net.get_submodule(target)).attribute(leaf(image), unit)
        down = tape.project(node, start, rules)
        np.testing.assert_allclose(down, expected[0].detach().numpy(), rtol=0, atol=1e-10)
