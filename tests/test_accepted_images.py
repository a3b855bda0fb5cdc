"""Networks that do not say what images they take: tried, or refused with what they take."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.functional import pixel_unshuffle

import retroscope as rs
from retroscope.errors import ModelError, RetroscopeError
from tests.conftest import built


class Rearranged(nn.Module):
    """Its first convolution reads blocks of 4x4 pixels, as TResNet's does."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16 * channels, 4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.conv(pixel_unshuffle(image, 4))
        return maps


class HeadFirst(nn.Module):
    """Registers its last convolution first."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.stem = nn.Conv2d(7, 5, 3), nn.Conv2d(3, 7, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.head(self.stem(image))
        return maps


class Flat(nn.Module):
    """Takes all pixels at once."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.image_size = (height, width)
        self.linear = nn.Linear(channels * height * width, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.linear(image.flatten(1))
        return scores


class TwoImages(nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return left + right


class ChannelsLast(nn.Conv2d):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("make", "channels"),
    [
        (Rearranged, 3),
        (lambda: Rearranged(1), 1),
        (HeadFirst, 3),
        (lambda: nn.Conv2d(6, 4, 3), 6),
        (lambda: nn.Conv2d(1, 4, 3), 1),
        (lambda: Flat(1, 16, 16), 1),
        (lambda: Flat(3, 16, 16), 3),
    ],
)
def test_the_channels_are_those_that_the_network_runs(
    make: Callable[[], nn.Module], channels: int
) -> None:
    net = rs.Network(built(make), input_size=(16, 16))
    assert net.preprocessing.channels == channels
    assert net.layers


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: Flat(3, 32, 32), "images of 32x32 pixels; give input_size=(32, 32) ("),
        (lambda: Flat(3, 20, 30), "images of 20x30 pixels; give input_size=(20, 30) ("),
        (
            lambda: Flat(1, 28, 28),
            "images of 1 channel and 28x28 pixels; give one value in mean and in std and input_siz",
        ),
        (
            TwoImages,
            "it takes 2 inputs (left, right); declare them with rs.Network(module, inputs={'lef",
        ),
        (lambda: ChannelsLast(3, 4, 3), "images of (16, 16, 3); wrap it in a module that permutes"),
        (
            lambda: nn.Sequential(nn.Conv3d(3, 4, 3)),
            "its first layer, 0, is 3-D and takes volumes or video; give input_size=(depth, hei",
        ),
        (lambda: nn.Conv1d(1, 4, 3), "it is 1-D and takes signals; give input_size=(length,)"),
        (lambda: nn.LSTM(28, 4), "it is recurrent and takes sequences"),
        (lambda: nn.Sequential(nn.Embedding(9, 4)), "0, is an embedding and takes the indices of"),
    ],
)
def test_a_network_that_refuses_an_image_is_refused_with_what_it_takes(
    make: Callable[[], nn.Module], advice: str
) -> None:
    net = rs.Network(built(make), input_size=(16, 16), name="odd")
    with pytest.raises(ModelError) as caught:
        _ = net.layers
    assert str(caught.value).startswith("odd cannot run an image of 3 channels and 16x16 pixels: ")
    assert advice in str(caught.value)


def test_what_is_advised_runs() -> None:
    module = built(lambda: Flat(1, 28, 28))
    assert rs.Network(module, input_size=(28, 28), mean=(0,), std=(1,)).layers


def test_channels_that_do_not_fit_are_refused_with_those_that_do() -> None:
    net = rs.Network(nn.Conv2d(4, 2, 3), input_size=(16, 16), mean=(0.5,) * 3)
    with pytest.raises(ModelError, match="it runs images of 4 channels; give 4 values in mean and"):
        _ = net.layers


def test_an_image_of_another_size_is_refused_with_the_size_of_the_network() -> None:
    net = rs.Network(built(lambda: Flat(3, 16, 16)), input_size=(16, 16))
    with pytest.raises(ModelError, match="it runs 16x16 pixels; resize the image to that"):
        rs.activations(net, net.layers[0], torch.zeros(3, 17, 17))


def test_a_trial_leaves_no_trace() -> None:
    module = HeadFirst().train()
    module.stem.register_buffer("calls", torch.zeros(1))
    state = torch.get_rng_state()
    rs.Network(module, input_size=(16, 16))
    assert module.training
    assert module.stem.training
    assert torch.equal(state, torch.get_rng_state())


class Volumes(nn.Module):
    """A classifier of (1, depth, height, width)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(1, 2, 3, padding=1)
        self.head = nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.first(x).mean((2, 3, 4)))
        return scores


@pytest.mark.parametrize("size", [(1, 8, 16, 16), (1, 1, 8, 16, 16)])
def test_volumes_of_a_module_that_states_no_size_are_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(RetroscopeError, match="its first layer, first, is 3-D and takes volumes"):
        rs.cam(Volumes(), torch.zeros(size))


def test_a_3_d_layer_that_would_take_a_batch_for_channels_is_refused() -> None:
    net = rs.Network(nn.Sequential(nn.Conv3d(1, 2, 3)), input_size=(16, 16))
    with pytest.raises(
        RetroscopeError, match=r"no layer that sees an image.* 3-D and takes volumes"
    ):
        net.survey()


def test_a_network_of_images_opened_for_volumes_is_refused_with_what_it_takes() -> None:
    """As with an input size that begins with the channels."""
    net = rs.Network(built(lambda: nn.Sequential(nn.Conv2d(3, 4, 3))), input_size=(3, 16, 16))
    with pytest.raises(ModelError) as caught:
        _ = net.layers
    assert "cannot run a volume of 3 channels and 3x16x16 pixels" in str(caught.value)
    assert "its first layer, 0, is 2-D and takes images; give input_size=(height, width)" in str(
        caught.value
    )
