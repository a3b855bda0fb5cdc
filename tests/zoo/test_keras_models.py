"""Keras' networks: opened, named, fed and looked back through as Keras itself computes them."""

import json
import os
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch

import retroscope as rs
from retroscope.engine.region import RegionOutput
from retroscope.errors import ModelError
from retroscope.zoo.keras_models import _import_keras
from tests.conftest import never_crops, no_trace, surroundings

if find_spec("keras") is None:
    pytest.skip("keras is not installed", allow_module_level=True)

# Keras 3.15 saves a parameter in a way that numpy 2 no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

SIZE = (69, 84)
NETWORKS = {
    "VGG16": ("block1_conv2", "block2_pool", "block3_conv3"),
    "ResNet50": ("pool1_pool", "conv2_block2_out", "conv3_block1_1_conv", "conv5_block3_out"),
    "MobileNetV2": ("Conv1_relu", "block_1_project_BN", "block_3_depthwise", "out_relu"),
}


@pytest.fixture(scope="module")
def keras() -> Any:
    return _import_keras()


@pytest.fixture(scope="module", params=NETWORKS)
def net(request: pytest.FixtureRequest, keras: Any) -> rs.Network:
    """A network of any input size in float64, so that what is compared is not lost in rounding."""
    name = f"keras/{request.param}?include_top=False&input_shape=(None,None,3)"
    keras.config.set_floatx("float64")
    try:
        net = rs.open_model(name, random_weights=0, device="cpu")
    finally:
        keras.config.set_floatx("float32")
    shaken(net)
    return net


def shaken(net: rs.Network) -> None:
    """Biases and statistics are all zero and one at first, and would hide what is left out."""
    numbers = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in net.module.parameters():
            if parameter.dim() == 1:
                noise = torch.rand(parameter.shape, generator=numbers, dtype=parameter.dtype)
                parameter.add_(noise * 0.5)


def own(net: rs.Network) -> Any:
    """The model as Keras has it."""
    return net.module._run_graph.__self__  # type: ignore[union-attr]


def by_keras(keras: Any, net: rs.Network, layer: str, image: torch.Tensor) -> torch.Tensor:
    """What a layer gives, (channels, height, width), when Keras runs its model by its own code."""
    part = keras.Model(own(net).inputs, own(net).get_layer(layer).output)
    with keras.device("cpu"):
        maps: torch.Tensor = part(image.permute(1, 2, 0)[None], training=False)[0]
    return maps.permute(2, 0, 1)


def picture(seed: int = 0) -> torch.Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(3, *SIZE, dtype=torch.float64, generator=numbers)


def layers_of(net: rs.Network) -> tuple[str, ...]:
    return NETWORKS[net.name.removeprefix("keras/")]


# What a network computes


def test_layers_have_their_keras_names_and_give_what_keras_gives(
    net: rs.Network, keras: Any
) -> None:
    for name in layers_of(net):
        shown = rs.activations(net, name, picture())
        expected = by_keras(keras, net, name, picture()).detach().numpy()
        close(shown.maps, expected)


def test_every_keras_layer_that_computes_maps_is_listed(net: rs.Network) -> None:
    listed = net.survey(SIZE).layers
    known = {name for one in listed for name in (one.name, *one.aliases)}
    silent = ("InputLayer", "ZeroPadding2D")
    wanted = {one.name for one in own(net).layers if type(one).__name__ not in silent}
    assert wanted <= known


def close(found: Any, expected: Any) -> None:
    """Equal but for float32, in which Keras normalises whatever it is given."""
    scale = float(np.abs(expected).max())
    assert scale > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


