"""Occlusion against the loop that covers the random_image and runs the network, place by place."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from retroscope.errors import RetroscopeError
from retroscope.methods.occlusion import occlusion as occlusion_module
from retroscope.methods.occlusion.incremental import run_patched
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.network import Network
from retroscope.results.heat_maps import OcclusionMap
from retroscope.zoo import open_model
from tests.conftest import built, no_trace, numbers
from tests.laws.networks import Case, PlainCode, Residual, cases

SIZE = (27, 22)
Array = npt.NDArray[Any]


class GlobalAverage(nn.Module):
    """The mean of each map."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class SqueezeExcitation(nn.Module):
    """A gate for each map, computed from the whole map."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))
        return gated


class DenseBlock(nn.Module):
    """Dense concatenation, written as code."""

    def __init__(self) -> None:
        super().__init__()
        self.growth = nn.Conv2d(6, 3, 3, padding=1)
        self.transition = nn.Conv2d(9, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.transition(torch.cat([x, F.relu(self.growth(x))], dim=1))
        return maps


def scale_in_place(x: Tensor) -> Tensor:
    return x.mul_(2).add_(0.1)


def rectify_half(x: Tensor) -> Tensor:
    y = x * 1.0
    y[:, 2:4].relu_()
    return y


def slice_rows(x: Tensor) -> Tensor:
    return x[:, :, 3:, 1:-1]


def shuffle_channels(x: Tensor) -> Tensor:
    batch, _, height, width = x.shape
    return x.view(batch, 2, 3, height, width).transpose(1, 2).reshape(batch, 6, height, width)


def layer_norm_channels_last(x: Tensor) -> Tensor:
    return F.layer_norm(x.permute(0, 2, 3, 1), (6,)).permute(0, 3, 1, 2)


def compare_with_a_map(x: Tensor) -> Tensor:
    return x * F.cosine_similarity(x, numbers(1, 6, *x.shape[2:]), dim=1)[:, None]


def multiply_by_a_matrix_for_each_place(x: Tensor) -> Tensor:
    rows = x.permute(0, 2, 3, 1)[..., None, :] @ numbers(*x.shape[2:], 6, 6)
    return rows.squeeze(3).permute(0, 3, 1, 2)


def attend_to_values_for_each_place(x: Tensor) -> Tensor:
    query, memory = x.permute(0, 2, 3, 1)[..., None, :], numbers(*x.shape[2:], 4, 6)
    attended = F.scaled_dot_product_attention(query, memory, memory)
    return attended.squeeze(3).permute(0, 3, 1, 2)


def read_value(x: Tensor) -> Tensor:
    return x * float(x.max() > -1e9)


PARTS: dict[str, Callable[[], nn.Module]] = {
    "nothing": nn.Identity,
    "convolution": lambda: nn.Conv2d(6, 6, 3, padding=1),
    "stride": lambda: nn.Conv2d(6, 6, 3, stride=2, padding=1),
    "large stride": lambda: nn.Conv2d(6, 6, 1, stride=3),
    "dilated": lambda: nn.Conv2d(6, 6, 3, dilation=2, padding=(2, 0)),
    "grouped": lambda: nn.Conv2d(6, 6, (1, 3), groups=3),
    "pool": lambda: nn.MaxPool2d(3, 2, padding=1),
    "ceil pool": lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
    "mean pool": lambda: nn.AvgPool2d(2),
    "padded mean": lambda: nn.AvgPool2d(3, 1, padding=1, count_include_pad=False),
    "norm": lambda: nn.BatchNorm2d(6),
    "group norm": lambda: nn.GroupNorm(2, 6),
    "in place": lambda: nn.ReLU(inplace=True),
    "residual": lambda: Residual(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())),
    "dense": DenseBlock,
    "gates": SqueezeExcitation,
    "dropout": nn.Dropout,
    "padding": lambda: nn.ZeroPad2d((1, 0, 2, 0)),
    "reflected": lambda: nn.ReflectionPad2d(1),
    "scaled in place": lambda: PlainCode(scale_in_place),
    "half rectified": lambda: PlainCode(rectify_half),
    "last rows": lambda: PlainCode(slice_rows),
    "shuffle_channels": lambda: PlainCode(shuffle_channels),
    "layer norm": lambda: PlainCode(layer_norm_channels_last),
    "compared with a map": lambda: PlainCode(compare_with_a_map),
    "a matrix for each place": lambda: PlainCode(multiply_by_a_matrix_for_each_place),
    "values for each place": lambda: PlainCode(attend_to_values_for_each_place),
    "value read": lambda: PlainCode(read_value),
}


def network_with(part: Callable[[], nn.Module]) -> Network:
    def make() -> nn.Module:
        body = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), part(), nn.Conv2d(6, 6, 3), nn.ReLU()]
        return nn.Sequential(*body, GlobalAverage(), nn.Linear(6, 5)).double()

    module = built(make)
    with torch.no_grad():
        module[-1].weight.mul_(20)  # type: ignore[index]
    return Network(module, input_size=SIZE, name="small")


def random_image(size: tuple[int, int] = SIZE) -> Tensor:
    return numbers(3, *size)


def run_covered_images(
    net: Network, image: Tensor, result: OcclusionMap, fill: float
) -> tuple[Array, Array]:
    """All class probabilities and all totals of the recorded layer, at each position."""
    assert result.unit is not None
    recorded: list[Tensor] = []
    part = net.module.get_submodule(result.unit.layer)
    hook = part.register_forward_hook(
        lambda _part, _inputs, maps: recorded.append(maps.sum(dim=(2, 3)))
    )
    probabilities = class_probabilities(net, image, result, fill)
    hook.remove()
    grid = len(result.tops), len(result.lefts), -1
    return probabilities, torch.cat(recorded).reshape(grid).numpy()


def class_probabilities(net: Network, image: Tensor, result: OcclusionMap, fill: float) -> Array:
    """All class probabilities at each position."""
    rows = []
    for top in result.tops:
        for left in result.lefts:
            covered = image.clone()
            covered[:, top : top + result.occluder[0], left : left + result.occluder[1]] = fill
            with torch.no_grad():
                rows.append(net.module(covered[None]).softmax(dim=1)[0])
    grid = len(result.tops), len(result.lefts), -1
    return torch.stack(rows).reshape(grid).numpy()


def check(net: Network, image: Tensor, result: OcclusionMap, *, fill: float, atol: float) -> None:
    probabilities, totals = run_covered_images(net, image, result, fill)
    assert result.unit is not None
    assert result.activations is not None
    np.testing.assert_allclose(
        result.probabilities, probabilities[..., result.target.index], rtol=0, atol=atol
    )
    np.testing.assert_array_equal(result.classes, probabilities.argmax(axis=2))
    expected = totals[..., result.unit.channel]
    np.testing.assert_allclose(result.activations, expected, rtol=0, atol=atol * abs(totals).max())


@pytest.fixture
def incremental(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each batch, whether it was computed incrementally."""
    batches: list[bool] = []

    def record_batch(*args: Any, **options: Any) -> object:
        class_scores = run_patched(*args, **options)
        batches.append(class_scores is not None)
        return class_scores

    monkeypatch.setattr(occlusion_module, "run_patched", record_batch)
    return batches


