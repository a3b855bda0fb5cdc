"""Whatever a call does, and however it ends, the network and its surroundings stay the same.

The fixture of tests/conftest.py checks every test of this folder; here are the hard cases.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retroscope.errors import ModelError, RetroscopeError
from retroscope.methods.activations import activations
from retroscope.methods.deconv.deconv import deconv, deconv_many
from retroscope.network import Network
from tests.conftest import built, check_unchanged, facts_of, no_trace, numbers, surroundings

SIZE = (12, 10)


def plain() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Dropout(0.5),
        nn.Conv2d(4, 5, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(150, 3),
    ).double()


class BrokenError(Exception):
    """What a module of the tests raises."""


class Breaks(nn.Module):
    """Passes its input on, and raises when it is called for the n-th time."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = [None] * after

    def forward(self, x: Tensor) -> Tensor:
        if not self.left:
            raise BrokenError
        self.left.pop()
        return F.relu(x)


class Counts(nn.Module):
    """Buffers that a forward pass changes in place, puts a new tensor in, and fills."""

    in_place: Tensor
    replaced: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("in_place", torch.zeros(3))
        self.register_buffer("replaced", torch.full((2,), torch.nan))

    def forward(self, x: Tensor) -> Tensor:
        self.in_place += 1
        self.replaced = torch.zeros(2)
        return x + self.in_place.sum()


class Registers(nn.Module):
    """Buffers that are made by the first forward pass: one that is new, one that was None."""

    kept: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", None)

    def forward(self, x: Tensor) -> Tensor:
        if "new" not in self._buffers:
            self.register_buffer("new", torch.zeros(2))
        self.kept = torch.zeros(2)
        return F.relu(x)


class OwnForward(nn.Module):
    """A convolution, and whatever is to be done with its maps."""

    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.then = then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.conv(x))


def opened(make: Callable[[], nn.Module] = plain) -> Network:
    return Network(built(make), input_size=SIZE)


def picture(height: int = SIZE[0], width: int = SIZE[1]) -> Tensor:
    return numbers(3, height, width)


@contextmanager
def randomness_put_back() -> Iterator[None]:
    """What a failing test draws inside, no later test feels."""
    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        random.setstate(kept[2])


# The check itself


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net[0].weight.data.mul_(1 + 1e-15),
        lambda net: net[0].weight.requires_grad_(False),
        lambda net: setattr(net[0].weight, "grad", torch.zeros_like(net[0].weight)),
        lambda net: net[0].weight.register_hook(print),
        lambda net: net[1].train(),
        lambda net: net[1].running_mean.add_(1),
        lambda net: setattr(net[1], "running_mean", net[1].running_mean.clone()),
        lambda net: net[1].register_buffer("more", torch.zeros(1)),
        lambda net: net[2].register_forward_hook(print),
        lambda net: net[2].register_forward_pre_hook(print),
        lambda net: net[2].register_full_backward_hook(print),
        lambda net: setattr(net, "2", nn.ReLU(inplace=True)),
        lambda net: setattr(net[2], "forward", print),
    ],
)
def test_the_check_sees_each_change_of_a_network(change: Callable[[nn.Module], object]) -> None:
    net = built(plain)
    before = facts_of(net)
    check_unchanged(before, facts_of(net))
    change(net)
    with pytest.raises(AssertionError, match="changed"):
        check_unchanged(before, facts_of(net))


@pytest.mark.parametrize(
    "change", [lambda: torch.rand(1), np.random.standard_normal, random.random]
)
def test_the_check_sees_each_number_drawn(change: Callable[[], object]) -> None:
    seen = pytest.raises(AssertionError, match="random state")
    with randomness_put_back(), seen, no_trace(built(plain)):
        change()


def test_the_check_looks_also_after_an_error() -> None:
    def train_and_raise(module: nn.Module) -> None:
        module.train()
        raise BrokenError

    net = built(plain)
    with pytest.raises(AssertionError, match="training"), no_trace(net):
        train_and_raise(net)


@pytest.mark.parametrize("rules", ["gradient", "deconvnet", "guided"])
@pytest.mark.parametrize("unit", ["0:1@3,4", "2:1", "5:2@*", "3", "8:1", "conv2:0@0,0"])
def test_a_projection_leaves_no_trace(unit: str, rules: str) -> None:
    net = opened()
    deconv(net, unit, picture(), rules=rules)