def units(net: rs.Network, layer: str) -> list[rs.Unit]:
    height, width = net.layer(layer, SIZE).size
    places = [(0, width - 1), (height // 2, width // 2), (height - 1, 0)]
    return [rs.Unit(layer, 1, place) for place in places]


def test_projections_by_the_gradient_are_those_of_keras_own_code(
    net: rs.Network, keras: Any
) -> None:
    for name in layers_of(net):
        for unit in units(net, name):
            assert unit.position is not None
            leaf = picture().requires_grad_()
            fired = by_keras(keras, net, name, leaf)[(1, *unit.position)]
            (slope,) = torch.autograd.grad(fired, leaf)
            shown = rs.deconv(net, unit, picture(), rules="gradient")
            assert shown.activation == pytest.approx(fired.item(), rel=1e-5, abs=1e-5)
            expected = (slope * fired.detach()).permute(1, 2, 0).numpy()
            np.testing.assert_allclose(
                shown.full(), expected, rtol=0, atol=1e-4 * max(np.abs(expected).max(), 1e-9)
            )


def test_fields_are_what_changing_pixels_finds(net: rs.Network, keras: Any) -> None:
    for name in layers_of(net)[:3]:
        found = net.layer(name, SIZE)
        y, x = found.size[0] // 2, found.size[1] // 2
        leaf = picture(1).requires_grad_()
        maps = by_keras(keras, net, name, leaf)[:, y, x]
        (slope,) = torch.autograd.grad((maps**2).sum() + maps.sum(), leaf)
        rows, columns = (slope.abs().amax(dim=d).nonzero().flatten() for d in ((0, 2), (0, 1)))
        seen = rs.Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        assert found.field.box(y, x).clip(*SIZE) == seen


def test_projections_from_a_crop_are_those_of_the_whole_picture(
    net: rs.Network, looks: list[RegionOutput | None]
) -> None:
    for name in layers_of(net)[:3]:
        for unit in units(net, name):
            near = rs.deconv(net, unit, picture())
            with never_crops():
                whole = rs.deconv(net, unit, picture())
            scale = max(float(np.abs(whole.full()).max()), 1e-12)
            np.testing.assert_allclose(near.full(), whole.full(), rtol=0, atol=1e-6 * scale)
    assert len(looks) >= 9
    assert None not in looks


def test_looking_leaves_no_trace(net: rs.Network) -> None:
    with no_trace(net.module):
        rs.deconv(net, units(net, layers_of(net)[1])[1], picture())


# How a network is opened and fed


@pytest.mark.parametrize(
    ("name", "family"),
    [("VGG16", "vgg16"), ("MobileNetV2", "mobilenet_v2"), ("DenseNet121", "densenet")],
)
def test_pictures_are_prepared_as_keras_prepares_them(name: str, family: str, keras: Any) -> None:
    asked = "include_top=False&input_shape=(32,32,3)"
    net = rs.open_model(f"keras/{name}?{asked}", random_weights=4, device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        random_state = random.getstate()
        random.seed(int(torch.randint(2**31, ())))
        fresh = getattr(keras.applications, name)(
            weights=None, include_top=False, input_shape=(32, 32, 3)
        )
        random.setstate(random_state)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    prepare = getattr(keras.applications, family).preprocess_input
    expected = fresh(prepare(pixels[None].astype(np.float32)), training=False)
    scaled = net.preprocessing.to_input(pixels)
    with torch.no_grad():
        found = net.module(torch.from_numpy(scaled)[None])
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-5)


def test_the_same_seed_is_the_same_network_and_nobody_elses_numbers_move() -> None:
    name = "keras/InceptionV3?include_top=False&input_shape=(75,75,3)"
    rs.open_model("keras/MobileNetV2?alpha=0.35", random_weights=0)
    before = surroundings()
    nets = [rs.open_model(name, random_weights=seed, device="cpu") for seed in (0, 0, 1)]
    assert before == surroundings()
    first, again, other = ([one.detach() for one in net.module.parameters()] for net in nets)
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))
    names = [dict(net.module.named_parameters()).keys() for net in nets]
    assert names[0] == names[1]
    assert "conv2d.kernel" in names[0]  # a name that Keras made up, and counts


def test_a_network_brings_its_name_size_and_labels() -> None:
    net = rs.open_model("keras/MobileNetV2?alpha=0.35", random_weights=0, device="cpu")
    assert repr(net) == "<Network keras/MobileNetV2: 224x224 on cpu>"
    assert net.labels[281].startswith("tabby")
    assert net.layer("predictions").channels == 1000
    few = rs.open_model("keras/MobileNetV2?alpha=0.35&classes=7", random_weights=0, device="cpu")
    assert few.labels == ()
    assert few.layer("predictions").channels == 7


