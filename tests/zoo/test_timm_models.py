"""timm's networks: opened, fed as timm feeds them, and looked back through their SAME padding."""

import sys
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.errors import ModelError
from retroscope.results.layers import Layer

timm: Any = pytest.importorskip("timm")
SMALL, SAME = "timm/resnet10t", "timm/tf_efficientnet_lite0"


def picture(height: int, width: int) -> PIL.Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return PIL.Image.fromarray(pixels)


@pytest.fixture(scope="module")
def small() -> rs.Network:
    return rs.open_model(SMALL, random_weights=0, device="cpu")


@pytest.fixture(scope="module")
def same() -> rs.Network:
    net = rs.open_model(SAME, random_weights=0, device="cpu")
    net.module.double()
    return net


# Opening


def test_a_network_brings_its_name_size_and_labels(small: rs.Network) -> None:
    assert repr(small) == "<Network timm/resnet10t: 176x176 on cpu>"
    assert len(small.labels) == small.layers[-1].channels == 1000
    assert small.labels[281].startswith("tabby")


def test_the_same_seed_is_the_same_network(small: rs.Network) -> None:
    again = rs.open_model(SMALL, random_weights=0, device="cpu").module.state_dict()
    first = small.module.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("size", [(300, 451), (451, 300), (97, 61)])
@pytest.mark.parametrize("network", ["small", "same"])
def test_a_picture_is_prepared_as_timm_prepares_it(
    network: str, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    net: rs.Network = request.getfixturevalue(network)
    config = timm.data.resolve_model_data_config(net.module)
    expected = timm.data.create_transform(**config, is_training=False)(picture(*size))
    numbers = net.prepare(picture(*size)).tensor.float()
    torch.testing.assert_close(numbers, expected, rtol=0, atol=1e-6)


def test_a_network_that_squashes_its_pictures_is_fed_squashed_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = {
        "input_size": (3, 24, 32), "crop_pct": 1.0, "crop_mode": "squash",
        "interpolation": "bicubic", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5),
    }  # fmt: skip
    monkeypatch.setattr(timm.data, "resolve_model_data_config", lambda _: config)
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: nn.Conv2d(3, 2, 3))
    net = rs.open_model(SMALL, random_weights=0, device="cpu")
    expected = timm.data.create_transform(**config, is_training=False)(picture(40, 90))
    torch.testing.assert_close(net.prepare(picture(40, 90)).tensor, expected, rtol=0, atol=1e-6)


def test_a_network_of_unknown_classes_has_no_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm.data, "infer_imagenet_subset", lambda _: None)
    assert rs.open_model(SMALL, random_weights=0).labels == ()


def test_builders_take_arguments_and_channels_have_each_a_mean() -> None:
    for channels in (1, 4):
        net = rs.open_model(f"{SMALL}?in_chans={channels}&num_classes=6", random_weights=0)
        assert (net.preprocessing.channels, net.layers[-1].channels) == (channels, 6)
        assert net.preprocessing.mean[0] == pytest.approx(sum(timm.data.IMAGENET_DEFAULT_MEAN) / 3)
        assert net.labels == ()
    with pytest.raises(ModelError, match=f"cannot build {SMALL} with .*'widht'"):
        rs.open_model(f"{SMALL}?widht=3", random_weights=0)


def test_a_transformer_of_one_size_is_rebuilt_for_another() -> None:
    name = "timm/vit_tiny_patch16_224"
    net = rs.open_model(name, random_weights=0, device="cpu", input_size=(32, 48))
    assert net.input_size == (32, 48)
    assert net.layers[-1].channels == 1000


# SAME padding, which is not the same on both sides


SIZES = [(64, 64), (65, 70)]


def plain_gradient(
    net: rs.Network, layer: Layer, unit: tuple[int, int, int], image: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """What a unit fires, and its gradient times that, by torch alone on the whole picture."""
    kept: list[torch.Tensor] = []
    part = net.module.get_submodule(layer.name)
    hook = part.register_forward_hook(lambda *seen: kept.append(seen[2]))
    pixels = image.clone().requires_grad_()
    with torch.enable_grad():
        net.module.eval()(pixels[None])
    hook.remove()
    fired = kept[0][(0, *unit)]
    (slope,) = torch.autograd.grad(fired, pixels)
    return fired.item(), (slope * fired).detach()


def some_convolutions(net: rs.Network, size: tuple[int, int]) -> list[Layer]:
    """Convolutions that see a part of the picture, three of them padded as SAME, and the last."""
    layers = [layer for layer in net.survey(size).layers if layer.kind == "conv"]
    assert len(layers) == 49
    return [*layers[:20:4], layers[-1]]


@pytest.mark.parametrize("size", SIZES)
def test_projections_through_same_padding_are_those_of_the_whole_picture(
    same: rs.Network, size: tuple[int, int]
) -> None:
    image = torch.randn(3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for layer in some_convolutions(same, size):
        height, width = layer.size
        for y, x in {(0, width - 1), (height // 2, width // 2), (height - 1, width - 1)}:
            shown = rs.deconv(same, rs.Unit(layer.name, 1, (y, x)), image, rules="gradient")
            fired, expected = plain_gradient(same, layer, (1, y, x), image)
            assert shown.activation == pytest.approx(fired, rel=1e-9)
            found = torch.from_numpy(shown.full()).permute(2, 0, 1)
            scale = expected.abs().max().item()
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("size", SIZES)
def test_fields_through_same_padding_hold_what_a_unit_sees_and_reach_its_ends(
    same: rs.Network, size: tuple[int, int]
) -> None:
    image = torch.randn(3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for layer in some_convolutions(same, size):
        y, x = layer.size[0] // 2, layer.size[1] // 2
        _, slope = plain_gradient(same, layer, (0, y, x), image)
        rows, columns = (
            slope.abs().amax(dim=dims).nonzero().flatten() for dims in ((0, 2), (0, 1))
        )
        seen = rs.Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        assert layer.field.box(y, x).clip(*size) == seen


# What goes wrong


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet10", "'resnet10t'"),
        ("resnet10t.c3_in1", "'resnet10t.c3_in1k'"),
        ("xyzzyxyzzy", r"timm\.list_models\(\) lists them"),
        ("", r"timm\.list_models\(\) lists them"),
    ],
)
def test_an_unknown_network_is_told_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ModelError, match=f"no timm model '{name}'; .*{near}"):
        rs.open_model(f"timm/{name}", random_weights=0)


def test_weights_that_cannot_be_had_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("cannot reach the hub\nand cannot say why")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(
        ModelError, match="cannot get the trained weights of timm/resnet10t"
    ) as refused:
        rs.open_model(SMALL)
    assert "cannot reach the hub" in str(refused.value)
    assert refused.value.parameter == "random_weights"
    assert "\n" not in str(refused.value)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"pip install 'retroscope\[timm\]'"):
        rs.open_model(SMALL, random_weights=0)
