"""Names that open nothing: one line says what they are, and what to do."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

import retroscope as rs
from retroscope.errors import ModelError
from retroscope.zoo import torchvision_models

OPENED = {*torchvision_models.names(), *torchvision_models.other_names()}
OTHERS = sorted(set(torchvision.models.list_models()) - OPENED)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("source", ["", "torchvision/"])
def test_each_network_of_torchvision_that_takes_no_single_image_says_what_it_is(
    name: str, source: str
) -> None:
    with pytest.raises(ModelError, match=rf"^torchvision's {name} is ") as refused:
        rs.open_model(f"{source}{name}", random_weights=0)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raft_small", "for pairs of images; retroscope looks at single images"),
        ("quantized_resnet18", "in int8, which has no gradients; open the network"),
        ("https://example.org/vgg16.pt", "is an address; download the file and give its path"),
        ("/nowhere/at/all", "no file '/nowhere/at/all'; give the path of a weight file"),
        ("./resnet", r"no file '\./resnet'; give the path"),
    ],
)
def test_what_a_name_is_and_what_to_do(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        rs.open_model(name)


def test_a_folder_names_the_weight_file_in_it(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"is a folder; it has no weight file that retroscope reads"
    ):
        rs.open_model(tmp_path)
    (tmp_path / "config.json").touch()
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match=r"is a folder; .*such as '.*/model\.safetensors'$"):
        rs.open_model(tmp_path)


def test_a_folder_of_the_name_of_a_network_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "squeezenet1_1").mkdir()
    monkeypatch.chdir(tmp_path)
    net = rs.open_model("squeezenet1_1", random_weights=0, device="cpu")
    assert net.name == "squeezenet1_1"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torchvision.models.ResNet18_Weights.DEFAULT, "not by its weights .*; give the name"),
        (torch.nn.ReLU, r"not the class ReLU; create an instance"),
        ({"weight": torch.zeros(99, 99)}, "not a state dict; load it into its module"),
        (3, "not int; write torchvision/NAME"),
    ],
)
def test_what_is_no_name_is_told_in_one_line(value: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said) as refused:
        rs.open_model(value)
    assert "\n" not in str(refused.value)