def test_a_survey_and_activations_leave_no_trace() -> None:
    net = opened()
    assert len(net.layers) > 5
    activations(net, "5", picture())


def test_a_network_in_training_runs_as_in_evaluation_and_stays_in_training() -> None:
    module = built(plain).train()
    module[0].eval()  # type: ignore[index]
    net = Network(module, input_size=SIZE)
    shown = deconv(net, "5:2@1,1", picture())
    assert module.training
    assert not module.get_submodule("0").training
    assert shown.activation == deconv(opened(), "5:2@1,1", picture()).activation


def test_gradients_kept_by_the_user_stay_as_they_are() -> None:
    module = built(plain)
    module(picture()[None]).sum().backward()
    for parameter in list(module.parameters())[:2]:
        parameter.requires_grad_(False)
    kept = [parameter.grad for parameter in module.parameters()]
    net = Network(module, input_size=SIZE)
    deconv(net, "5:2@1,1", picture())
    deconv(net, "8:1", picture())
    assert all(a is b.grad for a, b in zip(kept, module.parameters(), strict=True))


def test_a_network_without_gradients_is_looked_back_through_all_the_same() -> None:
    module = built(plain)
    frozen = built(plain).requires_grad_(False)
    one, other = (
        deconv(Network(each, input_size=SIZE), "5:2@1,1", picture()) for each in (module, frozen)
    )
    assert np.array_equal(one.pixels, other.pixels)
    assert one.pixels.any()


def test_the_users_hooks_are_called_and_stay() -> None:
    module = built(plain)
    called: list[str] = []
    part = module.get_submodule("5")
    part.register_forward_hook(lambda *_: called.append("after"))
    part.register_forward_pre_hook(lambda *_: called.append("before"))
    net = Network(module, input_size=SIZE)
    deconv(net, "6:2@1,1", picture())
    assert called[-2:] == ["before", "after"]


@pytest.mark.parametrize("unit", ["5:2@1,1", "8:1", "5:2@*"])
def test_the_users_backward_hooks_are_no_hindrance_and_stay(unit: str) -> None:
    module = built(plain)
    module.get_submodule("5").register_full_backward_hook(lambda *_: None)
    shown = deconv(Network(module, input_size=SIZE), unit, picture())
    expected = deconv(opened(), unit, picture())
    np.testing.assert_allclose(shown.pixels, expected.pixels, rtol=1e-9, atol=1e-15)


def test_buffers_that_a_forward_pass_changes_are_put_back() -> None:
    module = built(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Counts()).double())
    net = Network(module, input_size=SIZE)
    fired = [deconv(net, "1:2@1,1", picture()).activation for _ in range(3)]
    assert len(set(fired)) == 1
    assert not module.get_buffer("1.in_place").any()
    assert module.get_buffer("1.replaced").isnan().all()


def test_buffers_that_a_forward_pass_makes_are_taken_away() -> None:
    net = opened(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Registers()).double())
    deconv(net, "1:2@1,1", picture())


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.rand(1).item(),
        pytest.param(np.random.standard_normal),
        pytest.param(random.random),
    ],
    ids=["torch", "numpy", "python"],
)
def test_a_network_that_draws_random_numbers_leaves_the_generator_where_it_was(
    draw: Callable[[], float],
) -> None:
    module = built(lambda: OwnForward(lambda x: x + draw()).double())
    net = Network(module, input_size=SIZE)
    with randomness_put_back(), no_trace(module):
        deconv(net, "conv:2@1,1", picture())
        activations(net, net.layers[-1].name, picture())


def test_a_generator_that_nobody_exhausts_leaves_no_trace_meanwhile() -> None:
    module = built(plain).train()
    net = Network(module, input_size=SIZE)
    before = facts_of(module), surroundings()
    found = deconv_many(net, [("5:2@1,1", picture()), ("8:1", picture())])
    next(found)
    check_unchanged(before[0], facts_of(module))
    check_unchanged(before[1], surroundings())


def test_the_users_picture_stays_as_it_is() -> None:
    net = opened(lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3)).double())
    image = picture()
    kept = image.clone()
    deconv(net, "1:2@1,1", image)
    deconv(net, "1:2@*", image)
    deconv(net, "1:2", image)
    assert torch.equal(image, kept)