# Models that Keras saved


def small(keras: Any) -> Any:
    """Layers that the big networks do not have, a sequence inside, and a layer used twice."""
    layers = keras.layers
    given = keras.Input((30, 41, 3), name="picture")
    maps = layers.SeparableConv2D(6, 3, 2, "same", depth_multiplier=2, name="apart")(given)
    maps = layers.AveragePooling2D(3, 2, "same", name="mean")(maps)
    maps = layers.MaxPooling2D(2, 2, "same", name="most")(maps)
    maps = layers.DepthwiseConv2D(4, padding="same", depth_multiplier=2, name="each")(maps)
    maps = layers.Conv2D(12, 3, padding="same", dilation_rate=2, groups=3, name="wide")(maps)
    twice = layers.Conv2D(12, 2, padding="same", activation="relu", name="twice")
    maps = layers.Add(name="the.sum")([twice(twice(maps)), maps])
    inner = keras.Sequential(
        [keras.Input((None, None, 12)), layers.Conv2D(5, 1, name="deep"), layers.ReLU(name="up")],
        name="inner",
    )
    maps = keras.ops.multiply(inner(maps), 2.0)
    maps = layers.GlobalAveragePooling2D(keepdims=True, name="whole")(maps)
    return keras.Model(given, layers.Dense(4, activation="softmax", name="class")(
        layers.Flatten(name="flat")(maps)))  # fmt: skip


@pytest.fixture
def saved(keras: Any, tmp_path: Path) -> tuple[Any, Path]:
    with torch.random.fork_rng(devices=[]):
        model = small(keras)
    model.save(tmp_path / "model.keras")
    return model, tmp_path / "model.keras"


def test_a_saved_model_gives_what_it_gave(saved: tuple[Any, Path]) -> None:
    model, path = saved
    net = rs.open_model(str(path), device="cpu")
    assert net.input_size == (30, 41)
    assert "does not record how images are preprocessed" in net.inferred[0]
    image = torch.rand(2, 3, 30, 41)
    with torch.no_grad():
        expected = model(image.permute(0, 2, 3, 1), training=False)
        torch.testing.assert_close(net.module(image), expected, rtol=0, atol=1e-6)
    known = {name for one in net.layers for name in (one.name, *one.aliases)}
    assert {"apart.conv~2", "mean", "each", "wide", "the_sum", "inner.deep", "inner.up"} <= known
    assert net.layer("twice.conv~2").size == net.layer("twice.conv").size == (4, 6)
    assert net.layer("mean").channels == 6


def test_a_saved_model_is_looked_back_through(keras: Any, saved: tuple[Any, Path]) -> None:
    model, path = saved
    net = rs.open_model(str(path), device="cpu")
    image = torch.rand(3, 30, 41, generator=torch.Generator().manual_seed(0))
    part = keras.Model(model.inputs, model.get_layer("the.sum").output)
    for place in ((0, 0), (2, 3), (3, 5)):
        leaf = image.clone().requires_grad_()
        fired = part(leaf.permute(1, 2, 0)[None], training=False)[(0, *place, 7)]
        (slope,) = torch.autograd.grad(fired, leaf)
        shown = rs.deconv(net, rs.Unit("the_sum", 7, place), image, rules="gradient")
        expected = (slope * fired.detach()).permute(1, 2, 0).numpy()
        close(shown.full(), expected)


def test_a_normalisation_that_always_trains_is_run_as_keras_runs_it(
    keras: Any, tmp_path: Path
) -> None:
    given = keras.Input((12, 12, 3))
    maps = keras.layers.BatchNormalization(name="live")(given, training=True)
    keras.Model(given, maps).save(tmp_path / "live.keras")
    net = rs.open_model(str(tmp_path / "live.keras"), device="cpu")
    image = torch.rand(1, 3, 12, 12) * 9
    with torch.no_grad():
        assert net.module(image).mean().abs() < 1e-4


