"""Activations, projections and heat maps of volumes and signals, from their definitions.

An image is a volume of one slice: a network of images whose filters get a depth of 1 answers about
the volume what the network of images answers about the image. And no axis is special: turned
volumes under turned filters have turned projections.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from tools.coverage.rules_by_patching import replaced_rectifiers
from torch import nn

import retroscope as rs
from retroscope.engine.region import RegionOutput
from retroscope.errors import ImageError, RetroscopeError, UnitError
from retroscope.methods.deconv.deconv import deconv_many
from retroscope.network import Network
from retroscope.render.draw import draw
from retroscope.render.filter_figures import filter_description
from retroscope.results.projections import Projection
from tests.conftest import always_crops, built, never_crops, numbers
from tests.reference.volumes import SIGNAL_NETWORKS, VOLUME_NETWORKS, Make, Residual

VOLUME, SIGNAL = (6, 9, 8), (26,)
RULES = ("gradient", "guided", "deconvnet")


def opened(make: Make, channels: int, size: tuple[int, ...]) -> Network:
    module = built(make).double()
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(numbers(*buffer.shape, seed=7).abs() + 0.3)
    return Network(module, input_size=size, mean=[0.0] * channels)


def some_units(net: Network, count: int = 3) -> Iterator[rs.Unit]:
    """A corner, the middle and a place between, of each layer with positions."""
    for layer in net.layers:
        places = [
            tuple(0 for _ in layer.size),
            tuple(length // 2 for length in layer.size),
            tuple(length - 1 - length // 4 for length in layer.size),
        ]
        for number, place in enumerate(dict.fromkeys(places[:count])):
            yield rs.Unit(layer.name, (number * 2) % layer.channels, place)


def module_output(net: Network, layer: str, image: torch.Tensor) -> torch.Tensor:
    """What a submodule returns, by a hook of torch's own."""
    outputs: list[torch.Tensor] = []
    module = net.module.get_submodule(layer)
    hook = module.register_forward_hook(lambda _m, _i, output: outputs.append(output.clone()))
    try:
        net.module(image[None])
    finally:
        hook.remove()
    return outputs[0]


def projection_by_autograd(
    net: Network, unit: rs.Unit, image: torch.Tensor, rules: str
) -> torch.Tensor:
    pixels = image.clone().requires_grad_()
    with replaced_rectifiers(rules) if rules != "gradient" else torch.enable_grad():
        maps = module_output(net, unit.layer, pixels)
    assert unit.channel is not None
    assert unit.position is not None
    activation = maps[(0, unit.channel, *unit.position[: maps.dim() - 2])]
    (signal,) = torch.autograd.grad(activation, pixels, activation.detach())
    return signal


CASES: list[tuple[Make, int, tuple[int, ...]]] = [
    *((make, 1, (8, 8, 8) if "unet" in name else VOLUME) for name, make in VOLUME_NETWORKS.items()),
    (Residual, 3, (5, 10, 9)),
    *((make, 2, SIGNAL) for make in SIGNAL_NETWORKS.values()),
]


def modules_of(net: Network) -> dict[str, nn.Module]:
    return {
        layer.name: module
        for layer in net.layers
        for name, module in net.module.named_modules()
        if name == layer.name
    }


