"""Saliency against plain autograd, its laws, and what a user meets on the way."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from retroscope.errors import ModelError, RetroscopeError
from retroscope.methods.deconv.deconv import deconv
from retroscope.methods.saliency import SALIENCY_METHODS, saliency
from retroscope.network import Network
from retroscope.unit import Unit
from tests.conftest import built, no_trace, numbers

SIZE = (12, 10)


def small() -> nn.Sequential:
    body = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3), nn.ReLU()]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(24, 5))


def network(make: Callable[[], nn.Module] = small) -> Network:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    return Network(
        built(lambda: make().double()), input_size=SIZE, mean=mean, std=std, name="small"
    )


def picture(seed: int = 0) -> Tensor:
    return numbers(3, *SIZE, seed=seed)


def gradient(net: Network, image: Tensor, index: int) -> Tensor:
    """By plain autograd: height, width, channels."""
    pixels = image[None].clone().requires_grad_()
    (found,) = torch.autograd.grad(net.module(pixels)[0, index], pixels)
    return found[0].permute(1, 2, 0)


def same(found: npt.NDArray[np.float32] | None, expected: Tensor) -> None:
    assert found is not None
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("index", range(3))
def test_the_gradient_is_autograds(index: int) -> None:
    net = network()
    heat = saliency(net, picture(), target=index)
    expected = gradient(net, picture(), index)
    same(heat.pixels, expected)
    same(heat.values, expected.abs().amax(dim=2))
    assert heat.values.any()


def test_a_units_gradient_is_autograds() -> None:
    net = network()
    pixels = picture()[None].clone().requires_grad_()
    maps = net.module[:4](pixels)  # type: ignore[index]
    for unit, fired in (
        ("3:2@1,1", maps[0, 2, 1, 1]),
        ("3:2", maps[0, 2].max()),
        ("3:2@*", maps[0, 2].sum()),
        ("3", maps.sum()),
    ):
        (expected,) = torch.autograd.grad(fired, pixels, retain_graph=True)
        heat = saliency(net, picture(), unit=unit)
        same(heat.pixels, expected[0].permute(1, 2, 0))
        assert heat.probability is None
        assert heat.score == pytest.approx(fired.item())


def test_a_unit_is_told_at_the_position_that_was_looked_at() -> None:
    net = network()
    with torch.no_grad():
        place = int(net.module[:4](picture()[None])[0, 2].argmax())  # type: ignore[index]
    assert saliency(net, picture(), unit="conv2:2").target == Unit("3", 2, divmod(place, 2))


def test_guided_is_the_guided_projection_started_from_one() -> None:
    net = network()
    heat = saliency(net, picture(), method="guided")
    assert heat.pixels is not None
    assert heat.score > 0
    shown = deconv(net, f"6:{heat.target.index}", picture(), rules="guided")  # type: ignore[union-attr]
    np.testing.assert_allclose(heat.pixels * shown.activation, shown.full(), rtol=0, atol=1e-6)


def test_smoothgrad_is_the_mean_gradient_in_noise_of_its_seed() -> None:
    net, image = network(), picture()
    spread = 0.2 * (image.max() - image.min())
    generator = torch.Generator().manual_seed(3)
    expected = torch.zeros(*SIZE, 3).double()
    for _ in range(4):
        noise = torch.randn(image.shape, generator=generator, dtype=torch.float32)
        expected += gradient(net, image + spread * noise, 1) / 4
    options = {"method": "smoothgrad", "target": 1, "samples": 4, "noise": 0.2}
    same(saliency(net, image, seed=3, **options).pixels, expected)  # type: ignore[arg-type]


def test_smoothgrad_is_the_same_for_one_seed_and_another_for_another() -> None:
    net = network()
    one, again, other = (
        saliency(net, picture(), method="smoothgrad", seed=seed).pixels for seed in (1, 1, 2)
    )
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


def test_smoothgrad_without_noise_is_the_gradient() -> None:
    net = network()
    heat = saliency(net, picture(), method="smoothgrad", noise=0, samples=2, target=1)
    same(heat.pixels, gradient(net, picture(), 1))


def test_input_times_gradient_adds_up_to_the_score_of_a_network_without_biases() -> None:
    def unbiased() -> nn.Module:
        net = small()
        for part in net.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]
        return net

    heat = saliency(network(unbiased), picture(), method="input_x_gradient", target=2)
    assert heat.values.sum() == pytest.approx(heat.score, abs=1e-6)
    assert abs(heat.score) > 1e-3


def black(net: Network) -> Tensor:
    means, stds = torch.tensor(net.preprocessing.mean), torch.tensor(net.preprocessing.std)
    return (-means / stds).double()[:, None, None].expand(3, *SIZE)


@pytest.mark.parametrize("index", range(4))
def test_integrated_gradients_add_up_to_what_the_score_rises_from_black(index: int) -> None:
    net = network()
    heat = saliency(net, picture(), method="integrated", target=index, steps=1000)
    with torch.no_grad():
        start = net.module(black(net)[None])[0, index].item()
    assert heat.values.sum() == pytest.approx(heat.score - start, abs=1e-3)
    assert abs(heat.score - start) > 5e-3
    assert "the pixels add up to" in heat.notes[-1]


def test_integrated_gradients_of_a_linear_network_are_weight_times_difference() -> None:
    net = network(lambda: nn.Sequential(nn.Flatten(), nn.Linear(360, 4)))
    heat = saliency(net, picture(), method="integrated", target=1, steps=3)
    weights = net.module[1].weight[1].detach().reshape(3, *SIZE)  # type: ignore[index]
    same(heat.pixels, (weights * (picture() - black(net))).permute(1, 2, 0))


def test_the_score_before_a_softmax_is_what_is_explained() -> None:
    bare, ended = network(), network(lambda: nn.Sequential(*small(), nn.Softmax(dim=1)))
    ended.module.load_state_dict(bare.module.state_dict())
    one, other = (saliency(net, picture(), target=1) for net in (bare, ended))
    assert other.pixels is not None
    same(one.pixels, torch.from_numpy(other.pixels))
    assert one.score == pytest.approx(other.score)


@pytest.mark.parametrize("method", SALIENCY_METHODS)
@pytest.mark.parametrize("asked", [{"target": 1}, {"unit": "3:1@0,1"}, {}])
def test_saliency_leaves_no_trace(method: str, asked: dict[str, object]) -> None:
    net, image = network(lambda: nn.Sequential(nn.ReLU(inplace=True), *small())), picture()
    kept = image.clone()
    if "unit" in asked:
        asked = {"unit": "4:1@0,1"}
    with no_trace(net.module):
        heat = saliency(net, image, method=method, samples=2, steps=2, **asked)  # type: ignore[arg-type]
    assert torch.equal(image, kept)
    assert heat.caveats
    assert heat.size == heat.values.shape == SIZE


def test_a_grey_network_has_saliency() -> None:
    net = Network(built(lambda: nn.Sequential(nn.Conv2d(1, 4, 9), nn.Flatten())))
    heat = saliency(net, torch.rand(1, 9, 9), method="integrated", target=2)
    assert heat.pixels is not None
    assert heat.pixels.shape == (9, 9, 1)


class Cut(nn.Module):
    """A network that detaches its maps."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "gradients"}, "did you mean 'gradient'"),
        ({"target": 1, "unit": "3:1"}, "both the class 1 and the unit '3:1'; give one"),
        ({"unit": "3:99"}, "no channel 99"),
        ({"target": 99}, "no class 99"),
        ({"samples": 0}, "samples and steps must be at least 1"),
        ({"noise": -1.0}, "noise at least 0"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_line(options: dict[str, object], says: str) -> None:
    with pytest.raises(RetroscopeError, match=says) as refusal:
        saliency(network(), picture(), **options)  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value)


def test_a_network_that_leads_nowhere_is_told() -> None:
    net = network(lambda: nn.Sequential(*small(), Cut()))
    with pytest.raises(ModelError, match="no gradient leads back from here"):
        saliency(net, picture())


def test_a_network_that_gives_no_classes_has_saliency_of_units_alone() -> None:
    net = network(lambda: nn.Conv2d(3, 4, 3))
    assert saliency(net, picture(), unit="conv1:1").values.any()
    with pytest.raises(ModelError, match="give a unit instead of a class"):
        saliency(net, picture())
