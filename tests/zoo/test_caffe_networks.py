"""Caffe's networks: their sizes and fields, and what they look like looked back through."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.errors import ModelError
from retroscope.zoo.caffe_alexnet import alexnet
from retroscope.zoo.caffe_googlenet import BRANCHES, Inception, googlenet, googlenet_shapes
from retroscope.zoo.caffe_models import ARCHITECTURES
from retroscope.zoo.caffe_vgg import vgg
from tests.conftest import built
from tests.reference.modules import Script
from tests.reference.operations import Array, Rules
from tests.reference.programs import Node, Tape, one_unit
from tests.zoo import weight_files as w


def opened(name: str) -> rs.Network:
    return rs.open_model(f"caffe/{name}", random_weights=0, device="cpu")


@pytest.fixture
def weightless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are not drawn, but blank: sizes and fields need none."""
    for init in ("kaiming_uniform_", "uniform_"):
        monkeypatch.setattr(nn.init, init, lambda tensor, *_, **__: tensor.data.zero_())


@pytest.mark.usefixtures("weightless")
def test_bvlc_alexnet_is_not_torchvisions() -> None:
    """Sizes 227, 55, 27, 13, 6; fields as published: FACTS of Caffe's model, Araujo et al. 2019."""
    net = opened("alexnet")
    assert net.input_size == (227, 227)
    found = {one.name: (one.channels, one.size[0], str(one.field)) for one in net.layers}
    assert found["conv1"] == (96, 55, "11/4/0")
    assert found["pool1"] == (96, 27, "19/8/0")
    assert found["conv2"] == (256, 27, "51/8/-16")
    assert found["pool2"] == (256, 13, "67/16/-16")
    assert [found[f"conv{k}"][0::2] for k in (3, 4, 5)] == [
        (384, "99/16/-32"), (384, "131/16/-48"), (256, "163/16/-64"),
    ]  # fmt: skip
    assert found["pool5"] == (256, 6, "195/32/-64")
    assert [found[f"fc{k}"][0] for k in (6, 7, 8)] == [4096, 4096, 1000]
    order = [one.kind for one in net.layers]
    assert order[:8] == ["conv", "relu", "norm", "pool", "conv", "relu", "norm", "pool"]


@pytest.mark.usefixtures("weightless")
def test_googlenet_has_the_sizes_of_the_papers_table() -> None:
    net = opened("googlenet")
    found = {one.name: (one.channels, *one.size) for one in net.layers}
    for name, channels, side in [
        ("conv1", 64, 112), ("pool1", 64, 56), ("conv2", 192, 56), ("pool2", 192, 28),
        ("inception_3a", 256, 28), ("inception_3b", 480, 28), ("inception_4a", 512, 14),
        ("inception_4d", 528, 14), ("inception_4e", 832, 14), ("inception_5b", 1024, 7),
    ]:  # fmt: skip
        assert found[net.layer(name).name] == (channels, side, side)
    assert found["classifier"][0] == 1000
    parameters = sum(one.numel() for one in net.module.parameters())
    assert parameters == 6_998_552


FIELDS = {
    "vgg16": "3 5|10 14|24 32 40|60 76 92|132 164 196",
    "vgg19": "3 5|10 14|24 32 40 48|68 84 100 116|156 188 220 252",
}
"""The sizes of the fields of each block's convolutions, published with the networks."""


@pytest.mark.parametrize("name", FIELDS)
def test_vgg_has_the_fields_and_the_names_that_people_know(name: str) -> None:
    convs = {layer: one for layer, one in shapes_of(w.vgg(name)).items() if "conv" in layer}
    net = rs.Network(built(lambda: vgg(name, convs)), name=name)
    fields = {one.name: one.field.y.size for one in net.layers if one.kind == "conv"}
    blocks = [[int(size) for size in block.split()] for block in FIELDS[name].split("|")]
    assert fields == {
        f"conv{block}_{inner}": size
        for block, sizes in enumerate(blocks, 1)
        for inner, size in enumerate(sizes, 1)
    }
    assert net.layer("pool5").size == (7, 7)


def test_pictures_are_fed_from_0_to_255_less_the_mean() -> None:
    nets = {row.name: row for row in ARCHITECTURES}
    assert nets["caffe/vgg16"].mean == (123.68, 116.779, 103.939)
    assert nets["caffe/alexnet"].mean == nets["caffe/googlenet"].mean
    assert nets["caffe/alexnet"].mean == (122.67891, 116.66877, 104.00699)


