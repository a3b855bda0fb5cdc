"""Saliency against plain autograd, its laws and its errors."""

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


def random_image(seed: int = 0) -> Tensor:
    return numbers(3, *SIZE, seed=seed)


def gradient(net: Network, image: Tensor, index: int) -> Tensor:
    """By plain autograd: height, width, channels."""
    pixels = image[None].clone().requires_grad_()
    (signal,) = torch.autograd.grad(net.module(pixels)[0, index], pixels)
    return signal[0].permute(1, 2, 0)


def same(pixels: npt.NDArray[np.float32] | None, expected: Tensor) -> None:
    assert pixels is not None
    np.testing.assert_allclose(pixels, expected.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("index", range(3))
def test_the_gradient_equals_autograd(index: int) -> None:
    net = network()
    heat = saliency(net, random_image(), target=index)
    expected = gradient(net, random_image(), index)
    same(heat.pixels, expected)
    same(heat.values, expected.abs().amax(dim=2))
    assert heat.values.any()


def test_the_gradient_of_a_unit_equals_autograd() -> None:
    net = network()
    pixels = random_image()[None].clone().requires_grad_()
    maps = net.module[:4](pixels)  # type: ignore[index]
    for unit, fired in (
        ("3:2@1,1", maps[0, 2, 1, 1]),
        ("3:2", maps[0, 2].max()),
        ("3:2@*", maps[0, 2].sum()),
        ("3", maps.sum()),
    ):
        (expected,) = torch.autograd.grad(fired, pixels, retain_graph=True)
        heat = saliency(net, random_image(), unit=unit)
        same(heat.pixels, expected[0].permute(1, 2, 0))
        assert heat.probability is None
        assert heat.score == pytest.approx(fired.item())


def test_a_channel_is_resolved_to_its_strongest_position() -> None:
    net = network()
    with torch.no_grad():
        place = int(net.module[:4](random_image()[None])[0, 2].argmax())  # type: ignore[index]
    assert saliency(net, random_image(), unit="conv2:2").target == Unit("3", 2, divmod(place, 2))


def test_guided_saliency_is_the_guided_projection_with_start_value_one() -> None:
    net = network()
    heat = saliency(net, random_image(), method="guided")
    assert heat.pixels is not None
    assert heat.score > 0
    projection = deconv(net, f"6:{heat.target.index}", random_image(), rules="guided")
    np.testing.assert_allclose(
        heat.pixels * projection.activation, projection.full(), rtol=0, atol=1e-6
    )


def test_smoothgrad_is_the_mean_gradient_under_seeded_noise() -> None:
    net, image = network(), random_image()
    spread = 0.2 * (image.max() - image.min())
    generator = torch.Generator().manual_seed(3)
    expected = torch.zeros(*SIZE, 3).double()
    for _ in range(4):
        noise = torch.randn(image.shape, generator=generator, dtype=torch.float32)
        expected += gradient(net, image + spread * noise, 1) / 4
    options = {"method": "smoothgrad", "target": 1, "samples": 4, "noise": 0.2}
    same(saliency(net, image, seed=3, **options).pixels, expected)  # type: ignore[call-overload]


def test_smoothgrad_depends_on_its_seed_alone() -> None:
    net = network()
    first, repeated, different = (
        saliency(net, random_image(), method="smoothgrad", seed=seed).pixels for seed in (1, 1, 2)
    )
    assert first is not None
    assert different is not None
    np.testing.assert_array_equal(first, repeated)
    assert not np.allclose(first, different)


def test_smoothgrad_without_noise_is_the_gradient() -> None:
    net = network()
    heat = saliency(net, random_image(), method="smoothgrad", noise=0, samples=2, target=1)
    same(heat.pixels, gradient(net, random_image(), 1))


def test_input_times_gradient_adds_up_to_the_score_of_a_network_without_biases() -> None:
    def unbiased() -> nn.Module:
        net = small()
        for part in net.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]
        return net

    heat = saliency(network(unbiased), random_image(), method="input_x_gradient", target=2)
    assert heat.values.sum() == pytest.approx(heat.score, abs=1e-6)
    assert abs(heat.score) > 1e-3


