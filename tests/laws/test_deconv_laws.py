"""What holds for the projections of any network: random chains, residuals and concatenations."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from retroscope.engine.forward import run_forward
from retroscope.engine.gradients import RuleHandler
from retroscope.engine.rules import RULE_BOOKS
from retroscope.methods.deconv.deconv import deconv, deconv_many
from retroscope.unit import Unit
from tests.conftest import always_crops, never_crops, no_trace, numbers
from tests.laws.networks import CHANNELS, RULES, Case, cases, linear_parts, max_pools, pairs

Array = npt.NDArray[Any]


def close(one: Array, other: Array) -> None:
    assert one.shape == other.shape
    atol = 1e-9 * abs(other).max(initial=0) + 1e-14
    np.testing.assert_allclose(one, other, rtol=0, atol=atol)


def on_whole_picture(case: Case) -> tuple[float, Array]:
    """The unit's activation and its signal at every pixel, computed from every pixel."""
    pixels, kept = case.picture[None].clone().requires_grad_(), list[Tensor]()
    net, book = case.net, RULE_BOOKS[case.rules]
    layer = net.layer(case.unit.layer)
    run_forward(
        case.module,
        net.survey(),
        pixels.clone(),
        {layer.index: kept.append},
        execute=RuleHandler(book, net.survey().steps[layer.index].depth),
    )
    assert case.unit.channel is not None
    assert case.unit.position is not None
    y, x = case.unit.position
    fired = kept[0][0, case.unit.channel, y, x]
    (signal,) = torch.autograd.grad(fired, pixels, fired.detach(), retain_graph=True)
    if book.contrast:
        everything = kept[0][0, :, y, x].sum()
        (shared,) = torch.autograd.grad(everything, pixels)
        size = float((shared * shared).sum())
        signal = signal - (float((signal * shared).sum()) / size if size else 0) * shared
    return fired.item(), signal[0].permute(1, 2, 0).numpy()


def last_convolution(case: Case) -> nn.Conv2d:
    found = case.module[-1]
    assert isinstance(found, nn.Conv2d)
    return found


@torch.no_grad()
def fire_at(case: Case, activation: float) -> None:
    """Moves the bias of the unit's own channel until the unit fires so much."""
    channel, position = case.unit.channel, case.unit.position
    assert channel is not None
    assert position is not None
    bias, fired = last_convolution(case).bias, case.module(case.picture[None])
    assert bias is not None
    bias[channel] += activation - fired[(0, channel, *position)]


@settings(max_examples=60, deadline=None)
@given(cases(rules=RULES))
def test_looking_at_what_a_unit_sees_is_looking_at_the_whole_picture(case: Case) -> None:
    with no_trace(case.module):
        shown = case.shown()
    activation, expected = on_whole_picture(case)
    np.testing.assert_allclose(shown.activation, activation, rtol=1e-9, atol=1e-12)
    close(shown.full(), expected)


@settings(max_examples=40, deadline=None)
@given(cases(rules=RULES))
def test_a_projection_stays_inside_what_the_unit_sees(case: Case) -> None:
    _, signal = on_whole_picture(case)
    field = case.net.layer(case.unit.layer).field
    assert case.unit.position is not None
    box = field.box(*case.unit.position).clip(*case.size)
    signal[box.top : box.bottom, box.left : box.right] = 0
    assert not signal.any()


@settings(max_examples=40, deadline=None)
@given(cases(), st.floats(0.01, 100), st.floats(0.01, 100))
def test_a_projection_grows_with_the_activation_that_it_starts_from(
    case: Case, once: float, more: float
) -> None:
    fire_at(case, once)
    first = case.shown()
    fire_at(case, more)
    second = case.shown()
    np.testing.assert_allclose([first.activation, second.activation], [once, more], rtol=1e-6)
    close(first.pixels * (second.activation / first.activation), second.pixels)


@settings(max_examples=40, deadline=None)
@given(cases(), st.floats(0.1, 10))
def test_scaling_a_units_filter_scales_its_start_and_the_way_back(case: Case, scale: float) -> None:
    before, last = case.shown(), last_convolution(case)
    with torch.no_grad():
        for tensor in last.parameters():
            tensor.mul_(scale)
    after = case.shown()
    np.testing.assert_allclose(after.activation, scale * before.activation, rtol=1e-9)
    close(after.pixels, scale**2 * before.pixels)


