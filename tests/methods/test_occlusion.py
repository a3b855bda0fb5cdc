"""Occlusion against the loop that covers the picture and runs the network, place by place."""

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
from retroscope.methods.occlusion import occlusion as home
from retroscope.methods.occlusion.incremental import run_patched
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.network import Network
from retroscope.results.heat_maps import OcclusionMap
from retroscope.zoo import open_model
from tests.conftest import built, no_trace, numbers
from tests.laws.networks import Case, PlainCode, Residual, cases

SIZE = (27, 22)
Array = npt.NDArray[Any]


class Means(nn.Module):
    """The mean of each map."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class Squeezed(nn.Module):
    """A gate for each map, computed from the whole of it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))
        return gated


class Grown(nn.Module):
    """Dense concatenation, written as code."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Conv2d(6, 3, 3, padding=1)
        self.back = nn.Conv2d(9, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        grown: Tensor = self.back(torch.cat([x, F.relu(self.more(x))], dim=1))
        return grown


def doubled(x: Tensor) -> Tensor:
    return x.mul_(2).add_(0.1)


def half_changed(x: Tensor) -> Tensor:
    y = x * 1.0
    y[:, 2:4].relu_()
    return y


def last_rows(x: Tensor) -> Tensor:
    return x[:, :, 3:, 1:-1]


def shuffled(x: Tensor) -> Tensor:
    batch, _, height, width = x.shape
    return x.view(batch, 2, 3, height, width).transpose(1, 2).reshape(batch, 6, height, width)


def turned(x: Tensor) -> Tensor:
    return F.layer_norm(x.permute(0, 2, 3, 1), (6,)).permute(0, 3, 1, 2)


def brightest(x: Tensor) -> Tensor:
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
    "dense": Grown,
    "gates": Squeezed,
    "dropout": nn.Dropout,
    "padding": lambda: nn.ZeroPad2d((1, 0, 2, 0)),
    "reflected": lambda: nn.ReflectionPad2d(1),
    "doubled": lambda: PlainCode(doubled),
    "half changed": lambda: PlainCode(half_changed),
    "last rows": lambda: PlainCode(last_rows),
    "shuffled": lambda: PlainCode(shuffled),
    "turned": lambda: PlainCode(turned),
    "numbers out of sight": lambda: PlainCode(brightest),
}


def around(part: Callable[[], nn.Module]) -> Network:
    def make() -> nn.Module:
        body = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), part(), nn.Conv2d(6, 6, 3), nn.ReLU()]
        return nn.Sequential(*body, Means(), nn.Linear(6, 5)).double()

    module = built(make)
    with torch.no_grad():
        module[-1].weight.mul_(20)  # type: ignore[index]
    return Network(module, input_size=SIZE, name="small")


def picture(size: tuple[int, int] = SIZE) -> Tensor:
    return numbers(3, *size)


def by_force(net: Network, image: Tensor, shown: OcclusionMap, fill: float) -> tuple[Array, Array]:
    """Probabilities of all classes, and all totals of the watched layer, at each position."""
    assert shown.unit is not None
    kept: list[Tensor] = []
    part = net.module.get_submodule(shown.unit.layer)
    hook = part.register_forward_hook(lambda *seen: kept.append(seen[2].sum(dim=(2, 3))))
    rows = []
    for top in shown.tops:
        for left in shown.lefts:
            covered = image.clone()
            covered[:, top : top + shown.occluder[0], left : left + shown.occluder[1]] = fill
            with torch.no_grad():
                rows.append(net.module(covered[None]).softmax(dim=1)[0])
    hook.remove()
    grid = len(shown.tops), len(shown.lefts), -1
    return torch.stack(rows).reshape(grid).numpy(), torch.cat(kept).reshape(grid).numpy()


def check(net: Network, image: Tensor, shown: OcclusionMap, *, fill: float, atol: float) -> None:
    shares, totals = by_force(net, image, shown, fill)
    assert shown.unit is not None
    assert shown.activations is not None
    np.testing.assert_allclose(
        shown.probabilities, shares[..., shown.target.index], rtol=0, atol=atol
    )
    np.testing.assert_array_equal(shown.classes, shares.argmax(axis=2))
    own = totals[..., shown.unit.channel]
    np.testing.assert_allclose(shown.activations, own, rtol=0, atol=atol * abs(totals).max())


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each batch, whether it was computed only where it changes."""
    found: list[bool] = []

    def watched(*args: Any, **options: Any) -> object:
        verdict = run_patched(*args, **options)
        found.append(verdict is not None)
        return verdict

    monkeypatch.setattr(home, "run_patched", watched)
    return found