def black(net: Network) -> Tensor:
    means, stds = torch.tensor(net.preprocessing.mean), torch.tensor(net.preprocessing.std)
    return (-means / stds).double()[:, None, None].expand(3, *SIZE)


@pytest.mark.parametrize("index", range(4))
def test_integrated_gradients_are_complete(index: int) -> None:
    net = network()
    heat = saliency(net, random_image(), method="integrated", target=index, steps=1000)
    with torch.no_grad():
        start = net.module(black(net)[None])[0, index].item()
    assert heat.values.sum() == pytest.approx(heat.score - start, abs=1e-3)
    assert abs(heat.score - start) > 5e-3
    assert "the pixels add up to" in heat.notes[-1]


def test_integrated_gradients_of_a_linear_network_are_weights_times_difference() -> None:
    net = network(lambda: nn.Sequential(nn.Flatten(), nn.Linear(360, 4)))
    heat = saliency(net, random_image(), method="integrated", target=1, steps=3)
    weights = net.module[1].weight[1].detach().reshape(3, *SIZE)  # type: ignore[index]
    same(heat.pixels, (weights * (random_image() - black(net))).permute(1, 2, 0))


def test_saliency_explains_the_score_before_a_softmax() -> None:
    plain, with_softmax = network(), network(lambda: nn.Sequential(*small(), nn.Softmax(dim=1)))
    with_softmax.module.load_state_dict(plain.module.state_dict())
    heat = saliency(with_softmax, random_image(), target=1)
    expected = saliency(plain, random_image(), target=1)
    assert expected.pixels is not None
    same(heat.pixels, torch.from_numpy(expected.pixels))
    assert heat.score == pytest.approx(expected.score)


@pytest.mark.parametrize("method", SALIENCY_METHODS)
@pytest.mark.parametrize("options", [{"target": 1}, {"unit": "3:1@0,1"}, {}])
def test_saliency_leaves_no_trace(method: str, options: dict[str, object]) -> None:
    net, image = network(lambda: nn.Sequential(nn.ReLU(inplace=True), *small())), random_image()
    original = image.clone()
    if "unit" in options:
        options = {"unit": "4:1@0,1"}
    with no_trace(net.module):
        heat = saliency(net, image, method=method, samples=2, steps=2, **options)  # type: ignore[call-overload]
    assert torch.equal(image, original)
    assert heat.caveats
    assert heat.size == heat.values.shape == SIZE


def test_a_grey_network_has_saliency() -> None:
    net = Network(built(lambda: nn.Sequential(nn.Conv2d(1, 4, 9), nn.Flatten())))
    heat = saliency(net, torch.rand(1, 9, 9), method="integrated", target=2)
    assert heat.pixels is not None
    assert heat.pixels.shape == (9, 9, 1)


class Detached(nn.Module):
    """A network that detaches its maps."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "gradients"}, "did you mean 'gradient'"),
        ({"target": 1, "unit": "3:1"}, "both the target 1 and the unit '3:1'; give one"),
        ({"unit": "3:99"}, "no channel 99"),
        ({"target": 99}, "no class 99"),
        ({"samples": 0}, "samples and steps must be at least 1"),
        ({"noise": -1.0}, "noise at least 0"),
    ],
)
def test_invalid_saliency_options_raise_one_line(options: dict[str, object], says: str) -> None:
    with pytest.raises(RetroscopeError, match=says) as refusal:
        saliency(network(), random_image(), **options)  # type: ignore[call-overload]
    assert "\n" not in str(refusal.value)


def test_a_network_that_detaches_its_maps_is_refused() -> None:
    net = network(lambda: nn.Sequential(*small(), Detached()))
    with pytest.raises(ModelError, match="no gradient leads back from here"):
        saliency(net, random_image())


def test_a_network_without_classes_has_saliency_of_units_only() -> None:
    net = network(lambda: nn.Conv2d(3, 4, 3))
    assert saliency(net, random_image(), unit="conv1:1").values.any()
    with pytest.raises(ModelError, match="give a unit instead of a class"):
        saliency(net, random_image())