@settings(max_examples=40, deadline=None)
@given(cases(inner=linear_parts() | max_pools()))
def test_without_a_rectifier_a_projection_is_the_gradient(case: Case) -> None:
    pixels = case.picture[None].requires_grad_()
    assert case.unit.channel is not None
    assert case.unit.position is not None
    fired = case.module(pixels)[(0, case.unit.channel, *case.unit.position)]
    (gradient,) = torch.autograd.grad(fired, pixels, fired.detach())
    close(case.shown().full(), gradient[0].permute(1, 2, 0).numpy())


def pooled() -> list[nn.Module]:
    return [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]


@settings(max_examples=40, deadline=None)
@given(cases(tail=pooled), st.integers(0, CHANNELS - 1), st.floats(-5, 5))
def test_a_bias_that_moves_no_switch_moves_nothing_on_the_way_back(
    case: Case, channel: int, change: float
) -> None:
    case, before_pool = replace(case, rules="deconvnet"), case.module[-4:-3]
    assume(len(before_pool) == 1 and isinstance(case.module[-3], nn.MaxPool2d))
    fire_at(case, 1.0)
    before = case.shown()
    with torch.no_grad():
        bias = before_pool[0].bias
        assert isinstance(bias, Tensor)
        bias[channel] += change
    fire_at(case, 1.0)
    close(case.shown().pixels, before.pixels)


@settings(max_examples=25, deadline=None)
@given(cases())
def test_all_units_of_a_channel_at_once_are_each_its_own_gradient(case: Case) -> None:
    net, channel, pixels = case.net, case.unit.channel, case.picture[None].requires_grad_()
    height, width = net.layer(case.unit.layer).size
    places = [(y, x) for y in range(height) for x in range(width)][-60:]
    units = [replace(case.unit, position=place) for place in places]
    with always_crops():
        found = list(deconv_many(net, [(unit, case.picture) for unit in units], rules="gradient"))
    maps = case.module(pixels)[0, channel]
    for place, shown in zip(places, found, strict=True):
        fired = maps[place]
        (gradient,) = torch.autograd.grad(fired, pixels, fired.detach(), retain_graph=True)
        close(shown.full(), gradient[0].permute(1, 2, 0).numpy())


@st.composite
def requests(draw: st.DrawFn) -> tuple[Case, list[tuple[Unit, Tensor]]]:
    """Units of any layer, in pictures of several sizes, some of them asked for more than once."""
    case = draw(cases(rules=RULES))
    larger = draw(st.lists(pairs(0, 6), min_size=1, max_size=3))
    pictures = [
        numbers(3, case.size[0] + down, case.size[1] + right, seed=case.seed + k)
        for k, (down, right) in enumerate(larger)
    ]
    layers = [layer.name for layer in case.net.layers]
    asked = []
    for _ in range(draw(st.integers(1, 12))):
        picture = draw(st.sampled_from(pictures))
        layer = case.net.layer(draw(st.sampled_from(layers)), (picture.shape[1], picture.shape[2]))
        height, width = layer.size
        places = st.tuples(st.integers(0, height - 1), st.integers(0, width - 1))
        channel, position = draw(st.integers(0, layer.channels - 1)), draw(st.none() | places)
        whole = position is None and draw(st.booleans())
        unit = Unit(layer.name, channel, position, whole_map=whole)
        asked.append((unit, picture))
    return case, asked


@settings(max_examples=40, deadline=None)
@given(
    requests(),
    st.randoms(use_true_random=False),
    st.sampled_from([1, 10**5, None]),
    st.sampled_from([nullcontext, always_crops, never_crops]),
)
def test_many_at_once_are_each_by_itself_in_any_order_and_any_memory(
    wanted: tuple[Case, list[tuple[Unit, Tensor]]],
    shuffling: Random,
    memory: int | None,
    cropping: Callable[[], AbstractContextManager[None]],
) -> None:
    case, asked = wanted
    net = case.net
    alone = [deconv(net, unit, picture, rules=case.rules) for unit, picture in asked]
    order = list(range(len(asked)))
    shuffling.shuffle(order)
    with no_trace(case.module), cropping():
        found = list(
            deconv_many(net, [asked[n] for n in order], rules=case.rules, max_bytes=memory)
        )
    assert [shown.unit for shown in found] == [alone[n].unit for n in order]
    for n, shown in zip(order, found, strict=True):
        assert shown.box == alone[n].box
        np.testing.assert_allclose(shown.activation, alone[n].activation, rtol=1e-9, atol=1e-12)
        close(shown.pixels, alone[n].pixels)
