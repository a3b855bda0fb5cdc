"""State dicts: torchvision's are known by their shapes, any other network is named by `arch`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import retroscope as rs
from retroscope.errors import ModelError
from retroscope.zoo import torchvision_models
from tests.conftest import built
from tests.zoo.test_weights_answers import OXFORD_16
from tests.zoo.test_weights_refused import refused

SMALL = "squeezenet1_1"
State = dict[str, Tensor]
Save = Callable[[State, Path], None]


def network(name: str = SMALL, **arguments: object) -> nn.Module:
    return built(lambda: torchvision.models.get_model(name, weights=None, **arguments))


def pixels(side: int = 64) -> Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def check_same(path: Path, net: nn.Module, side: int = 64, arch: str | None = None) -> rs.Network:
    found = rs.open_model(str(path), arch=arch, device="cpu")
    with torch.inference_mode():
        answered, expected = found.module.eval()(pixels(side)), net(pixels(side))
    torch.testing.assert_close(answered, expected, rtol=1e-5, atol=1e-5)
    return found


def safetensors(state: State, path: Path) -> None:
    pytest.importorskip("safetensors.torch").save_file(state, path)


def legacy(state: State, path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("save", [torch.save, legacy, safetensors], ids=["zip", "legacy", "safe"])
def test_a_torchvision_network_is_known_by_its_shapes(save: Save, tmp_path: Path) -> None:
    net, path = network(), tmp_path / "weights.bin"
    save(net.state_dict(), path)
    found = check_same(path, net)
    named = rs.open_model(SMALL, random_weights=0, device="cpu")
    assert found.preprocessing == named.preprocessing
    assert found.labels == named.labels
    assert found.name == str(path)
    assert any(f"torchvision/{SMALL}" in said for said in found.inferred)


@pytest.mark.parametrize(
    "name", ["shufflenet_v2_x0_5", "mobilenet_v3_small", "mnasnet0_5", "resnet18", "regnet_y_400mf"]
)
def test_other_families_are_known_too(name: str, tmp_path: Path) -> None:
    net = network(name)
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    check_same(tmp_path / "weights.pt", net)


def test_every_torchvision_network_has_shapes_of_its_own() -> None:
    shapes = {
        name: frozenset(torchvision_models.state_dict_shapes(name).items())
        for name in torchvision_models.names()
    }
    assert len(set(shapes.values())) == len(shapes)


@pytest.mark.parametrize("name", [SMALL, "alexnet", "regnet_x_400mf"])
def test_shapes_are_those_of_the_network_itself(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        expected = torchvision.models.get_model(name, weights=None).state_dict()
    before = torch.get_rng_state()
    found = torchvision_models.state_dict_shapes(name)
    assert found == {key: tuple(one.shape) for key, one in expected.items()}
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", [SMALL, "resnet18"])
def test_a_head_of_another_size_is_known_and_has_no_labels(name: str, tmp_path: Path) -> None:
    net, path = network(name, num_classes=7), tmp_path / "tuned.pt"
    torch.save(net.state_dict(), path)
    found = check_same(path, net)
    assert found.labels == ()
    assert found.layers[-1].channels == 7


@pytest.mark.parametrize("home", ["state_dict", "model_state_dict", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.model.", "_orig_mod."])
def test_a_checkpoint_is_looked_into(home: str, prefix: str, tmp_path: Path) -> None:
    net, path = network(), tmp_path / "checkpoint.ckpt"
    state = {prefix + name: one for name, one in net.state_dict().items()}
    torch.save({"epoch": 3, home: state, "optimizer": {"lr": 0.1}}, path)
    check_same(path, net)


def test_densenets_old_names_are_known(tmp_path: Path) -> None:
    net, path = network("densenet121"), tmp_path / "densenet.pth"
    old = {_dotted(name): one for name, one in net.state_dict().items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, path)
    check_same(path, net)


def _dotted(name: str) -> str:
    if "denselayer" not in name:
        return name
    for part in ("norm1", "norm2", "conv1", "conv2"):
        name = name.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
    return name


def test_counts_that_old_files_lack_are_not_missed(tmp_path: Path) -> None:
    net, path = network("resnet18"), tmp_path / "old.pth"
    state = {name: one for name, one in net.state_dict().items() if "num_batches" not in name}
    torch.save(state, path)
    check_same(path, net)


def test_googlenet_is_built_as_torchvisions_weights_want_it(tmp_path: Path) -> None:
    arguments = {"init_weights": False, "transform_input": True, "num_classes": 10}
    with torch.no_grad():
        net, path = network("googlenet", **arguments), tmp_path / "googlenet.pt"
    torch.save(net.state_dict(), path)
    for arch in (None, "googlenet?num_classes=10"):
        found = check_same(path, net, arch=arch)
        assert not [name for name, _ in found.module.named_modules() if name.startswith("aux")]


def test_half_precision_becomes_the_networks_own(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "half.safetensors"
    for kind in (torch.float16, torch.bfloat16):
        rounded = {name: one.to(kind) for name, one in net.state_dict().items()}
        safetensors(rounded, path)
        net.load_state_dict(rounded)
        assert check_same(path, net).dtype == torch.float32


def test_oxfords_own_filters_are_fed_as_oxford_fed_them(tmp_path: Path) -> None:
    """Caffe's VGG16 also goes about under torchvision's names; its first filters tell."""
    weight = torch.randn(64, 3, 3, 3)
    weight[0, 0, 0, 0], weight[0, 0, 2, 2] = 0.42947, -0.35010
    first = {
        "features.0.weight": weight,
        "features.0.bias": torch.tensor([*OXFORD_16, *[0.0] * 60]),
    }
    path = tmp_path / "vgg16-397923af.pth"
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(__import__('collections').OrderedDict("
        "features=nn.Sequential(nn.Conv2d(3, 64, 3))))\n",
        "utf-8",
    )
    torch.save(first, path)
    net = rs.open_model(str(path), arch=f"{tmp_path}/nets.py:make", device="cpu")
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    net = net.with_module(net.module, rs.Fit((8, 8), "stretch"))
    found = net.module(net.prepare(rs.Image(picture)).tensor[None])
    numbers = torch.from_numpy(picture[..., ::-1] - np.array([103.939, 116.779, 123.68]))
    expected = nn.functional.conv2d(
        numbers.float().permute(2, 0, 1)[None], weight, first["features.0.bias"]
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-3)
    assert any("Oxford's VGG16" in said for said in net.inferred)


# Networks that `arch` names


OWN = """
from torch import nn
def make(width=4, channels=3):
    net = nn.Sequential(nn.Conv2d(channels, width, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(2),
                        nn.Flatten(), nn.Linear(4 * width, 6))
    net.input_size, net.mean, net.std = 16, (.5,) * channels, (.25,) * channels
    net.labels = list("abcdef")
    return net
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "nets.py").write_text(OWN, "utf-8")
    return f"{tmp_path}/nets.py:make"