NEVER = ("half changed",)
"""What stand-ins cannot follow; the pictures are run whole."""
ALONE = ("numbers out of sight",)
"""What must not run in a batch at all."""


@pytest.mark.parametrize("name", PARTS)
def test_occlusion_is_what_covering_and_running_finds(name: str, told: list[bool]) -> None:
    net = around(PARTS[name])
    shown = occlusion(net, picture(), size=5, stride=4, fill=0.3, target=1)
    check(net, picture(), shown, fill=0.3, atol=1e-6)
    assert shown.probabilities.std() > 1e-4
    assert set(told) == ({False} if name in NEVER else set() if name in ALONE else {True})


@given(cases(), st.integers(1, 9), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_occlusion_of_any_network_is_what_covering_and_running_finds(
    case: Case, size: int, stride: int
) -> None:
    net = Network(nn.Sequential(*case.module, Means()).double().eval(), input_size=case.size)
    shown = occlusion(net, case.picture, size=size, stride=stride, fill=0.7)
    assert shown.activations is not None
    shares, _ = by_force(net, case.picture, shown, 0.7)
    np.testing.assert_allclose(
        shown.probabilities, shares[..., shown.target.index], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet", "mobilenet_v2"])
def test_occlusion_of_a_well_known_network(name: str, told: list[bool]) -> None:
    net = open_model(name, random_weights=0, device="cpu")
    net.module.eval()
    image = numbers(3, 65, 71).float()
    shown = occlusion(net, image, size=16, stride=27, fill=0.5)
    whole = [picture_covered(image, top, left) for top in shown.tops for left in shown.lefts]
    with torch.no_grad():
        shares = net.module(torch.stack(whole)).softmax(dim=1)[:, shown.target.index]
    np.testing.assert_allclose(shown.probabilities.ravel(), shares.numpy(), rtol=0, atol=1e-5)
    assert told == [True]


def picture_covered(image: Tensor, top: int, left: int) -> Tensor:
    covered = image.clone()
    covered[:, top : top + 16, left : left + 16] = 0.5
    return covered


def test_occlusion_of_a_linear_network_has_a_closed_form() -> None:
    """The score falls by the weights under the occluder times what it takes away."""
    size = (9, 8)
    net = Network(
        built(lambda: nn.Sequential(nn.Flatten(), nn.Linear(216, 3)).double()), input_size=size
    )
    image = numbers(3, *size)
    shown = occlusion(net, image, size=4, stride=3, fill=0.25, target=2)
    weights = net.module[1].weight.detach().reshape(3, 3, *size)  # type: ignore[index]
    with torch.no_grad():
        clean = net.module(image[None])[0]
    for row, top in enumerate(shown.tops):
        for column, left in enumerate(shown.lefts):
            box = slice(None), slice(top, top + 4), slice(left, left + 4)
            lost = torch.stack([(each[box] * (image - 0.25)[box]).sum() for each in weights])
            share = (clean - lost).softmax(dim=0)[2].item()
            assert shown.probabilities[row, column] == pytest.approx(share, abs=1e-6)
    assert shown.unit is None
    assert shown.activations is None


class OneByOne(nn.Module):
    """Takes no batches."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 1:
            raise ValueError("one picture at a time")
        return x


def test_a_network_that_takes_no_batches_is_covered_one_place_at_a_time() -> None:
    alone, together = around(OneByOne), around(nn.Identity)
    image, places = picture(), {"size": 6, "stride": 4}
    shown, expected = (occlusion(net, image, **places) for net in (alone, together))
    np.testing.assert_allclose(shown.probabilities, expected.probabilities, atol=1e-6)
    np.testing.assert_array_equal(shown.classes, expected.classes)
    assert shown.activations is not None
    assert expected.activations is not None
    np.testing.assert_allclose(shown.activations, expected.activations, rtol=1e-6)


def test_a_network_that_fails_one_by_one_too_says_why() -> None:
    turns = count()

    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if next(turns) > 3:
                raise ValueError("no more")
            return x

    with pytest.raises(ValueError, match="no more"):
        occlusion(around(Failing), picture(), size=6, stride=2)


@pytest.mark.parametrize(("length", "size", "stride"), [(27, 5, 4), (20, 20, 8), (23, 7, 100)])
def test_the_last_occluder_ends_at_the_border(length: int, size: int, stride: int) -> None:
    net = around(nn.Identity)
    shown = occlusion(net, picture((length, length)), size=size, stride=stride)
    assert shown.tops == shown.lefts
    assert shown.tops[0] == 0
    assert shown.tops[-1] + size == length
    assert all(
        later - sooner <= stride for sooner, later in zip(shown.tops, shown.tops[1:], strict=False)
    )
    assert shown.probabilities.shape == (len(shown.tops), len(shown.lefts))


def test_grey_is_the_middle_between_black_and_white() -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
    module = around(nn.Identity).module
    net = Network(module, input_size=SIZE, mean=mean, std=std)
    flat = torch.tensor([(0.5 - m) / s for m, s in zip(mean, std, strict=True)]).double()
    image = flat[:, None, None].expand(3, *SIZE)
    shown = occlusion(net, image, size=6, stride=5)
    np.testing.assert_allclose(shown.probabilities, shown.probability, rtol=0, atol=1e-7)


def test_mean_is_the_pictures_own_mean_colour() -> None:
    net, image = around(nn.Identity), picture((6, 6))
    shown = occlusion(net, image, size=6, fill="mean")
    with torch.no_grad():
        covered = image.mean(dim=(1, 2), keepdim=True).expand_as(image)
        share = net.module(covered[None]).softmax(dim=1)[0, shown.target.index]
    assert shown.probabilities.item() == pytest.approx(share.item(), abs=1e-6)


def test_blur_leaves_an_even_picture_as_it_is() -> None:
    net, image = around(nn.Identity), torch.full((3, *SIZE), 0.3).double()
    shown = occlusion(net, image, size=6, stride=5, fill="blur")
    np.testing.assert_allclose(shown.probabilities, shown.probability, rtol=0, atol=1e-7)
    other = occlusion(net, picture(), size=6, stride=5, fill="blur")
    assert other.probabilities.std() > 1e-5


def test_the_watched_map_is_the_one_with_the_largest_total() -> None:
    net = around(nn.Identity)
    shown = occlusion(net, picture(), size=6, stride=6)
    with torch.no_grad():
        totals = net.module[:5](picture()[None])[0].sum(dim=(1, 2))  # type: ignore[index]
    assert shown.unit is not None
    assert (shown.unit.layer, shown.unit.channel) == ("4", int(totals.argmax()))
    assert shown.activation == pytest.approx(totals.max().item())


def test_heat_is_the_mean_cost_of_the_occluders_over_a_pixel() -> None:
    shown = occlusion(around(nn.Identity), picture(), size=7, stride=4, target=1)
    y, x = 9, 13
    costs = [
        shown.probability - shown.probabilities[row, column]
        for row, top in enumerate(shown.tops)
        for column, left in enumerate(shown.lefts)
        if top <= y < top + 7 and left <= x < left + 7
    ]
    assert shown.heat.values[y, x] == pytest.approx(np.mean(costs), abs=1e-6)


@pytest.mark.parametrize("name", ["convolution", "half changed", "in place", "dropout"])
def test_occlusion_leaves_no_trace(name: str) -> None:
    net, image = around(PARTS[name]), picture()
    net.module.train()
    kept = image.clone()
    with no_trace(net.module):
        occlusion(net, image, size=6, stride=6)
    assert torch.equal(image, kept)


def test_a_grey_network_is_covered_too() -> None:
    net = Network(built(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), Means())))
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
def test_what_cannot_be_covered_is_told_in_a_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(RetroscopeError, match=says) as refusal:
        occlusion(around(nn.Identity), picture(), **options)
    assert "\n" not in str(refusal.value)
