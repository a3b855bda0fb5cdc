"""Signals in arrays and files: what is read, and what is refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.errors import ImageError
from tests.conftest import built


def network(channels: int, **options: Any) -> rs.Network:
    module = built(lambda: nn.Sequential(nn.Conv1d(channels, 4, 3), nn.ReLU()))
    return rs.Network(module, input_size=(20,), **options)


SIGNAL: Any = np.random.default_rng(0).normal(3, 2, (2, 20)).astype(np.float32)


def test_an_array_and_a_file_are_the_tensor_normalised(tmp_path: Path) -> None:
    net = network(2, mean=[1.0, 2.0], std=[0.5, 4.0])
    expected = (SIGNAL - [[1], [2]]) / [[0.5], [4]]
    np.save(tmp_path / "signal.npy", SIGNAL)
    for given in (SIGNAL, SIGNAL.T, str(tmp_path / "signal.npy"), tmp_path / "signal.npy"):
        image = net.prepare(given)
        np.testing.assert_allclose(image.tensor, expected, 1e-5)
        assert image.rgb.shape == (1, 20, 3)
    assert rs.activations(net, "0", SIGNAL).maps.shape == (4, 18)


def test_a_value_range_is_what_becomes_0_and_1() -> None:
    net = network(1, mean=[-100.0], std=[100.0], value_range=(-100, 300))
    counts: Any = np.array([-100, 100, 300], np.int16)
    np.testing.assert_allclose(net.prepare(counts).tensor, [[0, 2, 4]], 1e-6, 1e-6)


def test_one_channel_needs_no_dimension_and_any_length_runs() -> None:
    net = network(1)
    row: Any = np.zeros(33)
    column: Any = row[:, None]
    assert net.prepare(row).tensor.shape == (1, 33)
    assert rs.activations(net, "0", column).maps.shape == (4, 31)
    assert net.prepare(torch.zeros(1, 9)).size == (9,)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((3, 20)), r"has shape \(3, 20\), and the network takes signals: \(2, length\)"),
        (np.zeros(20), r"has shape \(20,\), and the network takes signals"),
        (np.zeros((2, 20), complex), "has values of complex128; a signal has numbers"),
        (np.zeros((2, 0)), r"has shape \(2, 0\)"),
        ([1.0, 2.0], "not list"),
    ],
)
def test_what_is_no_signal_is_refused_in_one_line(given: Any, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        network(2).prepare(given)
    assert "\n" not in str(caught.value)


def test_a_file_that_holds_no_signal_is_refused(tmp_path: Path) -> None:
    rs.Image(np.zeros((4, 4, 3), np.uint8)).to_pil().save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png' is not a \.npy file, and the network takes sig"):
        network(2).prepare(tmp_path / "a.png")
