"""From a name to a network: by a seed, on a device, with pictures fitted in some way."""

import random
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.errors import ImageError, ModelError
from retroscope.zoo import registry

SMALL = "squeezenet1_1"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reaches the network."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("somebody asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def weights(net: rs.Network) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in net.module.state_dict().values()])


def opened(module: nn.Module, monkeypatch: pytest.MonkeyPatch, **options: object) -> rs.Network:
    """What opening makes of a network that a factory returned."""
    made = rs.Network(module, fit=rs.Fit((8, 12), mode="stretch"), name="made")
    monkeypatch.setattr("retroscope.zoo.factory.open_named", lambda *_: made)
    return rs.open_model("nets.py:make", device="cpu", **options)  # type: ignore[arg-type]


# Random weights


@pytest.mark.usefixtures("offline")
def test_random_weights_are_the_same_for_a_seed_and_differ_between_seeds() -> None:
    first, again, other = (rs.open_model(SMALL, random_weights=seed) for seed in (3, 3, 4))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


@pytest.mark.usefixtures("offline")
def test_random_weights_move_nobodys_random_numbers() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    first = rs.open_model(SMALL, random_weights=0)
    after = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    torch.rand(7)
    assert torch.equal(weights(first), weights(rs.open_model(SMALL, random_weights=0)))


def test_a_factory_is_seeded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*_: object) -> rs.Network:
        return rs.Network(nn.Conv2d(3, 2, 3))

    monkeypatch.setattr("retroscope.zoo.factory.open_named", make)
    first, again, free = (rs.open_model("nets.py:make", random_weights=s) for s in (1, 1, None))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(free))


@pytest.mark.parametrize("seed", [-(2**63), -1, 2**64 - 1])
def test_a_seed_has_64_bits(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened(nn.Conv2d(3, 2, 3), monkeypatch, random_weights=seed).layers


@pytest.mark.parametrize("seed", [-(2**63) - 1, 2**64, 10**30])
def test_a_longer_seed_is_refused(seed: int) -> None:
    with pytest.raises(ModelError, match="64 bits"):
        rs.open_model(SMALL, random_weights=seed)


# Names


def test_torchvisions_names_need_no_source() -> None:
    short = rs.open_model(SMALL, random_weights=0)
    long = rs.open_model(f"torchvision/{SMALL}", random_weights=0)
    assert short.name == long.name == SMALL
    assert torch.equal(weights(short), weights(long))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tim/resnet10t", "no model source 'tim'; did you mean 'timm'"),
        ("mine/resnet10t", "no model source 'mine'; write torchvision/NAME, timm/NAME"),
        ("vgg61", "no model 'vgg61'; did you mean 'vgg19', 'vgg16' or"),
        (
            "",
            "no model ''; write torchvision/NAME, timm/NAME, ultralytics/NAME, smp/ARCHI",
        ),
        ("nets.py", "'nets.py' is not a function; write package.module:factory or file.py:factory"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_or_the_forms(name: str, said: str) -> None:
    with pytest.raises(ModelError) as refused:
        rs.open_model(name)
    assert said in str(refused.value)


# Devices


def has(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "first"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_is_the_fastest_device_there_is(
    cuda: bool, mps: bool, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, cuda=cuda, mps=mps)
    assert registry._resolve_device("auto").type == first


def test_a_device_that_is_not_there_is_told_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, cuda=False, mps=True)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(ModelError, match="no cuda device; choose from auto, cpu, mps"):
            rs.open_model(SMALL, random_weights=0, device=name)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("gpu", "did you mean"),
        ("CPU", "did you mean 'cpu'"),
        ("", "choose from auto, cpu, cuda, mps"),
        ("xla:1", "choose from auto, cpu, cuda, mps"),
    ],
)
def test_an_unknown_device_is_told_the_devices(name: str, advice: str) -> None:
    kind = name.partition(":")[0]
    with pytest.raises(ModelError, match=f"no device '{kind}'; {advice}"):
        rs.open_model(SMALL, random_weights=0, device=name)


