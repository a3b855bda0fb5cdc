"""Occlusion of volumes and signals against the loop that covers each place and runs the network."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import retroscope as rs
from retroscope.errors import RetroscopeError
from retroscope.methods.gaussian_blur import Border, gaussian_blur
from retroscope.methods.occlusion import occlusion as occlusion_module
from retroscope.methods.occlusion.incremental import run_patched
from retroscope.methods.occlusion.occluders import occluder_pixels
from retroscope.network import Network
from retroscope.render.draw import draw
from retroscope.render.overlay import overlay
from retroscope.render.slices import flatten_heat
from retroscope.results.heat_json import occlusion_json
from retroscope.results.heat_maps import OcclusionMap
from tests.conftest import built, no_trace, numbers
from tests.methods.test_volumes import IMAGE, as_3d, image_network
from tests.reference.volumes import Gated, Residual, SliceBySlice

SIZE = (7, 11, 9)
Array = npt.NDArray[np.float64]


class Average(nn.Module):
    """The mean of each map."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)


class Skip(nn.Module):
    """A residual connection around two convolutions along different axes."""

    def __init__(self) -> None:
        super().__init__()
        self.space = nn.Conv3d(6, 6, (1, 3, 3), padding=(0, 1, 1))
        self.time = nn.Conv3d(6, 6, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = x + self.time(F.relu(self.space(x)))
        return maps


class Concatenated(nn.Module):
    """Maps beside what a convolution makes of them, as in a dense block or a U-Net."""

    def __init__(self) -> None:
        super().__init__()
        self.growth = nn.Conv3d(6, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.growth(x)], dim=1)[:, 3:]


PARTS: dict[str, Callable[[], nn.Module]] = {
    "nothing": nn.Identity,
    "convolution": lambda: nn.Conv3d(6, 6, 3, padding=1),
    "stride": lambda: nn.Conv3d(6, 6, (2, 3, 3), (2, 1, 2), (0, 1, 1)),
    "dilated": lambda: nn.Conv3d(6, 6, (1, 2, 3), dilation=(1, 2, 2), padding=(1, 0, 2)),
    "grouped": lambda: nn.Conv3d(6, 6, (3, 1, 1), groups=3),
    "pool": lambda: nn.MaxPool3d((2, 3, 2), (1, 2, 2), (0, 1, 1)),
    "ceil pool": lambda: nn.MaxPool3d(2, ceil_mode=True),
    "mean pool": lambda: nn.AvgPool3d((1, 2, 2)),
    "padded mean": lambda: nn.AvgPool3d(3, 1, padding=1, count_include_pad=False),
    "norm": lambda: nn.BatchNorm3d(6),
    "group norm": lambda: nn.GroupNorm(2, 6),
    "in place": lambda: nn.ReLU(inplace=True),
    "skip": Skip,
    "concatenated": Concatenated,
    "transposed": lambda: nn.ConvTranspose3d(6, 6, 2, 2),
    "trilinear": lambda: nn.Upsample(scale_factor=2, mode="trilinear"),
}


def network_with(part: Callable[[], nn.Module]) -> Network:
    def make() -> nn.Module:
        body = [nn.Conv3d(2, 6, 3, padding=1), nn.ReLU(), part(), nn.Conv3d(6, 6, 2), nn.ReLU()]
        return nn.Sequential(*body, Average(), nn.Linear(6, 5)).double()

    module = built(make)
    with torch.no_grad():
        module[-1].weight.mul_(20)  # type: ignore[index]
    return Network(module, input_size=SIZE, mean=[0.0, 0.0])


def covered(
    image: Tensor, starts: tuple[int, ...], lengths: tuple[int, ...], fill: float
) -> Tensor:
    """The image with one box filled, voxel by voxel."""
    changed = image.clone()
    for offsets in np.ndindex(*lengths):
        place = tuple(start + offset for start, offset in zip(starts, offsets, strict=True))
        changed[(slice(None), *place)] = fill
    return changed


def probabilities_by_loop(net: Network, image: Tensor, result: OcclusionMap, fill: float) -> Array:
    """All class probabilities at each position of the box."""
    rows = []
    for starts in product(*result.starts):
        with torch.no_grad():
            scores = net.module(covered(image, starts, result.occluder, fill)[None])
        rows.append(scores.softmax(dim=1)[0].numpy())
    return np.array(rows).reshape(*map(len, result.starts), -1)


