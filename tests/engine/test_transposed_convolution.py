"""The way back through a convolution, cut to where the signal is not zero."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from retroscope.engine.linear_maps import linear_map
from retroscope.engine.transposed_convolution import SignalBox, TransposedConvolution
from tests.conftest import numbers

WINDOWS = st.fixed_dictionaries(
    {
        "stride": st.integers(1, 3) | st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "padding": st.integers(0, 2) | st.tuples(st.integers(0, 2), st.integers(0, 2)),
        "dilation": st.integers(1, 2) | st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "groups": st.sampled_from([1, 2]),
    }
)


@settings(max_examples=150, deadline=None)
@given(WINDOWS, st.tuples(st.integers(1, 3), st.integers(1, 3)), st.data())
def test_a_cut_signal_goes_back_like_the_whole(
    window: dict[str, Any], kernel: tuple[int, int], data: st.DataObject
) -> None:
    source = numbers(2, 4, 11, 12).double().requires_grad_()
    weight = numbers(6, 4 // window["groups"], *kernel).double()
    output = F.conv2d(source, weight, None, **window)
    height, width = output.shape[2:]
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom = data.draw(st.integers(top + 1, height))
    right = data.draw(st.integers(left + 1, width))
    signal, factor = torch.zeros_like(output), numbers(*output.shape).double()
    signal[..., top:bottom, left:right] = numbers(*output.shape).double()[
        ..., top:bottom, left:right
    ]
    (expected,) = torch.autograd.grad(output, source, signal * factor)
    linear = linear_map(F.conv2d, (source.detach(), weight), window)
    assert linear is not None
    transposed = linear.transpose(weight, source.detach())
    assert isinstance(transposed, TransposedConvolution)
    box = SignalBox.of(signal)
    assert box == SignalBox(top, bottom, left, right)
    for result in (transposed(factor, signal, box), transposed(factor, signal, None)):
        torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("box", [SignalBox(1, 3, 2, 4), None])
@pytest.mark.parametrize("stride", [1, 2, (3, 2)])
@pytest.mark.parametrize(("channels", "kernel"), [(16, 1), (3, 1), (3, 3), (9, 3)])
def test_pointwise_and_few_channels_go_back_like_any(
    channels: int, kernel: int, stride: int | tuple[int, int], box: SignalBox | None
) -> None:
    source = numbers(2, channels, 15, 14).double().requires_grad_()
    weight = numbers(6, channels, kernel, kernel).double()
    output = F.conv2d(source, weight, None, stride)
    signal = numbers(*output.shape).double()
    if box is not None:
        lit = torch.zeros_like(signal)
        box.cut(lit).copy_(box.cut(signal))
        signal = lit
    (expected,) = torch.autograd.grad(output, source, signal)
    linear = linear_map(F.conv2d, (source.detach(), weight), {"stride": stride})
    assert linear is not None
    result = linear.transpose(weight, source.detach())(None, signal, box)
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("function", "shapes", "options"),
    [
        (F.conv2d, ((2, 4, 7, 8), (6, 4, 3, 3)), {"padding": 1}),
        (F.conv2d, ((2, 4, 7, 8), (6, 2, 3, 3)), {"groups": 2, "stride": 2}),
        (F.conv2d, ((2, 4, 7, 8), (4, 1, 3, 3)), {"groups": 4}),
        (F.conv2d, ((2, 4, 7, 8), (6, 4, 1, 1)), {}),
        (F.conv_transpose2d, ((2, 4, 7, 8), (4, 6, 3, 3)), {"stride": 2}),
        (F.linear, ((2, 5, 4), (6, 4)), {}),
    ],
)
def test_two_weights_transpose_a_signal_at_once(
    function: Any, shapes: tuple[tuple[int, ...], ...], options: dict[str, Any]
) -> None:
    source, first = (numbers(*shape).double() for shape in shapes)
    second = first.flip(0) - 1
    linear = linear_map(function, (source, first), options)
    assert linear is not None
    output = linear.apply(source, first)
    signal, factor = numbers(*output.shape).double(), numbers(*output.shape).double()
    pair = linear.transpose_pair(first, second, source)(factor, signal, None)
    for weight, result in zip((first, second), pair, strict=True):
        expected = linear.transpose(weight, source)(factor, signal, None)
        torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("function", "shapes", "options"),
    [
        (F.conv2d, ((1, 4, 7, 8), (6, 4, 2, 3)), {"padding": "same"}),
        (F.conv2d, ((1, 4, 7, 8), (6, 4, 3, 3)), {"padding": "same"}),
        (F.conv2d, ((1, 4, 7, 8), (6, 4, 3, 3)), {"padding": "valid", "stride": [2]}),
        (F.conv2d, ((4, 7, 8), (6, 4, 3, 3)), {}),
        (F.conv_transpose2d, ((1, 4, 7, 8), (4, 6, 3, 3)), {"stride": 2}),
        (F.linear, ((2, 5, 4), (6, 4)), {}),
    ],
)
def test_every_linear_map_has_a_transpose(
    function: Any, shapes: tuple[tuple[int, ...], ...], options: dict[str, Any]
) -> None:
    source, weight = (numbers(*shape).double() for shape in shapes)
    source.requires_grad_()
    output = function(source, weight, None, **options)
    signal, factor = numbers(*output.shape).double(), numbers(*output.shape).double()
    (expected,) = torch.autograd.grad(output, source, signal * factor)
    linear = linear_map(function, (source.detach(), weight), options)
    assert linear is not None
    result = linear.transpose(weight, source.detach())(factor, signal, None)
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-12)


def test_what_is_not_a_number_is_in_the_box() -> None:
    signal = torch.zeros(1, 2, 5, 6)
    signal[0, 1, 2, 3] = torch.nan
    assert SignalBox.of(signal) == SignalBox(2, 3, 3, 4)
    assert SignalBox.of(torch.zeros(1, 2, 5, 6)).area == 0