def test_activations_leave_the_users_picture_as_it_is() -> None:
    net = opened(lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3)).double())
    image = picture()
    kept = image.clone()
    activations(net, "1", image)
    assert torch.equal(image, kept)


def test_a_prepared_picture_stays_as_it_is() -> None:
    net = opened(lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3)).double())
    prepared = net.prepare(picture())
    kept = prepared.tensor.clone()
    deconv(net, "1:2@*", prepared)
    assert torch.equal(prepared.tensor, kept)
    activations(net, "1", prepared)
    assert torch.equal(prepared.tensor, kept)


@torch.no_grad()
def without_gradients(x: Tensor) -> Tensor:
    return F.relu(x + 1) * 2


def test_a_layer_inside_a_block_without_gradients_has_activations() -> None:
    net = opened(lambda: OwnForward(without_gradients).double())
    maps = activations(net, "relu1", picture()).maps
    conv = net.module.get_submodule("conv")
    np.testing.assert_allclose(maps, F.relu(conv(picture()[None]) + 1)[0].detach(), rtol=1e-6)


@pytest.mark.parametrize("unit", ["mul1:1@3,3", "mul1:1", "mul1:1@*", "relu1:1@3,3", "relu1"])
def test_a_block_without_gradients_is_refused_with_its_reason(unit: str) -> None:
    net = opened(lambda: OwnForward(without_gradients).double())
    with pytest.raises(ModelError, match="gradients switched off"):
        deconv(net, unit, picture())


@pytest.mark.parametrize("around", [torch.no_grad, torch.enable_grad])
def test_the_users_gradient_mode_stays_and_does_not_matter(
    around: Callable[[], torch.no_grad],
) -> None:
    net = opened()
    with around():
        before = torch.is_grad_enabled()
        shown = deconv(net, "5:2@1,1", picture())
        assert torch.is_grad_enabled() == before
    assert shown.pixels.any()


# Calls that raise


def breaking(after: int) -> nn.Module:
    first, last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(4), Breaks(after), last).double()


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("unit", ["3:1@3,4", "3:1", "3:1@*"])
def test_a_failing_forward_leaves_nothing_behind(unit: str, after: int) -> None:
    module = built(lambda: breaking(after)).train()
    asked = [(unit, picture(height, SIZE[1])) for height in (11, 12, 13)]
    with no_trace(module), pytest.raises((BrokenError, ModelError)):
        list(deconv_many(Network(module, input_size=SIZE), asked))


@pytest.mark.parametrize("after", [0, 1])
def test_failing_activations_leave_nothing_behind(after: int) -> None:
    module = built(lambda: breaking(after)).train()
    with no_trace(module), pytest.raises((BrokenError, ModelError)):
        activations(Network(module, input_size=SIZE), "3", picture())


def test_an_interrupted_run_leaves_nothing_behind() -> None:
    def interrupted(x: Tensor) -> Tensor:
        if x.requires_grad:
            raise KeyboardInterrupt
        return F.relu(x)

    module = built(lambda: OwnForward(interrupted).double()).train()
    with no_trace(module), pytest.raises(KeyboardInterrupt):
        deconv(Network(module, input_size=SIZE), "relu1:1", picture())


def test_a_picture_that_is_too_small_leaves_nothing_behind() -> None:
    module = built(plain).train()
    with no_trace(module), pytest.raises(ModelError, match="3x3 pixels"):
        deconv(Network(module, input_size=SIZE), "0:1", picture(3, 3))


@pytest.mark.parametrize(
    ("unit", "rules"),
    [("nothing:1", "guided"), ("5:99", "guided"), ("5:1@99,0", "guided"), ("5:1", "no such rules")],
)
def test_a_mistake_of_the_user_leaves_nothing_behind(unit: str, rules: str) -> None:
    module = built(plain).train()
    with no_trace(module), pytest.raises(RetroscopeError):
        deconv(Network(module, input_size=SIZE), unit, picture(), rules=rules)


def test_a_network_without_a_way_back_leaves_nothing_behind() -> None:
    module = built(lambda: OwnForward(lambda x: F.relu(x.detach())).double()).train()
    with no_trace(module), pytest.raises(ModelError, match="no gradient leads back"):
        deconv(Network(module, input_size=SIZE), "relu1:1@3,3", picture())