@pytest.mark.parametrize("case", range(len(CASES)))
def test_activations_are_what_the_modules_return(case: int) -> None:
    make, channels, size = CASES[case]
    net = opened(make, channels, size)
    image = numbers(channels, *size, seed=1)
    names = modules_of(net)
    assert names
    for name in names:
        maps, expected = rs.activations(net, name, image).maps, module_output(net, name, image)[0]
        assert maps.shape == (net[name].channels, *net[name].size)
        np.testing.assert_allclose(maps.reshape(-1), expected.detach().reshape(-1), 1e-5, 1e-6)


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("rules", RULES)
def test_projections_are_those_of_autograd_with_other_rectifiers(case: int, rules: str) -> None:
    make, channels, size = CASES[case]
    net = opened(make, channels, size)
    image = numbers(channels, *size, seed=2)
    names = modules_of(net)
    units = [unit for unit in some_units(net) if unit.layer in names]
    for unit in units:
        projection = rs.deconv(net, unit, image, rules=rules)
        expected = projection_by_autograd(net, unit, image, rules)
        found = projection.to_tensor()
        assert found.shape == expected.shape
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9 * scale + 1e-12)


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("rules", ["deconvnet", "relevance", "contrast"])
def test_crops_and_batches_give_what_whole_volumes_give(case: int, rules: str) -> None:
    make, channels, size = CASES[case]
    net = opened(make, channels, size)
    images = [numbers(channels, *size, seed=seed) for seed in (3, 4)]
    requests = [(unit, image) for unit in some_units(net) for image in images]
    with never_crops():
        expected = [next(deconv_many(net, [request], rules=rules)) for request in requests]
        batched = list(deconv_many(net, requests, rules=rules))
    with always_crops():
        cropped = list(deconv_many(net, requests, rules=rules))
    for one, two, three in zip(expected, batched, cropped, strict=True):
        assert_equal(two, one)
        assert_equal(three, one)


def assert_equal(found: Projection, expected: Projection) -> None:
    assert (found.unit, found.box, found.size) == (expected.unit, expected.box, expected.size)
    scale = abs(expected.pixels).max(initial=0)
    np.testing.assert_allclose(found.activation, expected.activation, 1e-9, 1e-12)
    np.testing.assert_allclose(found.pixels, expected.pixels, 0, 1e-8 * scale + 1e-13)


def test_units_of_a_volume_are_run_from_crops(looks: list[RegionOutput | None]) -> None:
    net = opened(VOLUME_NETWORKS["plain"], 1, (16, 20, 20))
    image = numbers(1, 16, 20, 20)
    projection = rs.deconv(net, "2.0:1@4,6,6", image, rules="gradient")
    assert projection.pixels.shape == (*projection.box.size(3), 1)
    assert looks
    assert looks[-1] is not None
    assert looks[-1].output.shape[2:] < torch.Size(net["2.0"].size)


# Images as volumes of one slice


def as_3d(module: nn.Sequential) -> nn.Module:
    """The layers of a network of images for volumes of one slice, with the same weights."""
    pairs: dict[type[nn.Module], Callable[..., nn.Module]] = {
        nn.Conv2d: lambda m: _with_weights(
            nn.Conv3d(
                m.in_channels,
                m.out_channels,
                (1, *m.kernel_size),
                (1, *m.stride),
                (0, *m.padding),
                (1, *m.dilation),
                m.groups,
            ),
            m.weight[:, :, None],
            m.bias,
        ),
        nn.MaxPool2d: lambda m: nn.MaxPool3d(
            (1, *_pair(m.kernel_size)), (1, *_pair(m.stride)), (0, *_pair(m.padding))
        ),
        nn.AdaptiveAvgPool2d: lambda _: nn.AdaptiveAvgPool3d(1),
        nn.BatchNorm2d: _copy_of_norm,
    }
    parts = [pairs[type(part)](part) if type(part) in pairs else part for part in module]
    return nn.Sequential(*parts).eval()


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _with_weights(module: Any, weight: torch.Tensor, bias: torch.Tensor) -> nn.Module:
    module.weight, module.bias = (
        nn.Parameter(weight.detach().clone()),
        nn.Parameter(bias.detach().clone()),
    )
    return module  # type: ignore[no-any-return]


def _copy_of_norm(norm: nn.BatchNorm2d) -> nn.Module:
    volume_norm = nn.BatchNorm3d(norm.num_features)
    volume_norm.load_state_dict(norm.state_dict())
    return volume_norm.double()


def image_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 5, 5, 2, 2),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 4, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )


@pytest.fixture(scope="module")
def pair_of_networks() -> tuple[Network, Network]:
    flat = built(image_network).double()
    assert isinstance(flat, nn.Sequential)
    mean = [0.0] * 3
    return (
        Network(flat, input_size=(22, 18), mean=mean),
        Network(as_3d(flat).double(), input_size=(1, 22, 18), mean=mean),
    )


IMAGE = numbers(3, 22, 18, seed=5)