def test_names_of_caffes_networks_are_told() -> None:
    with pytest.raises(ModelError, match=r"no Caffe model 'vgg61'; did you mean .*'vgg16'"):
        rs.open_model("caffe/vgg61", random_weights=0)
    with pytest.raises(ModelError, match="open the path of a weight file"):
        rs.open_model("caffe/vgg16")


# Looked back through, against the definition in float64


def narrow_googlenet(*, classes: int = 5) -> dict[str, tuple[int, ...]]:
    """Every width a sixteenth of the published one."""
    shapes = googlenet_shapes(
        {
            "3a": (4, 3, 5, 2, 3, 2), "3b": (3, 2, 4, 2, 3, 2), "4a": (2, 3, 4, 2, 3, 2),
            "4b": (2, 3, 4, 2, 3, 2), "4c": (2, 3, 4, 2, 3, 2), "4d": (2, 3, 4, 2, 3, 2),
            "4e": (2, 3, 4, 2, 3, 2), "5a": (2, 3, 4, 2, 3, 2), "5b": (2, 3, 4, 2, 3, 2),
        },
        outputs=classes,
    )  # fmt: skip
    narrow = {"conv1_7x7_s2": (4, 3, 7, 7), "conv2_3x3_reduce": (4, 4, 1, 1)}
    narrow["conv2_3x3"] = (6, 4, 3, 3)
    entry = {
        name: (shape[0], 6, 1, 1)
        for name, shape in shapes.items()
        if name.startswith("inception_3a") and shape[1] == 192
    }
    return {**shapes, **narrow, **entry}


def shapes_of(layers: w.Layers) -> dict[str, tuple[int, ...]]:
    return {name: weight.shape for name, (weight, _) in layers.items()}


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, list[str]]] = {
    "alexnet": (
        lambda: alexnet(shapes_of(w.alexnet())),
        99,
        ["norm1", "conv2", "norm2", "conv4", "conv5", "fc8"],
    ),
    "caffenet": (
        lambda: alexnet(shapes_of(w.alexnet()), pool_first=True),
        99,
        ["norm1", "norm2", "conv5"],
    ),
    "vgg16": (
        lambda: vgg("vgg16", shapes_of(w.vgg()), ceil_mode=True),
        63,
        ["conv1_2", "pool2", "conv3_3", "pool4", "conv5_3", "fc8"],
    ),
    "googlenet": (
        lambda: googlenet(narrow_googlenet()),
        64,
        ["norm1", "conv2", "norm2", "inception_3a.5x5", "inception_3b.3x3", "classifier"],
    ),
}
RULES: tuple[Rules, ...] = ("deconvnet", "gradient", "guided")


def written(net: nn.Module, tape: Tape, image: Array) -> dict[str, Node]:
    """The network on a tape. An inception's branches all take its input and are put together."""
    script = Script(net, tape)
    x = tape.input(image)
    for name, part in net.named_children():
        x = _inception(script, name, x) if isinstance(part, Inception) else script(name, x)
    return script.nodes


def _inception(script: Script, home: str, x: Node) -> Node:
    ends = []
    for branch in BRANCHES:
        y = x
        for name in branch:
            y = script(f"{home}.{name}", y)
            y = y if name == "pool" else script(f"{home}.relu_{name}", y)
        ends.append(y)
    return script.tape.concat(*ends)


