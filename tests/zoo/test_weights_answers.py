"""Every format of weight file opens as a network that answers as what it was saved from."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import retroscope as rs
from retroscope.errors import ModelError
from retroscope.zoo.weights import oxford_fingerprint
from tests.zoo import weight_files as w

pytest.importorskip("h5py")

Write = Callable[[Path, w.Layers], None]


def pair(weight: w.Array, bias: w.Array) -> object:
    return [weight, bias]


def named(weight: w.Array, bias: w.Array) -> object:
    return {"weights": weight, "biases": bias}


VGG_FILES: dict[str, tuple[str, Write]] = {
    "keras_0_3": ("BGR", w.keras_first),
    "keras_0_3_uncounted": ("BGR", partial(w.keras_first, counted=False)),
    "applications_tf": ("BGR", partial(w.applications, kernels="tf")),
    "applications_th": ("BGR", partial(w.applications, kernels="th")),
    "keras_3": ("BGR", w.keras_three),
    "keras_3_old": ("BGR", partial(w.keras_three, home="_layer_checkpoint_dependencies")),
    "npz": ("RGB", w.npz),
    "npy": ("BGR", partial(w.npy, value=pair)),
    "npy_of_python_2": ("BGR", w.npy_of_python_two),
    "caffe": ("BGR", partial(w.caffemodel, old=False)),
    "caffe_v1": ("BGR", partial(w.caffemodel, old=True)),
    "caffe_unpacked": ("BGR", partial(w.caffemodel, old=True, packed=False)),
}
"""The order of colours that each is for, and what writes it."""

ALEXNET_FILES: dict[str, Write] = {
    "npy_pairs": partial(w.npy, value=pair),
    "npy_named": partial(w.npy, value=named),
    "npy_of_python_2": w.npy_of_python_two,
    "caffe": partial(w.caffemodel, old=False),
    "caffe_v1": partial(w.caffemodel, old=True),
}


def picture(side: int) -> PIL.Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (side, side, 3), np.uint8)
    return PIL.Image.fromarray(pixels)


def answers(net: rs.Network, shown: PIL.Image.Image) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = net.module.eval()(net.prepare(shown).tensor[None])
    return found


def check_equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    size = expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * size)


def check_vgg(path: Path, layers: w.Layers, *, colour: str) -> rs.Network:
    net = rs.open_model(str(path), device="cpu", resize="stretch")
    fed = w.fed(picture(64), colour=colour, mean=w.OXFORD)
    check_equal(answers(net, picture(64)), w.vgg_answers(layers, fed))
    return net


# What it was saved from


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
@pytest.mark.parametrize("file", VGG_FILES)
def test_a_vgg_answers_as_the_network_it_was_saved_from(
    file: str, name: str, tmp_path: Path
) -> None:
    layers, path = w.vgg(name), tmp_path / "weights.npz"
    colour, write = VGG_FILES[file]
    write(path, layers)
    net = check_vgg(path, layers, colour=colour)
    assert net.input_size == (64, 64)
    assert net.layer("conv5_3").channels == net.layer("block5_conv3").channels == 6
    assert any(f"{name.upper()}: " in said for said in net.inferred)


@pytest.mark.parametrize("file", ALEXNET_FILES)
def test_bvlc_alexnet_answers_as_the_network_it_was_saved_from(file: str, tmp_path: Path) -> None:
    layers, path = w.alexnet(), tmp_path / "weights.npy"
    ALEXNET_FILES[file](path, layers)
    net = rs.open_model(str(path), device="cpu", resize="stretch")
    side, _ = net.input_size
    fed = w.fed(picture(side), colour="BGR", mean=w.BVLC)
    check_equal(answers(net, picture(side)), w.alexnet_answers(layers, fed))
    assert any("BVLC AlexNet" in said for said in net.inferred)


def test_partial_windows_count_in_the_pools_of_alexnet(tmp_path: Path) -> None:
    layers, path = w.alexnet(), tmp_path / "convolutions.npy"
    convs = {name: one for name, one in layers.items() if name.startswith("conv")}
    w.npy(path, convs, value=pair)
    net = rs.open_model(str(path), device="cpu", input_size=104, resize="stretch")
    fed = w.fed(picture(104), colour="BGR", mean=w.BVLC)
    check_equal(answers(net, picture(104)), w.alexnet_maps(layers, fed))


@pytest.mark.parametrize("old", [True, False])
def test_a_caffe_model_that_pools_first_is_caffenet(old: bool, tmp_path: Path) -> None:
    layers, path = w.alexnet(), tmp_path / "net.caffemodel"
    w.caffemodel(path, layers, old=old, pool_first=True)
    net = rs.open_model(str(path), device="cpu", resize="stretch")
    side, _ = net.input_size
    fed = w.fed(picture(side), colour="BGR", mean=w.BVLC)
    expected = w.alexnet_answers(layers, fed, pool_first=True)
    check_equal(answers(net, picture(side)), expected)
    assert not torch.allclose(expected, w.alexnet_answers(layers, fed), rtol=1e-3)


def test_an_order_that_the_file_does_not_tell_is_said_by_arch(tmp_path: Path) -> None:
    layers, path = w.alexnet(), tmp_path / "net.npy"
    w.npy(path, layers, value=pair)
    net = rs.open_model(str(path), arch="caffe/caffenet", device="cpu")
    assert [one.name for one in net.layers][2:4] == ["pool1", "norm1"]
    w.caffemodel(path, layers, old=True, pool_first=True)
    with pytest.raises(ModelError, match="do not match caffe/alexnet"):
        rs.open_model(str(path), arch="caffe/alexnet")


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("backend", ["tensorflow", "theano"])
def test_a_vgg_of_ones_own_is_fed_as_it_is_said_to_be(
    backend: str, whole: bool, tmp_path: Path
) -> None:
    layers, path = w.vgg(), tmp_path / "mine.h5"
    w.keras_two(path, layers, whole=whole, backend=backend)
    net = rs.open_model(str(path), device="cpu", mean=(0.5, 0.4, 0.3), std=(0.25, 0.5, 1))
    pixels = torch.from_numpy(np.asarray(picture(64), np.float32) / 255)
    numbers = (pixels - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.25, 0.5, 1])
    expected = w.vgg_answers(layers, numbers.permute(2, 0, 1)[None])
    net = net.with_module(net.module, rs.Fit((64, 64), "stretch"))
    check_equal(answers(net, picture(64)), expected)
    assert any("does not record how images are preprocessed" in said for said in net.inferred)


@pytest.mark.parametrize("file", ["keras_0_3", "applications_tf", "keras_3", "npz", "caffe"])
def test_without_a_top_the_same_maps_come_out_at_any_size(file: str, tmp_path: Path) -> None:
    layers, path = w.vgg(), tmp_path / "notop"
    colour, write = VGG_FILES[file]
    write(path, {name: one for name, one in layers.items() if name.startswith("conv")})
    assert rs.open_model(str(path), device="cpu").input_size == (224, 224)
    net = rs.open_model(str(path), device="cpu", input_size=64, resize="stretch")
    fed = w.fed(picture(64), colour=colour, mean=w.OXFORD)
    check_equal(w.head(layers, answers(net, picture(64))), w.vgg_answers(layers, fed))
    assert net.labels == ()


def test_a_network_in_the_place_of_a_layer_is_found(tmp_path: Path) -> None:
    """Keras lists the weights of a whole network under the one layer that it stands for."""
    import h5py

    layers, path = w.vgg(), tmp_path / "nested.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"vgg16"]
        group, names = file.create_group("vgg16"), []
        for name, (weight, bias) in w.for_maps_last(layers).items():
            called = name.replace("conv1_1", "block1_conv1")
            for part, array in (("kernel:0", w.hwio(weight)), ("bias:0", bias)):
                group[f"{called}/{part}"] = array
                names.append(f"{called}/{part}".encode())
        group.attrs["weight_names"] = names
    check_vgg(path, layers, colour="BGR")


def test_the_structure_of_a_file_decides_and_not_its_name(tmp_path: Path) -> None:
    layers = w.vgg()
    for suffix in (".npy", ".h5", ".caffemodel", ".pt", ".bin", ""):
        path = tmp_path / f"weights{suffix}"
        w.npz(path, layers)
        check_vgg(path, layers, colour="RGB")


def test_half_and_double_precision_are_read(tmp_path: Path) -> None:
    layers = w.vgg()
    for kind, bound in ((np.float16, 2e-2), (np.float64, 1e-5)):
        path = tmp_path / "weights.npz"
        w.npz(path, {name: (one.astype(kind), b.astype(kind)) for name, (one, b) in layers.items()})
        net = rs.open_model(str(path), device="cpu", resize="stretch")
        expected = w.vgg_answers(layers, w.fed(picture(64), colour="RGB", mean=w.OXFORD))
        found = answers(net, picture(64))
        assert (found - expected).abs().max() <= bound * expected.abs().max()
        assert net.dtype == torch.float32


def test_a_thousand_classes_are_imagenets(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    w.npz(path, w.vgg(classes=1000))
    labels = rs.open_model(str(path), device="cpu").labels
    assert (len(labels), labels[0], labels[281]) == (1000, "tench", "tabby")
    w.npz(path, w.vgg(classes=999))
    assert rs.open_model(str(path), device="cpu").labels == ()


# Each step is needed: these files tell whether it is taken


TURN = "retroscope.zoo.weights.imported_weights._flip"
ORDER = "retroscope.zoo.caffe_models.convert_to_channels_first"
COLOURS = "retroscope.zoo.weight_file_networks.convert_to_rgb"
STEPS = [
    ("keras_0_3", TURN),
    ("applications_th", TURN),
    *((file, ORDER) for file in ("applications_tf", "keras_3", "npz", "npy", "npy_of_python_2")),
    *((file, COLOURS) for file, (colour, _) in VGG_FILES.items() if colour == "BGR"),
]


@pytest.mark.parametrize(("file", "step"), STEPS)
def test_a_step_left_out_gives_another_network(
    file: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers, path = w.vgg(), tmp_path / "weights"
    colour, write = VGG_FILES[file]
    write(path, layers)
    check_vgg(path, layers, colour=colour)
    monkeypatch.setattr(step, lambda as_it_was: as_it_was)
    with pytest.raises(AssertionError, match="not close"):
        check_vgg(path, layers, colour=colour)


def test_groups_in_another_order_give_another_network(tmp_path: Path) -> None:
    layers, path = w.alexnet(), tmp_path / "net.npy"
    w.npy(path, layers, value=pair)
    net = rs.open_model(str(path), device="cpu", resize="stretch")
    side, _ = net.input_size
    assert [net.module.get_submodule(f"conv{k}").groups for k in range(1, 6)] == [1, 2, 1, 2, 2]
    weight, bias = layers["conv4"]
    swapped = {**layers, "conv4": (np.roll(weight, 4, axis=0), np.roll(bias, 4))}
    swapped["conv5"] = (np.roll(layers["conv5"][0], 3, axis=0), np.roll(layers["conv5"][1], 3))
    other = w.alexnet_answers(swapped, w.fed(picture(side), colour="BGR", mean=w.BVLC))
    assert not torch.allclose(answers(net, picture(side)), other, rtol=1e-3)


# Oxford's own weights are known by their first numbers


OXFORD_16 = (0.73430, 0.09340, 0.06776, 0.88630)


def oxford(network: str, colour: str, *, upright: bool) -> w.Layers:
    """A network that begins as Oxford's do: the corners of its first filter's blue are known."""
    known = {"vgg16": (OXFORD_16, 0.42947, -0.35010)} | {
        "vgg19": ((0.73018, 0.06494, 0.03429, 0.82604), 0.341195, -0.336833)
    }
    biases, corner, opposite = known[network]
    layers = w.vgg(network)
    weight, bias = (one.copy() for one in layers["conv1_1"])
    blue = "BGR".index("B") if colour == "BGR" else "RGB".index("B")
    bias[:4] = biases
    ends = (corner, opposite) if upright else (opposite, corner)
    weight[0, blue, 0, 0], weight[0, blue, 2, 2] = ends
    return {**layers, "conv1_1": (weight, bias)}


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("colour", ["BGR", "RGB"])
@pytest.mark.parametrize("file", ["npz", "applications_th", "keras_0_3", "caffe"])
def test_the_fingerprint_overrules_what_the_format_says_of_turns_and_colours(
    file: str, colour: str, *, upright: bool, tmp_path: Path
) -> None:
    """Where the filters are read turned, they are turned back."""
    for network in ("vgg16", "vgg19"):
        read, path = oxford(network, colour, upright=upright), tmp_path / "weights"
        VGG_FILES[file][1](path, read)
        net = check_vgg(path, read if upright else turned(read), colour=colour)
        (said,) = [said for said in net.inferred if "Oxford" in said]
        assert f"Oxford's {network.upper()}, for {colour} and " in said
        assert ("upright" in said) is upright


def turned(layers: w.Layers) -> w.Layers:
    return {
        name: (np.ascontiguousarray(w.turn(weight)) if weight.ndim == 4 else weight, bias)
        for name, (weight, bias) in layers.items()
    }


def test_other_first_numbers_are_nobodys(tmp_path: Path) -> None:
    layers = oxford("vgg16", "BGR", upright=True)
    for change in ((0, 0, 0, 0), (0, 0, 2, 2)):
        weight = layers["conv1_1"][0].copy()
        weight[change] += 0.01
        path = tmp_path / "weights.npz"
        w.npz(path, {**layers, "conv1_1": (weight, layers["conv1_1"][1])})
        net = rs.open_model(str(path), device="cpu")
        assert any("Oxford" in said for said in net.inferred) is (change == (0, 0, 2, 2))


def test_the_fingerprints_are_those_of_the_published_weights() -> None:
    first, second = oxford_fingerprint.FINGERPRINTS
    assert (first.biases, first.corner, first.opposite) == (OXFORD_16, 0.42947, -0.35010)
    assert (second.corner, second.opposite) == (0.341195, -0.336833)