@pytest.mark.parametrize("rules", ["gradient", "guided", "deconvnet", "relevance", "contrast"])
def test_a_volume_of_one_slice_is_projected_as_the_image(
    pair_of_networks: tuple[Network, Network], rules: str
) -> None:
    flat, deep = pair_of_networks
    for layer, unit in [("4", "4:3@2,1"), ("5", "5:1"), ("7", "7:2@0,3"), ("6", "6:0@*")]:
        image = rs.deconv(flat, unit, IMAGE, rules=rules)
        address = unit.replace("@", "@0,") if "@" in unit and "*" not in unit else unit
        volume = rs.deconv(deep, address, IMAGE[:, None], rules=rules)
        np.testing.assert_allclose(volume.activation, image.activation, 1e-9)
        scale = abs(image.pixels).max()
        np.testing.assert_allclose(volume.full()[0], image.full(), 0, 1e-9 * scale)
        assert volume.box.depth == 1
        assert layer == volume.unit.layer


def test_a_volume_may_be_shifted_as_an_image(pair_of_networks: tuple[Network, Network]) -> None:
    flat, _ = pair_of_networks
    volume = opened(VOLUME_NETWORKS["plain"], 1, VOLUME)
    shifted = rs.deconv(volume, "2.0:1@2,2,2", numbers(1, *VOLUME), shifts=2, rules="gradient")
    assert shifted.pixels.shape[:-1] == shifted.box.size(3)
    assert "averaged over 8 shifts" in shifted.notes[-1]
    assert "averaged over 4" in rs.deconv(flat, "4:1@2,2", IMAGE, shifts=2).notes[-1]


CAMS = ["gradcam", "gradcam++", "hirescam", "layercam", "xgradcam", "eigencam", "scorecam"]
CAMS += ["ablationcam", "guided-gradcam"]


@pytest.mark.parametrize("method", CAMS)
def test_a_volume_of_one_slice_has_the_heat_map_of_the_image(
    pair_of_networks: tuple[Network, Network], method: str
) -> None:
    flat, deep = pair_of_networks
    for target in (0, 3):
        image = rs.cam(flat, IMAGE, method=method, layer="5", target=target)
        volume = rs.cam(deep, IMAGE[:, None], method=method, layer="5", target=target)
        np.testing.assert_allclose(volume.values[0], image.values, 1e-4, 1e-7)
        np.testing.assert_allclose(volume.full()[0], image.full(), 1e-4, 1e-6)
        assert volume.probability == pytest.approx(image.probability)


METHODS = ["gradient", "smoothgrad", "guided", "input_x_gradient", "integrated"]


@pytest.mark.parametrize("method", METHODS)
def test_a_volume_of_one_slice_has_the_saliency_of_the_image(
    pair_of_networks: tuple[Network, Network], method: str
) -> None:
    flat, deep = pair_of_networks
    image = rs.saliency(flat, IMAGE, method=method, target=1, steps=8, samples=3)
    volume = rs.saliency(deep, IMAGE[:, None], method=method, target=1, steps=8, samples=3)
    np.testing.assert_allclose(volume.values[0], image.values, 1e-4, 1e-7)
    unit = rs.saliency(deep, IMAGE[:, None], method=method, unit="4:2@0,3,1", steps=8, samples=3)
    flat_unit = rs.saliency(flat, IMAGE, method=method, unit="4:2@3,1", steps=8, samples=3)
    np.testing.assert_allclose(unit.values[0], flat_unit.values, 1e-4, 1e-7)


# No axis is special


def turned_by(order: tuple[int, ...], values: tuple[int, int, int]) -> tuple[int, int, int]:
    first, second, third = (values[axis] for axis in order)
    return first, second, third