def test_a_device_that_torch_cannot_read_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(ModelError, match="'cpu:first'"):
        rs.open_model("nowhere.py:make", device="cpu:first")


def test_the_network_stands_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    net = opened(nn.Conv2d(3, 2, 3), monkeypatch)
    assert net.device == torch.device("cpu")
    assert net.prepare(torch.zeros(3, 8, 8)).tensor.device == net.device


# What a network brings along is kept


def test_pictures_are_fitted_in_the_networks_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    own = rs.Fit((8, 12), mode="stretch")
    assert opened(nn.Conv2d(3, 2, 3), monkeypatch).preprocessing.fit == own
    net = rs.open_model(SMALL, random_weights=0)
    assert net.preprocessing.fit == rs.Fit((224, 224), "network", 256, "bilinear")


def test_pictures_are_fitted_in_another_way_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = opened(nn.Conv2d(3, 2, 3), monkeypatch, resize="crop").preprocessing.fit
    assert fit == rs.Fit((8, 12), mode="crop")


def test_an_unknown_way_of_fitting_is_told_the_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="choose from network, crop, stretch"):
        opened(nn.Conv2d(3, 2, 3), monkeypatch, resize="squash")


def test_numbers_stay_the_same_however_they_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithVolume(nn.Module):
        def __init__(self, rank: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)
            self.scale = nn.Parameter(torch.arange(2.0).view(1, 2, *[1] * (rank - 2)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scaled: torch.Tensor = self.conv(x) * self.scale.view(1, 2, 1, 1)
            return scaled

    for rank in (2, 4, 5):
        module = WithVolume(rank)
        before = {name: one.clone() for name, one in module.state_dict().items()}
        net = opened(module, monkeypatch)
        assert [layer.name for layer in net.layers] == ["conv", "mul"]
        assert all(torch.equal(before[name], one) for name, one in module.state_dict().items())


# Fed in another way than its own


class RefusesModes(nn.Sequential):
    """Like an exported program, it has no `train()` and `eval()`."""

    def train(self, mode: bool = True) -> "RefusesModes":
        raise NotImplementedError(mode)


@pytest.mark.parametrize("kind", [nn.Sequential, RefusesModes])
def test_an_opened_network_is_in_evaluation_mode(
    kind: type[nn.Sequential], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = kind(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    net = opened(module, monkeypatch)
    assert not any(part.training for part in net.module.modules())
    image = torch.rand(1, 3, 8, 12)
    assert torch.equal(net.module(image), net.module(image))


@pytest.mark.parametrize(("asked", "size"), [(112, (112, 112)), ((96, 128), (96, 128))])
def test_another_input_size_keeps_the_share_of_the_picture(
    asked: int | tuple[int, int], size: tuple[int, int]
) -> None:
    net = rs.open_model(SMALL, random_weights=0, input_size=asked)
    assert net.input_size == size
    assert net.preprocessing.fit.shorter == round(256 * min(size) / 224)
    assert net.prepare(rs.Image(np.zeros((50, 70, 3), np.uint8))).size == size
    assert net.labels[281] == "tabby"


def test_a_network_without_a_shorter_side_has_none_at_another_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = opened(nn.Conv2d(3, 2, 3), monkeypatch, input_size=20)
    assert net.preprocessing.fit == rs.Fit((20, 20), mode="stretch")


def test_mean_and_std_take_the_place_of_the_networks_own() -> None:
    picture = rs.Image(np.full((300, 300, 3), 51, np.uint8))
    net = rs.open_model(SMALL, random_weights=0, mean=[0.1, 0.2, 0.3], std=[0.5, 1, 0.1])
    numbers = net.prepare(picture).tensor
    for channel, expected in enumerate([(0.2 - 0.1) / 0.5, 0.0, (0.2 - 0.3) / 0.1]):
        assert numbers[channel].sub(expected).abs().max() < 1e-6
    only_mean = rs.open_model(SMALL, random_weights=0, mean=[0.1, 0.2, 0.3])
    assert only_mean.preprocessing.std == (0.229, 0.224, 0.225)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_network_may_take_any_number_of_channels(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [0.5] * channels
    net = opened(nn.Conv2d(channels, 2, 3), monkeypatch, mean=numbers, std=numbers)
    assert net.preprocessing.channels == channels
    assert net.layers[0].channels == 2
    if channels != 5:
        assert net.prepare(rs.Image(np.zeros((9, 9, 3), np.uint8))).tensor.shape[0] == channels


def test_as_many_means_as_stds_are_asked_for() -> None:
    with pytest.raises(ModelError, match="mean has 1 values and std 3"):
        rs.open_model(SMALL, random_weights=0, mean=[0.5])


# Arguments of torchvision's builders, and what is a file


def test_torchvisions_builders_take_arguments() -> None:
    net = rs.open_model(f"{SMALL}?num_classes=12", random_weights=0)
    assert (net.layers[-1].channels, net.labels) == (12, ())
    with pytest.raises(ModelError, match=f"cannot build {SMALL} with .*'widht'"):
        rs.open_model(f"{SMALL}?widht=12", random_weights=0)
    with pytest.raises(ModelError, match=f"cannot build {SMALL} .* its trained weights: ValueErr"):
        rs.open_model(f"{SMALL}?num_classes=12")


def test_a_file_called_like_a_network_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / SMALL).write_bytes(b"<html>")
    monkeypatch.chdir(tmp_path)
    assert rs.open_model(SMALL, random_weights=0).name == SMALL
    with pytest.raises(ModelError, match="is a web page"):
        rs.open_model(f"./{SMALL}")


def test_a_weight_file_has_its_weights(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(b"")
    with pytest.raises(ModelError, match="is a weight file, which contains its weights"):
        rs.open_model(str(tmp_path / "w.h5"), random_weights=0)
    for arch in ("w.h5", f"{tmp_path}/w.h5"):
        torch.save({"a": torch.zeros(1)}, tmp_path / "w.pt")
        with pytest.raises(ModelError, match="give the name of a network as arch"):
            rs.open_model(str(tmp_path / "w.pt"), arch=arch)


def test_arch_is_of_weight_files_only() -> None:
    with pytest.raises(ModelError, match=f"'{SMALL}' is not a weight file; leave out arch"):
        rs.open_model(SMALL, arch="alexnet")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("dmeo", "demo"),
        ("Demo", "demo"),
        ("demo_shortcut", "demo-shortcut"),
        ("caffe-googlenet", "caffe/googlenet"),
        ("resnet-50", "resnet50"),
    ],
)
def test_a_bare_name_that_is_unknown_is_told_the_nearest_of_all_sources(
    name: str, near: str
) -> None:
    with pytest.raises(ModelError, match=f"^no model '{name}'; did you mean .*'{near}'"):
        rs.open_model(name)


def test_a_name_may_be_a_path() -> None:
    assert repr(rs.open_model(Path("demo"), device="cpu")) == "<Network demo: 96x96 on cpu>"


def test_a_module_is_no_name_and_told_how_it_becomes_a_network() -> None:
    given: Any = nn.Conv2d(3, 2, 3)
    with pytest.raises(
        ModelError, match=r"not Conv2d; wrap it with rs\.Network\(module, input_size"
    ):
        rs.open_model(given)
    given = None
    with pytest.raises(ModelError, match="not None; write torchvision/NAME"):
        rs.open_model(given)


@pytest.mark.parametrize("size", ["32", (32,), (3, 32, 32), 4.5])
def test_an_input_size_that_is_none_is_told_in_a_line(size: Any) -> None:
    with pytest.raises(ImageError, match="a size is a height and a width"):
        rs.open_model("demo", input_size=size)


def test_one_number_is_no_mean_of_three_channels() -> None:
    mean: Any = 0.5
    with pytest.raises(ModelError, match="mean is one number per channel"):
        rs.open_model("demo", mean=mean)
