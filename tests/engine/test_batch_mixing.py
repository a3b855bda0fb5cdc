"""Networks that mix the images of a batch: each image runs alone, and gets what it gets alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from retroscope.engine.batch_test import _sample_layers
from retroscope.methods.deconv.deconv import deconv, deconv_many
from retroscope.network import Network
from tests.conftest import built, numbers

SIZE = (9, 8)
Code = Callable[[torch.Tensor], torch.Tensor]

MIXING: dict[str, Code] = {
    "the mean of all": lambda x: x * x.mean(),
    "the largest value": lambda x: x / x.abs().max(),
    "a number taken out": lambda x: x * x.mean().item(),
    "the first image for all": lambda x: x * x[0],
    "the mean of the batch": lambda x: x - x.mean((0, 2, 3), keepdim=True),
    "a sum along the batch": lambda x: x.cumsum(0),
    "the image after the next": lambda x: x * x.roll(2, 0),
    "the number of values": lambda x: x * x.numel(),
    "a loop over the batch": lambda x: torch.stack([maps * maps.mean() for maps in x]),
}
SEPARATE: dict[str, Code] = {
    "a gate": lambda x: x * x.mean((1, 2, 3), keepdim=True),
    "attention": lambda x: x.flatten(2).softmax(-1).view_as(x) * x,
    "channels": lambda x: x / x.norm(dim=1, keepdim=True),
}


class Between(nn.Module):
    def __init__(self, code: Code) -> None:
        super().__init__()
        self.code = code
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.last(self.code(self.first(image)))
        return maps


def network(code: Code) -> Network:
    return Network(built(lambda: Between(code)).double(), input_size=SIZE)


@pytest.mark.parametrize("name", MIXING)
def test_the_images_of_a_batch_do_not_touch_each_other(name: str) -> None:
    net = network(MIXING[name])
    assert net.survey().needs_single_images
    images = [numbers(3, *SIZE), 5 * numbers(3, *SIZE) + 2]
    together = list(deconv_many(net, [("last:1@4,3", image) for image in images]))
    for image, projection in zip(images, together, strict=True):
        alone = deconv(net, "last:1@4,3", image)
        assert projection.activation == pytest.approx(alone.activation, rel=1e-12)
        np.testing.assert_allclose(projection.full(), alone.full(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SEPARATE)
def test_images_that_do_not_touch_each_other_run_in_batches(name: str) -> None:
    assert not network(SEPARATE[name]).survey().needs_single_images


def test_the_default_device_of_torch_is_not_that_of_the_network() -> None:
    """As after `torch.set_default_device("cuda")` beside a network on the processor."""
    mixing, separate = (network(code) for code in (MIXING["the mean of all"], SEPARATE["a gate"]))
    with torch.device("meta"):
        assert mixing.survey().needs_single_images
        assert not separate.survey().needs_single_images


def test_the_test_of_a_batch_holds_only_the_values_that_it_compares() -> None:
    """Views of some values would hold the maps of all layers: gigabytes for large images."""
    net = Network(built(lambda: Between(lambda x: x)), input_size=(64, 64))
    (samples,) = _sample_layers(net.module, net.survey(), numbers(1, 3, 64, 64).float())
    assert samples
    assert all(values.untyped_storage().nbytes() == 4 * len(values) for values in samples.values())
