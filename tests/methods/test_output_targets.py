"""Numbers among the outputs as targets: paths, and functions of what the network returns."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retroscope.errors import RetroscopeError
from retroscope.methods.cam.cam import cam, cam_many
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.methods.output_targets import parse_path
from retroscope.methods.saliency import saliency
from retroscope.network import Network
from retroscope.results.as_json import as_json
from tests.conftest import built, numbers
from tests.methods.localisers import faster_rcnn, network

SIZE = (12, 10)


class Nested(nn.Module):
    """Returns a list of a dictionary with two tensors, and a number that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> list[Any]:
        maps = self.conv(x).relu()
        return [{"means": maps.mean((2, 3)), "maps": maps}, "label", 3.0]


def nested() -> Network:
    return Network(built(lambda: Nested().double()), input_size=SIZE, name="nested")


def random_image(seed: int = 0) -> Tensor:
    return numbers(3, *SIZE, seed=seed)


def gradient_of(read: Callable[[Any], Tensor], net: Network, image: Tensor) -> Any:
    pixels = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(read(net.module(pixels[None])), pixels)
    return gradient.permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ('output[0]["means"][0, 2]', lambda output: output[0]["means"][0, 2]),
        ("output[0][maps][0][-1][3][4]", lambda output: output[0]["maps"][0, 3, 3, 4]),
        (" output[ 0 ]['maps'][0,1,2,-3] ", lambda output: output[0]["maps"][0, 1, 2, 5]),
    ],
)
def test_a_path_is_the_number_at_its_end(path: str, read: Callable[[Any], Tensor]) -> None:
    net, image = nested(), random_image()
    heat = saliency(net, image, target=path)
    with torch.no_grad():
        assert heat.score == pytest.approx(float(read(net.module(image[None]))))
    assert heat.pixels is not None
    np.testing.assert_allclose(heat.pixels, gradient_of(read, net, image), rtol=0, atol=1e-9)
    assert (str(heat.target), heat.probability) == (path.strip(), None)
    facts: Any = as_json(heat)
    assert (facts["index"], facts["probability"]) == (None, None)


def test_a_function_is_explained_as_what_it_computes() -> None:
    net, image = nested(), random_image()

    def difference(output: Any) -> Tensor:
        means: Tensor = output[0]["means"][0]
        return means[1] - means[2].square()

    heat = saliency(net, image, target=difference)
    assert str(heat.target) == "difference of the outputs"
    assert heat.pixels is not None
    np.testing.assert_allclose(heat.pixels, gradient_of(difference, net, image), rtol=0, atol=1e-9)
    unnamed = cam(net, image, target=lambda output: output[0]["means"][0, 1])
    assert str(unnamed.target) == "a function of the outputs"


def test_requests_of_several_kinds_keep_their_order() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    net = Network(module, input_size=SIZE, labels=["a", "b", "c", "d"], name="classes")
    images = [random_image(seed).float() for seed in range(2)]
    requests = [("b", images[0]), ("output[0][2]", images[1]), (None, images[0])]
    heats = list(cam_many(net, requests))
    assert [str(heat.target) for heat in heats[:2]] == ["b", "output[0][2]"]
    same = cam(net, images[1], target="c")
    np.testing.assert_allclose(heats[1].values, same.values, rtol=0, atol=1e-6)
    assert heats[1].score == pytest.approx(same.score)


def test_numbers_of_a_detector_can_be_explained_as_well() -> None:
    net = network(faster_rcnn)
    image = numbers(3, 40, 56, seed=0).mul(0.25).add(0.5)
    heat = cam(net, image, target='output[0]["scores"][0]')
    np.testing.assert_allclose(heat.values, cam(net, image).values, rtol=0, atol=1e-12)


def test_occlusion_of_a_number_shows_scores() -> None:
    net, image = nested(), random_image()
    result = occlusion(net, image, size=6, stride=4, target="output[0][means][0][1]", fill=0.0)
    assert (result.measure, result.classes) == ("score", None)
    assert result.heat.probability is None
    covered = image.clone()
    covered[:, :6, :6] = 0
    with torch.no_grad():
        expected = float(net.module(covered[None])[0]["means"][0, 1])
    assert result.probabilities[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("output[0", r"cannot read 'output\[0' from '\[0' on; a path has a key or an index"),
        ("output[]", "cannot read"),
        ("output[0].means", "cannot read .* from '.means' on"),
        ("output[0][1+1]", r"cannot read .* from '\[1\+1\]' on"),
        ("output[0][__import__('os')]", "cannot read"),
        ("output[7]", r"no 7 in output of nested, which is a list of 3; give an index from 0 to 2"),
        ("output[0][mean]", r"no 'mean' in output\[0\] of nested; it has 'means', 'maps'"),
        ("output[0][means]", r"is a tensor of \(1, 4\), not a number; give an index"),
        ("output[0][means][0][9]", r"no 9 in .* which is a tensor of \(4,\)"),
        ("output[0][means][0][1][0]", "nothing is in it"),
        ("output[1]", r"is 'label' \(str\), not a number"),
        ("output[1][0]", r"nothing is in output\[1\] of nested, which is 'label'"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_in_one_line(path: str, says: str) -> None:
    with pytest.raises(RetroscopeError, match=says) as refused:
        cam(nested(), random_image(), target=path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [3.0, torch.ones(2), None])
def test_a_function_must_return_one_number_in_a_tensor(value: object) -> None:
    with pytest.raises(RetroscopeError, match="must return a tensor with one number"):
        cam(nested(), random_image(), target=lambda _: value)  # type: ignore[arg-type,return-value]


def test_a_function_that_detaches_has_no_gradient() -> None:
    with pytest.raises(RetroscopeError, match="remove no_grad, inference_mode or detach"):
        saliency(nested(), random_image(), target=lambda output: output[0]["means"].sum().detach())


def test_keys_may_hold_brackets_and_spaces() -> None:
    assert parse_path('output["a b"]["c\'"][0]') == ["a b", "c'", 0]