TURNS = [(2, 0, 1), (1, 2, 0), (0, 2, 1)]


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("rules", ["relevance", "contrast", "deconvnet"])
def test_a_turned_volume_has_a_turned_projection(turn: tuple[int, ...], rules: str) -> None:
    def make(order: tuple[int, ...]) -> nn.Module:
        kernel, stride, pool = (
            turned_by(order, values) for values in ((2, 3, 4), (1, 2, 1), (2, 1, 2))
        )
        return nn.Sequential(
            nn.Conv3d(1, 4, kernel, stride, padding=1),
            nn.ReLU(),
            nn.MaxPool3d(pool),
            nn.Conv3d(4, 3, 3, padding=1),
            nn.ReLU(),
        )

    size, place = (7, 11, 9), (1, 3, 2)
    plain = built(lambda: make((0, 1, 2))).double()
    turned = built(lambda: make(turn)).double()
    for part, other in zip(turned, plain, strict=True):  # type: ignore[call-overload]
        if isinstance(other, nn.Conv3d):
            part.weight = nn.Parameter(other.weight.permute(0, 1, *(axis + 2 for axis in turn)))
            part.bias = other.bias
    image = numbers(1, *size, seed=8)
    first = rs.deconv(
        Network(plain, input_size=size, mean=[0.0]), rs.Unit("4", 1, place), image, rules=rules
    )
    second = rs.deconv(
        Network(turned, input_size=tuple(size[axis] for axis in turn), mean=[0.0]),
        rs.Unit("4", 1, tuple(place[axis] for axis in turn)),
        image.permute(0, *(axis + 1 for axis in turn)),
        rules=rules,
    )
    expected = first.full().transpose(*turn, 3)
    np.testing.assert_allclose(second.full(), expected, 0, 1e-9 * abs(expected).max())


# Heat in depth


def test_heat_between_slices_is_interpolated() -> None:
    values = np.zeros((2, 1, 1), np.float32)
    values[1] = 4
    heat = rs.HeatMap(values, "conv", rs.Target(0), 0.5, 1.0, "gradcam", (), (4, 2, 2))
    assert heat.full()[:, 0, 0].tolist() == [0, 1, 3, 4]
    assert heat.slice(2).values.tolist() == [[3, 3], [3, 3]]


def test_heat_of_a_volume_is_resized_along_three_axes() -> None:
    """Interpolation is exact on a ramp between the outermost centres."""
    z, y, x = np.meshgrid(*map(np.arange, (4, 5, 6)), indexing="ij")
    ramp = (z + 10 * y + 100 * x).astype(np.float32)
    heat = rs.HeatMap(ramp, "conv", rs.Target(0), 0.5, 1.0, "gradcam", (), (4, 5, 6))
    resized = heat.resize(8, 10, 12)
    assert resized.shape == (8, 10, 12)
    places = np.meshgrid(*((np.arange(2 * n) + 0.5) / 2 - 0.5 for n in (4, 5, 6)), indexing="ij")
    expected = places[0] + 10 * places[1] + 100 * places[2]
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(resized[inner], expected[inner], rtol=1e-5)
    with pytest.raises(RetroscopeError, match="of a volume to 8x9; give depth, height and width"):
        heat.resize(8, 9)


def test_cam_of_a_video_is_where_the_class_moves() -> None:
    """A head that reads the mean: Grad-CAM is the class's weights on the maps, per voxel."""
    net = opened(Residual, 3, (5, 12, 12))
    image = numbers(3, 5, 12, 12, seed=9)
    heat = rs.cam(net, image, target=2)
    maps = rs.activations(net, heat.layer, image).maps
    head = net.module.get_submodule("head")
    assert isinstance(head, nn.Linear)
    weights = head.weight[2].detach().numpy() / maps[0].size
    expected = np.tensordot(weights, maps, axes=1).clip(min=0)
    np.testing.assert_allclose(heat.values, expected, 1e-4, 1e-6)
    assert heat.values.shape == net[heat.layer].size


# Lists, mistakes


def test_a_batch_of_volumes_is_a_list() -> None:
    net = opened(VOLUME_NETWORKS["plain"], 1, VOLUME)
    batch = numbers(2, 1, *VOLUME)
    results = rs.activations(net, "0", batch)
    assert [result.maps.shape for result in results] == [(4, *VOLUME)] * 2
    assert rs.activations(net, "0", batch[0]).maps.shape == (4, *VOLUME)