def made(own: str) -> nn.Module:
    return rs.open_model(own, random_weights=5, device="cpu").module.eval()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_network_of_ones_own_takes_its_weights(own: str, prefix: str, tmp_path: Path) -> None:
    net, path = made(f"{own}?width=5"), tmp_path / "mine.pt"
    torch.save({prefix + name: one for name, one in net.state_dict().items()}, path)
    found = check_same(path, net, side=16, arch=f"{own}?width=5")
    assert (found.input_size, found.labels) == ((16, 16), tuple("abcdef"))
    assert found.preprocessing.mean == (0.5, 0.5, 0.5)


def test_weights_of_keras_go_into_a_network_of_ones_own(own: str, tmp_path: Path) -> None:
    """The features are flattened as height, width, channels there, and not here."""
    from tests.zoo import weight_files as w

    pytest.importorskip("h5py")
    net, path = made(own), tmp_path / "mine.weights.h5"
    arrays = [one.detach().numpy() for one in net.parameters()]
    w.keras_three(path, {"conv1": (arrays[0], arrays[1]), "fc6": (arrays[2], arrays[3])})
    found = check_same(path, net, side=16, arch=own)
    assert found.labels == tuple("abcdef")
    with pytest.raises(ModelError, match="do not match caffe/alexnet or caffe/caffenet"):
        rs.open_model(str(path))
    with pytest.raises(ModelError, match=r"has 2 layers with weights, but .* has 8"):
        rs.open_model(str(path), arch="alexnet")
    with pytest.raises(ModelError, match=r"has a weight of \(4, 3, 3, 3\), but 0 .* \(5, 3, 3"):
        rs.open_model(str(path), arch=f"{own}?width=5")


def test_timms_networks_take_their_weights(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    net, path = built(lambda: timm.create_model("resnet10t")), tmp_path / "weights.pt"
    torch.save(net.state_dict(), path)
    check_same(path, net, arch="timm/resnet10t")
    assert "name the network as arch, such as timm/NAME" in refused(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("0.weight"), "has no '0.weight', which the network takes"),
        (lambda state: state.update({"1.weight": torch.zeros(2)}), "has '1.weight', which the"),
        (
            lambda state: state.update({"4.bias": torch.zeros(2)}),
            r"'4.bias' has the shape (2,), but the network takes (6,)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    change: Callable[[State], object], said: str, own: str, tmp_path: Path
) -> None:
    state, path = made(own).state_dict(), tmp_path / "mine.pt"
    change(state)
    torch.save(state, path)
    assert said in refused(path, arch=own)


def test_what_holds_no_state_dict_is_said(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    for thing in ([torch.zeros(3)], {"epoch": 3}, {}, torch.zeros(3), {"model": {"a": 3}}):
        torch.save(thing, path)
        assert "not a state dict; save one with" in refused(path)
    torch.save({"a": torch.zeros(3)}, path)
    assert "its 1 tensors ('a' ...) match no torchvision network" in refused(path)


def test_a_whole_pickled_module_is_refused_by_the_name_of_its_class(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(nn.Sequential(nn.Conv2d(3, 2, 3)), path)
    assert "asks for torch.nn.modules.container.Sequential" in refused(path)


def test_a_state_dict_that_was_packed_up_is_refused(tmp_path: Path) -> None:
    """torch stores tensors as they are; packed, a few bytes would become any number."""
    import zipfile

    torch.save({"a": torch.zeros(10**6)}, tmp_path / "plain.pt")
    path = tmp_path / "packed.pt"
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for info in plain.infolist():
            packed.writestr(info.filename, plain.read(info))
    assert "more than a file of" in refused(path)


def test_nobodys_random_numbers_move(own: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    torch.save(made(own).state_dict(), path)
    before = torch.get_rng_state()
    rs.open_model(str(path), arch=own)
    assert torch.equal(before, torch.get_rng_state())