def rewritten(path: Path, config: dict[str, Any], to: Path) -> Path:
    """The saved model with another description of its layers."""
    with ZipFile(path) as source, ZipFile(to, "w") as target:
        for name in source.namelist():
            text = json.dumps(config).encode() if name == "config.json" else source.read(name)
            target.writestr(name, text)
    return to


@pytest.mark.parametrize(
    "layer",
    [
        {"module": "os", "class_name": "system", "config": {"command": "touch MARK"}},
        {"module": "builtins", "class_name": "exec", "config": {"source": "open('MARK', 'w')"}},
        {"module": "tests.zoo.harmful", "class_name": "Harm", "config": {"mark": "MARK"}},
    ],
)
def test_a_saved_model_runs_no_code(
    layer: dict[str, Any], saved: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = saved
    monkeypatch.chdir(path.parent)
    bad = rewritten(path, {**layer, "registered_name": None}, path.with_name("bad.keras"))
    with pytest.raises(ModelError, match=r"Keras cannot open .*bad\.keras") as refused:
        rs.open_model(str(bad))
    assert "\n" not in str(refused.value)
    assert not Path("MARK").exists()


def test_a_saved_lambda_is_refused(keras: Any, tmp_path: Path) -> None:
    given = keras.Input((12, 12, 3))
    path = tmp_path / "lambda.keras"
    keras.Model(given, keras.layers.Lambda(lambda maps: maps * 2)(given)).save(path)
    with pytest.raises(ModelError, match=r"Keras cannot open .*lambda\.keras: .*[Ll]ambda"):
        rs.open_model(str(path))


def test_models_that_are_not_of_pictures_are_refused(keras: Any, tmp_path: Path) -> None:
    flat = keras.Input((12,))
    keras.Model(flat, keras.layers.Dense(2)(flat)).save(tmp_path / "flat.keras")
    with pytest.raises(ModelError, match=r"flat\.keras has inputs of \(None, 12\)"):
        rs.open_model(str(tmp_path / "flat.keras"))


def test_a_saved_model_by_another_name_or_cut_off_or_with_arch(saved: tuple[Any, Path]) -> None:
    _, path = saved
    with pytest.raises(ModelError, match="contains its network; leave out arch"):
        rs.open_model(str(path), arch="vgg16")
    other = path.rename(path.with_name("model.pt"))
    with pytest.raises(ModelError, match=r"rename it to model\.keras"):
        rs.open_model(str(other))
    cut = path.with_name("cut.keras")
    cut.write_bytes(other.read_bytes()[:-400])
    with pytest.raises(ModelError, match=r"cut\.keras") as refused:
        rs.open_model(str(cut))
    assert "\n" not in str(refused.value)


# What goes wrong


def test_an_unknown_network_is_told_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"no keras\.applications model 'VGG61'; .*'VGG16'"):
        rs.open_model("keras/VGG61", random_weights=0)
    with pytest.raises(ModelError, match=r"cannot build keras/VGG16 with .*'widht'"):
        rs.open_model("keras/VGG16?widht=3", random_weights=0)


def test_weights_that_cannot_be_had_are_one_clear_error(
    keras: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise OSError("cannot reach the host\nand cannot say why")

    monkeypatch.setattr(keras.applications, "VGG16", fail)
    with pytest.raises(
        ModelError, match="cannot get the trained weights of keras/VGG16"
    ) as refused:
        rs.open_model("keras/VGG16")
    assert refused.value.parameter == "random_weights"
    assert "\n" not in str(refused.value)


def test_without_keras_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ModelError, match=r"pip install 'retroscope\[keras\]'"):
        rs.open_model("keras/VGG16", random_weights=0)


def test_keras_on_another_backend_is_refused(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ModelError, match="keras runs on jax in this program"):
        rs.open_model("keras/VGG16", random_weights=0)


def test_what_programs_after_us_are_told_of_a_backend_stays_as_it_was() -> None:
    lines = (
        "import os, retroscope as rs; from retroscope.zoo.keras_models import _import_keras;"
        "print(_import_keras().backend.backend(), os.environ['KERAS_BACKEND'])"
    )
    command, told = [sys.executable, "-c", lines], {**os.environ, "KERAS_BACKEND": "jax"}
    ran = subprocess.run(command, env=told, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["torch", "jax"]