def check(net: Network, image: Tensor, result: OcclusionMap, fill: float) -> None:
    expected = probabilities_by_loop(net, image, result, fill)
    assert isinstance(result.target, rs.Target)
    chosen = expected[..., result.target.index]
    np.testing.assert_allclose(result.probabilities, chosen, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(result.classes, expected.argmax(axis=-1))


@pytest.fixture
def incremental(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each batch, whether it was computed incrementally."""
    batches: list[bool] = []

    def record_batch(*args: Any, **options: Any) -> object:
        output = run_patched(*args, **options)
        batches.append(output is not None)
        return output

    monkeypatch.setattr(occlusion_module, "run_patched", record_batch)
    return batches


@pytest.mark.parametrize("name", PARTS)
def test_occlusion_of_a_volume_equals_full_runs_of_covered_volumes(
    name: str, incremental: list[bool]
) -> None:
    net, image = network_with(PARTS[name]), numbers(2, *SIZE)
    result = rs.occlusion(net, image, size=(2, 4, 3), stride=(3, 4, 2), fill=0.3, target=1)
    assert result.probabilities.shape == (3, 3, 4)
    assert result.probabilities.std() > 2e-5
    check(net, image, result, 0.3)
    assert set(incremental) == {True}


def test_the_total_of_the_recorded_map_is_that_of_the_covered_volume() -> None:
    net, image = network_with(PARTS["pool"]), numbers(2, *SIZE)
    result = rs.occlusion(net, image, size=3, stride=4, fill=0.3)
    assert result.unit is not None
    assert result.activations is not None
    for place, starts in zip(
        np.ndindex(result.activations.shape), product(*result.starts), strict=True
    ):
        changed = covered(image, starts, result.occluder, 0.3)
        maps = rs.activations(net, result.unit.layer, changed).maps
        assert result.unit.channel is not None
        total = maps[result.unit.channel].sum()
        assert result.activations[place] == pytest.approx(total, rel=1e-5)


class ChannelsLast(nn.Module):
    """A norm of all maps, so that occluders change all of them; then channels last."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x).movedim(1, -1)
        return F.layer_norm(x, x.shape[-1:]).tanh().movedim(-1, 1)


class WithoutChannels(nn.Module):
    """The mean over the channels, as a map and as three scores."""

    def forward(self, x: Tensor) -> Tensor:
        maps = x.mean(1).tanh()
        return torch.stack(
            [maps.flatten(1).amax(1), maps.flatten(1).mean(1), maps[..., 0].flatten(1).sum(1)], 1
        )


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: [nn.Conv1d(2, 6, 3), nn.GroupNorm(2, 6), nn.ReLU(), Average()], (30,)),
        (lambda: [nn.Conv1d(2, 6, 3), ChannelsLast(nn.GroupNorm(2, 6)), Average()], (30,)),
        (lambda: [nn.Conv3d(2, 6, 3), nn.GroupNorm(2, 6), nn.ReLU(), Average()], SIZE),
        (lambda: [nn.Conv3d(2, 6, 3), ChannelsLast(nn.GroupNorm(2, 6)), Average()], SIZE),
        (lambda: [nn.Conv3d(2, 6, 3), ChannelsLast(nn.Identity()), Average()], SIZE),
        (lambda: [nn.Conv2d(2, 6, 3), WithoutChannels()], (11, 9)),
    ],
)
def test_the_total_of_the_recorded_map_is_that_of_each_covered_input(
    make: Callable[[], list[nn.Module]], size: tuple[int, ...]
) -> None:
    module = built(lambda: nn.Sequential(*make())).double()
    net, image = Network(module, input_size=size, mean=[0.0, 0.0]), numbers(2, *size)
    result = rs.occlusion(net, image, size=3, stride=4, fill=0.3, target=1)
    assert result.unit is not None
    assert result.unit.channel is not None
    assert result.activations is not None
    for place, starts in zip(
        np.ndindex(result.activations.shape), product(*result.starts), strict=True
    ):
        changed = covered(image, starts, result.occluder, 0.3)
        maps = rs.activations(net, result.unit.layer, changed).maps
        total = maps[result.unit.channel].sum()
        assert result.activations[place] == pytest.approx(total, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("make", [Residual, Gated, SliceBySlice])
def test_occlusion_follows_networks_as_people_write_them(make: Callable[[], nn.Module]) -> None:
    def with_head() -> nn.Module:
        return make() if make is Residual else nn.Sequential(make(), Average())

    channels = 3 if make is Residual else 1
    net = Network(built(with_head).double(), input_size=(5, 8, 8), mean=[0.0] * channels)
    image = numbers(channels, 5, 8, 8)
    check(net, image, rs.occlusion(net, image, size=(1, 4, 4), stride=(2, 4, 2), fill=0.5), 0.5)


def test_occlusion_of_a_signal_equals_full_runs_of_covered_signals() -> None:
    def make() -> nn.Module:
        body = [nn.Conv1d(2, 6, 5, 2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 4, 3, padding=1)]
        return nn.Sequential(*body, nn.ReLU(), Average(), nn.Linear(4, 3)).double()

    net, signal = Network(built(make), input_size=(40,), mean=[0.0, 0.0]), numbers(2, 40)
    result = rs.occlusion(net, signal, size=7, stride=3, fill=-1.0)
    assert (result.tops, result.lefts[:3], result.lefts[-1]) == ((), (0, 3, 6), 33)
    check(net, signal, result, -1.0)
    assert result.heat.full().shape == (40,)
    assert draw(result).width > 40


@pytest.mark.parametrize("fill", ["mean", "grey", "blur", 0.3])
def test_a_volume_of_one_slice_has_the_occlusion_map_of_the_image(fill: str | float) -> None:
    flat = built(image_network).double()
    assert isinstance(flat, nn.Sequential)
    options: dict[str, Any] = {"fill": fill, "target": 2}
    image = rs.occlusion(
        Network(flat, input_size=(22, 18), mean=[0.0] * 3), IMAGE, size=5, stride=4, **options
    )
    deep = Network(as_3d(flat).double(), input_size=(1, 22, 18), mean=[0.0] * 3)
    volume = rs.occlusion(deep, IMAGE[:, None], size=(1, 5, 5), stride=(1, 4, 4), **options)
    assert (volume.fronts, volume.tops, volume.lefts) == ((0,), image.tops, image.lefts)
    np.testing.assert_allclose(volume.probabilities[0], image.probabilities, 0, 1e-6)
    np.testing.assert_allclose(volume.heat.values[0], image.heat.values, 0, 1e-6)


def test_a_blurred_box_keeps_a_uniform_volume() -> None:
    net = network_with(nn.Identity)
    flat = torch.full((2, *SIZE), 0.3).double()
    unchanged = rs.occlusion(net, flat, size=3, stride=4, fill="blur")
    np.testing.assert_allclose(unchanged.probabilities, unchanged.probability, rtol=0, atol=1e-7)
    varied = rs.occlusion(net, numbers(2, *SIZE), size=3, stride=4, fill="blur")
    assert varied.probabilities.std() > 1e-5


@pytest.mark.parametrize("depth", [1, 4, 16])
def test_slices_are_blurred_as_images_whatever_the_depth(depth: int) -> None:
    """If all slices are one image, their blur is that of the image."""
    image = numbers(2, 40, 32)
    clip = image[:, None].expand(-1, depth, -1, -1)
    preprocessing = network_with(nn.Identity).preprocessing
    blurred = occluder_pixels(clip, "blur", preprocessing)
    expected = occluder_pixels(image, "blur", preprocessing)
    torch.testing.assert_close(blurred, expected[:, None].expand_as(blurred))


@pytest.mark.parametrize("border", Border)
def test_a_blurred_point_is_a_product_of_gaussians(border: Border) -> None:
    volume, radius, std = torch.zeros(1, 1, 9, 11, 13).double(), 3, 1.2
    volume[0, 0, 4, 5, 6] = 1
    blurred = gaussian_blur(volume, std, radius=radius, border=border)[0, 0, 1:8, 2:9, 3:10]
    curve = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * std**2))
    curve /= curve.sum()
    expected = curve[:, None, None] * curve[:, None] * curve
    if border is Border.REPEAT:
        np.testing.assert_allclose(blurred.numpy(), expected, 0, 1e-12)
    else:  # what lies outside has no weight, so the rest has more near the border
        np.testing.assert_allclose(blurred[3, 3, 3], expected[3, 3, 3], 1e-12)
        assert bool((blurred.numpy() >= expected - 1e-12).all())