@cache
def on_tape(name: str) -> tuple[rs.Network, Array, Tape, dict[str, Node]]:
    """A narrow network, a picture strong enough for its norms to matter, and both on a tape."""
    make, side, _ = NETWORKS[name]
    module, tape = built(make).double(), Tape()
    for one in module.parameters():
        one.data.mul_(1.5)
    image = 300 * np.random.default_rng(0).normal(size=(3, side, side))
    net = rs.Network(module, input_size=(side, side), name=name)
    return net, image, tape, written(module, tape, image)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_projections_through_caffes_networks_are_the_definitions(name: str, rules: Rules) -> None:
    net, image, tape, nodes = on_tape(name)
    for layer in NETWORKS[name][2]:
        value = nodes[layer].value
        maps = value.reshape(value.shape[0], *(value.shape[1:] or (1, 1)))
        places = {(0, 0), (maps.shape[1] // 2, maps.shape[2] // 2)}
        for channel, (y, x) in enumerate(sorted(places)):
            unit = rs.Unit(layer, channel, (y, x))
            shown = rs.deconv(net, unit, torch.from_numpy(image), rules=rules)
            start = one_unit(maps, (channel, y, x)).reshape(value.shape)
            expected = tape.project(nodes[layer], start, rules)
            bound = 1e-9 * abs(expected).max() + 1e-15
            found = shown.full().transpose(2, 0, 1)
            np.testing.assert_allclose(found, expected, rtol=0, atol=bound, err_msg=layer)


def test_norms_that_pass_signals_through_are_not_norms_that_divide_them() -> None:
    """The picture above is strong enough to tell one from the other."""
    _, _, tape, nodes = on_tape("alexnet")
    start = one_unit(nodes["norm1"].value, (0, 3, 3))
    through, divided = (tape.project(nodes["norm1"], start, one) for one in RULES[:2])
    assert nodes["relu1"].value[0, 3, 3] > 1.1 * nodes["norm1"].value[0, 3, 3] > 0
    assert abs(through - divided).max() > 0.05 * abs(through).max()


@pytest.mark.parametrize("home", ["/", "_"])
@pytest.mark.parametrize(
    "write", [partial(w.caffemodel, old=True), partial(w.caffemodel, old=False)]
)
def test_googlenets_file_answers_as_the_network_it_was_saved_from(
    write: Callable[..., None], home: str, tmp_path: Path
) -> None:
    path = tmp_path / "googlenet.caffemodel"
    layers = w.numbers(narrow_googlenet(classes=1000))
    named = {_with(home, name): one for name, one in layers.items()}
    helper = w.numbers({"loss1/conv": (4, 8, 1, 1), "loss1/classifier": (5, 4)})
    write(path, {**named, **helper})
    net = rs.open_model(str(path), device="cpu", resize="stretch")
    picture = np.random.default_rng(1).integers(0, 256, (224, 224, 3), np.uint8)
    fed = w.fed(picture, colour="BGR", mean=w.BVLC).double()
    found = net.module.eval()(net.prepare(rs.Image(picture)).tensor[None])
    expected = googlenet_answers(layers, fed)
    torch.testing.assert_close(
        found.double(), expected, rtol=0, atol=1e-5 * expected.abs().max().item()
    )
    assert net.labels[281] == "tabby"
    assert any("2 layers of auxiliary classifiers" in said for said in net.inferred)
    write(path, {name: one for name, one in named.items() if "4b" not in name or "5x5" not in name})
    with pytest.raises(ModelError, match="has no layer 'inception_4b_5x5_reduce', unlike"):
        rs.open_model(str(path))


def _with(home: str, name: str) -> str:
    if not name.startswith("inception"):
        return name.replace("_", home, 1)
    inception, number, part = name.split("_", 2)
    return f"{inception}_{number}{home}{part}"


def googlenet_answers(layers: w.Layers, x: torch.Tensor) -> torch.Tensor:
    """Szegedy et al. 2014, as Caffe's description of the network has it."""

    def conv(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight, bias = (torch.from_numpy(one).double() for one in layers[name])
        padding = weight.shape[2] // 2
        return nn.functional.conv2d(x, weight, bias, stride, padding).relu()

    x = w._norm(w._pool(conv("conv1_7x7_s2", x, 2)))
    x = conv("conv2_3x3", conv("conv2_3x3_reduce", x))
    x = w._pool(w._norm(x))
    for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        home = f"inception_{name}_"
        x = torch.cat(
            [
                conv(f"{home}1x1", x),
                conv(f"{home}3x3", conv(f"{home}3x3_reduce", x)),
                conv(f"{home}5x5", conv(f"{home}5x5_reduce", x)),
                conv(f"{home}pool_proj", nn.functional.max_pool2d(x, 3, 1, 1)),
            ],
            1,
        )
        x = w._pool(x) if name in ("3b", "4e") else x
    weight, bias = (torch.from_numpy(one).double() for one in layers["loss3_classifier"])
    return nn.functional.linear(nn.functional.avg_pool2d(x, 7).flatten(1), weight, bias)