NOT_INCREMENTAL = ("half rectified",)
"""Parts that placeholders cannot follow; images are run in full."""
SINGLE_IMAGES = ("value read",)
"""Parts that must not run in a batch."""


@pytest.mark.parametrize("name", PARTS)
def test_occlusion_equals_full_runs_of_covered_images(name: str, incremental: list[bool]) -> None:
    net = network_with(PARTS[name])
    result = occlusion(net, random_image(), size=5, stride=4, fill=0.3, target=1)
    check(net, random_image(), result, fill=0.3, atol=1e-6)
    assert result.probabilities.std() > 1e-4
    assert set(incremental) == (
        {False} if name in NOT_INCREMENTAL else set() if name in SINGLE_IMAGES else {True}
    )


@given(cases(), st.integers(1, 9), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_occlusion_of_any_network_equals_full_runs_of_covered_images(
    case: Case, size: int, stride: int
) -> None:
    net = Network(
        nn.Sequential(*case.module, GlobalAverage()).double().eval(), input_size=case.size
    )
    result = occlusion(net, case.picture, size=size, stride=stride, fill=0.7)
    assert result.activations is not None
    probabilities = class_probabilities(net, case.picture, result, 0.7)
    np.testing.assert_allclose(
        result.probabilities, probabilities[..., result.target.index], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet", "mobilenet_v2"])
def test_occlusion_of_a_well_known_network(name: str, incremental: list[bool]) -> None:
    net = open_model(name, random_weights=0, device="cpu")
    net.module.eval()
    image = numbers(3, 65, 71).float()
    result = occlusion(net, image, size=16, stride=27, fill=0.5)
    covered = [cover(image, top, left) for top in result.tops for left in result.lefts]
    with torch.no_grad():
        probabilities = net.module(torch.stack(covered)).softmax(dim=1)[:, result.target.index]
    np.testing.assert_allclose(
        result.probabilities.ravel(), probabilities.numpy(), rtol=0, atol=1e-5
    )
    assert incremental == [True]


def cover(image: Tensor, top: int, left: int) -> Tensor:
    covered = image.clone()
    covered[:, top : top + 16, left : left + 16] = 0.5
    return covered


def test_occlusion_of_a_linear_network_has_a_closed_form() -> None:
    """A score falls by its weights under the occluder times the difference of the pixels."""
    size = (9, 8)
    net = Network(
        built(lambda: nn.Sequential(nn.Flatten(), nn.Linear(216, 3)).double()), input_size=size
    )
    image = numbers(3, *size)
    result = occlusion(net, image, size=4, stride=3, fill=0.25, target=2)
    weights = net.module[1].weight.detach().reshape(3, 3, *size)  # type: ignore[index]
    with torch.no_grad():
        clean = net.module(image[None])[0]
    for row, top in enumerate(result.tops):
        for column, left in enumerate(result.lefts):
            box = slice(None), slice(top, top + 4), slice(left, left + 4)
            loss = torch.stack([(row[box] * (image - 0.25)[box]).sum() for row in weights])
            share = (clean - loss).softmax(dim=0)[2].item()
            assert result.probabilities[row, column] == pytest.approx(share, abs=1e-6)
    assert result.unit is None
    assert result.activations is None


class WithoutBatches(nn.Module):
    """Raises an error for a batch."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 1:
            raise ValueError("one image at a time")
        return x


def test_a_network_without_batches_is_run_one_occluder_at_a_time() -> None:
    result = occlusion(network_with(WithoutBatches), random_image(), size=6, stride=4)
    expected = occlusion(network_with(nn.Identity), random_image(), size=6, stride=4)
    np.testing.assert_allclose(result.probabilities, expected.probabilities, atol=1e-6)
    np.testing.assert_array_equal(result.classes, expected.classes)
    assert result.activations is not None
    assert expected.activations is not None
    np.testing.assert_allclose(result.activations, expected.activations, rtol=1e-6)


def test_a_network_that_also_fails_on_single_images_reports_why() -> None:
    calls = count()

    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if next(calls) > 3:
                raise ValueError("fails on the fourth call")
            return x

    with pytest.raises(ValueError, match="fails on the fourth call"):
        occlusion(network_with(Failing), random_image(), size=6, stride=2)


@pytest.mark.parametrize(("length", "size", "stride"), [(27, 5, 4), (20, 20, 8), (23, 7, 100)])
def test_the_last_occluder_ends_at_the_border(length: int, size: int, stride: int) -> None:
    net = network_with(nn.Identity)
    result = occlusion(net, random_image((length, length)), size=size, stride=stride)
    assert result.tops == result.lefts
    assert result.tops[0] == 0
    assert result.tops[-1] + size == length
    assert all(
        end - start <= stride for start, end in zip(result.tops, result.tops[1:], strict=False)
    )
    assert result.probabilities.shape == (len(result.tops), len(result.lefts))


def test_grey_is_the_middle_between_black_and_white() -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
    module = network_with(nn.Identity).module
    net = Network(module, input_size=SIZE, mean=mean, std=std)
    flat = torch.tensor([(0.5 - m) / s for m, s in zip(mean, std, strict=True)]).double()
    image = flat[:, None, None].expand(3, *SIZE)
    result = occlusion(net, image, size=6, stride=5)
    np.testing.assert_allclose(result.probabilities, result.probability, rtol=0, atol=1e-7)


def test_mean_is_the_mean_colour_of_the_image() -> None:
    net, image = network_with(nn.Identity), random_image((6, 6))
    result = occlusion(net, image, size=6, fill="mean")
    with torch.no_grad():
        covered = image.mean(dim=(1, 2), keepdim=True).expand_as(image)
        share = net.module(covered[None]).softmax(dim=1)[0, result.target.index]
    assert result.probabilities.item() == pytest.approx(share.item(), abs=1e-6)


def test_blur_leaves_a_uniform_image_unchanged() -> None:
    net, image = network_with(nn.Identity), torch.full((3, *SIZE), 0.3).double()
    result = occlusion(net, image, size=6, stride=5, fill="blur")
    np.testing.assert_allclose(result.probabilities, result.probability, rtol=0, atol=1e-7)
    blurred = occlusion(net, random_image(), size=6, stride=5, fill="blur")
    assert blurred.probabilities.std() > 1e-5


def test_the_recorded_map_has_the_largest_total() -> None:
    net = network_with(nn.Identity)
    result = occlusion(net, random_image(), size=6, stride=6)
    with torch.no_grad():
        totals = net.module[:5](random_image()[None])[0].sum(dim=(1, 2))  # type: ignore[index]
    assert result.unit is not None
    assert (result.unit.layer, result.unit.channel) == ("4", int(totals.argmax()))
    assert result.activation == pytest.approx(totals.max().item())


def test_heat_is_the_mean_cost_of_the_occluders_over_a_pixel() -> None:
    result = occlusion(network_with(nn.Identity), random_image(), size=7, stride=4, target=1)
    y, x = 9, 13
    costs = [
        result.probability - result.probabilities[row, column]
        for row, top in enumerate(result.tops)
        for column, left in enumerate(result.lefts)
        if top <= y < top + 7 and left <= x < left + 7
    ]
    assert result.heat.values[y, x] == pytest.approx(np.mean(costs), abs=1e-6)


@pytest.mark.parametrize("name", ["convolution", "half rectified", "in place", "dropout"])
def test_occlusion_leaves_no_trace(name: str) -> None:
    net, image = network_with(PARTS[name]), random_image()
    net.module.train()
    original = image.clone()
    with no_trace(net.module):
        occlusion(net, image, size=6, stride=6)
    assert torch.equal(image, original)


def test_occlusion_works_for_a_grey_network() -> None:
    net = Network(built(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), GlobalAverage())))
    assert occlusion(net, torch.rand(1, 9, 9), size=3, stride=3).probabilities.shape == (3, 3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 23}, "an occluder of 23x23 pixels is larger than the image of 27x22"),
        ({"size": 0}, "an occluder of 0 pixels with stride 8; both must be at least 1"),
        ({"stride": 0, "size": 4}, "with stride 0"),
        ({"fill": "gray", "size": 4}, "no fill 'gray'; did you mean 'grey'"),
        ({"fill": "nan", "size": 4}, "no fill 'nan'; a number must be finite"),
        ({"target": 5, "size": 4}, "no class 5"),
    ],
)
def test_invalid_occlusion_options_raise_one_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(RetroscopeError, match=says) as refusal:
        occlusion(network_with(nn.Identity), random_image(), **options)
    assert "\n" not in str(refusal.value)