def test_heat_in_a_volume_is_the_mean_cost_of_the_boxes_over_a_voxel() -> None:
    net, image = network_with(nn.Identity), numbers(2, *SIZE)
    result = rs.occlusion(net, image, size=(3, 4, 4), stride=(2, 3, 4), target=1)
    voxel = (4, 6, 5)
    costs = [
        result.probability - result.probabilities[place]
        for place, starts in zip(
            np.ndindex(result.probabilities.shape), product(*result.starts), strict=True
        )
        if all(
            start <= at < start + length
            for start, at, length in zip(starts, voxel, result.occluder, strict=True)
        )
    ]
    assert len(costs) > 1
    assert result.heat.values[voxel] == pytest.approx(np.mean(costs), abs=1e-6)


def test_without_a_size_the_box_is_a_quarter_of_each_axis() -> None:
    net = network_with(nn.Identity)
    result = rs.occlusion(net, numbers(2, 8, 16, 12))
    assert result.occluder == (2, 4, 3)
    assert result.starts == (tuple(range(7)), tuple(range(0, 13, 2)), tuple(range(10)))
    assert rs.occlusion(net, numbers(2, 8, 16, 12), size=(4, 8, 6)).fronts == (0, 2, 4)


def test_an_image_may_be_covered_by_a_rectangle() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), Average()).double()

    net, image = Network(built(make), input_size=(14, 18)), numbers(3, 14, 18)
    result = rs.occlusion(net, image, size=(3, 9), stride=(4, 5), fill=0.2)
    assert (result.occluder, result.probabilities.shape) == ((3, 9), (4, 3))
    check(net, image, result, 0.2)