def test_a_segmenter_of_volumes_is_explained_by_a_function_of_its_output() -> None:
    net = opened(VOLUME_NETWORKS["unet"], 1, (8, 8, 8))
    scan = numbers(1, 8, 8, 8)
    heat = rs.cam(net, scan, layer="bottom.1", target=lambda scores: scores[0, 1].mean())
    assert heat.values.shape == (2, 2, 2)
    with pytest.raises(RetroscopeError, match="give a target, CLASS@Z,Y,X for a voxel"):
        rs.cam(net, scan)


def test_pixels_of_a_volume_may_be_a_tensor_of_bytes() -> None:
    net = opened(VOLUME_NETWORKS["plain"], 1, VOLUME)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, *VOLUME), np.uint8))
    image = net.prepare(pixels)
    torch.testing.assert_close(image.tensor, pixels.double() / 255, rtol=1e-6, atol=1e-6)
    assert image.rgb.shape == (*VOLUME, 3)


def mistakes() -> Iterator[tuple[Callable[[Network], object], type[RetroscopeError], str]]:
    image = numbers(1, *VOLUME)
    yield (
        lambda net: rs.deconv(net, "0:1@2,3", image),
        UnitError,
        "no position 2,3 in 0; its maps are 6x9x8, so z,y,x goes from 0,0,0 to 5,8,7",
    )
    yield (
        lambda net: rs.deconv(net, "0:1", image[0]),
        ImageError,
        "takes a float tensor of (1, depth, height, width); this one is torch.float64 of (6, 9, 8)",
    )
    yield (
        lambda net: net.prepare(image[None]),
        ImageError,
        "it is a batch, give one volume of it",
    )
    yield lambda net: rs.filters(net, "2.0"), RetroscopeError, "read the maps of other layers, not"
    yield lambda net: rs.deconv(net, "0:1@0,0,0", image).slice(9), RetroscopeError, "no slice 9"


@pytest.mark.parametrize("mistake", list(mistakes()))
def test_a_mistake_with_volumes_gets_one_clear_line(
    mistake: tuple[Callable[[Network], object], type[RetroscopeError], str],
) -> None:
    call, kind, text = mistake
    net = opened(VOLUME_NETWORKS["plain"], 1, VOLUME)
    with pytest.raises(kind) as caught:
        call(net)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_units_have_boxes_in_the_volume() -> None:
    net = opened(VOLUME_NETWORKS["plain"], 1, VOLUME)
    image = numbers(1, *VOLUME)
    layer = net["2.0"]
    requests = [(rs.Unit("2.0", 0, place), image) for place in product(*map(range, layer.size))]
    for projection in deconv_many(net, requests, rules="gradient"):
        assert projection.pixels.shape == (*projection.box.size(3), 1)
        assert projection.patch is not None
        assert projection.patch.shape == (*projection.box.size(3), 3)
        assert projection.lit().shape == projection.patch.shape


# Filters


def test_filters_of_a_volume_are_its_weights_in_slices() -> None:
    net = opened(lambda: nn.Sequential(nn.Conv3d(3, 5, (2, 4, 3)), nn.ReLU()), 3, VOLUME)
    found = rs.filters(net)
    part = net.module.get_submodule("0")
    assert isinstance(part, nn.Conv3d)
    weights = part.weight.detach().float().numpy()
    np.testing.assert_array_equal(np.moveaxis(found.weights, -1, 1), weights)
    assert found.to_tensor().shape == weights.shape
    drawn = np.array(draw(found, bare=True, scale=1, columns=2))
    assert drawn.shape == (5 * 4 + 4 * 4, 2 * 3 + 1, 3)  # a column of two slices each, with gaps
    scale = abs(weights[0]).max()
    grey = drawn[:4, :3].astype(float) - 128
    expected = 127 * found.weights[0, 0] / scale
    np.testing.assert_allclose(grey, expected, rtol=0, atol=1)
    assert "5 filters of 2x4x3 in colour, slices in a row" in filter_description(found)


def test_filters_of_a_signal_are_drawn_as_bands() -> None:
    net = opened(SIGNAL_NETWORKS["plain"], 2, SIGNAL)
    found = rs.filters(net)
    assert found.weights.shape == (4, 5, 2)
    assert draw(found).width > 100