def test_the_figure_is_a_strip_of_slices() -> None:
    net, image = network_with(nn.Identity), numbers(2, *SIZE)
    result = rs.occlusion(net, image, size=3, stride=2)
    flat, slices = flatten_heat(result.heat)
    assert slices == tuple(range(7))
    assert flat.image is not None
    expected = overlay(flat.image, flat)
    drawn = np.array(draw(result, bare=True, scale=1))
    width = SIZE[2]
    assert drawn.shape == (SIZE[1], 7 * width + 6, 3)
    for place, z in enumerate(slices):
        left = place * (width + 1)
        piece = expected[:, place * width : (place + 1) * width]
        np.testing.assert_array_equal(drawn[:, left : left + width], piece)
        heat = result.heat.slice(z).values
        np.testing.assert_array_equal(flat.values[:, place * width : (place + 1) * width], heat)
    assert draw(result).height > draw(result, bare=True).height


def test_the_json_of_a_volume_has_the_fronts_of_its_boxes() -> None:
    net, image = network_with(nn.Identity), numbers(2, *SIZE)
    result = rs.occlusion(net, image, size=(2, 5, 4), stride=4)
    facts = occlusion_json(result)
    assert (facts["fronts"], facts["tops"]) == ([0, 4, 5], [0, 4, 6])
    assert facts["occluder"] == [2, 5, 4]
    np.testing.assert_allclose(facts["probabilities"], result.probabilities, rtol=1e-4)


def test_occlusion_of_a_volume_leaves_no_trace() -> None:
    net, image = network_with(PARTS["norm"]), numbers(2, *SIZE)
    original = image.clone()
    with no_trace(net.module):
        rs.occlusion(net, image, size=4, stride=4)
    assert torch.equal(image, original)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"size": (4, 4)},
            "a size of 4x4 for volumes; give one number, or one for each axis (depth, height",
        ),
        ({"size": 8}, "an occluder of 8x8x8 pixels is larger than the volume of 7x11x9; give a"),
        ({"size": 0}, "an occluder of 0 pixels with stride 1x1x1; both must be at least 1"),
        ({"stride": (1, 0, 1)}, "with stride 1x0x1; both must be at least 1"),
        ({"size": "large"}, "size of occlusion() is"),
    ],
)
def test_a_wrong_box_gets_one_clear_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(RetroscopeError) as refusal:
        rs.occlusion(network_with(nn.Identity), numbers(2, *SIZE), **options)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
