"""What commands import, and what they draw: torchvision's import takes as long as torch's."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import AlexNet_Weights

import retroscope as rs
from retroscope.zoo import torchvision_models
from retroscope.zoo.source_conventions import imagenet_labels
from retroscope.zoo.torchvision_models import leave_weights_zero

SLOW_MODULES = {"torchvision", "torch._dynamo", "torch._inductor", "timm", "keras", "onnx", "h5py"}

RUN_COMMAND = """
import sys
from retroscope.cli import execute
sys.argv = ["retroscope", *sys.argv[1:]]
execute()
print("modules:", *sys.modules)
"""

SMALL = "squeezenet1_1"


def run_command(*arguments: str) -> set[str]:
    """The modules that a process holds after a command."""
    result = subprocess.run(
        [sys.executable, "-c", RUN_COMMAND, *arguments], capture_output=True, text=True, check=True
    )
    return set(result.stdout.rpartition("modules:")[2].split())


@pytest.fixture
def photograph(tmp_path: Path) -> str:
    path = tmp_path / "photograph.png"
    rs.Image(np.random.default_rng(0).integers(256, size=(64, 64, 3)).astype("u1")).to_pil().save(
        path
    )
    return str(path)


# What is imported


def test_help_imports_neither_torch_nor_numpy() -> None:
    assert not run_command("--help") & {"torch", "numpy", "PIL", *SLOW_MODULES}


@pytest.mark.parametrize(
    ("model", "unit"), [("demo", "conv5:36"), ("imagenet --random-weights 0", "conv7:42")]
)
def test_included_networks_need_no_torchvision(
    model: str, unit: str, photograph: str, tmp_path: Path
) -> None:
    name, *options = model.split()
    assert not run_command("layers", name, *options) & SLOW_MODULES
    drawing = str(tmp_path / "drawing.png")
    assert not run_command("deconv", name, unit, photograph, "-o", drawing, *options) & SLOW_MODULES


def test_the_labels_of_imagenet_are_torchvisions() -> None:
    assert imagenet_labels(1000) == tuple(AlexNet_Weights.DEFAULT.meta["categories"])


# What is drawn


@pytest.mark.parametrize(
    "name",
    [
        *("googlenet", "mnasnet0_5", "mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5"),
        *("squeezenet1_1?num_classes=7", "swin_t", "vit_b_32"),
    ],
)
def test_layers_are_the_same_without_weights(name: str) -> None:
    drawn = rs.open_model(name, random_weights=0, device="cpu")
    with leave_weights_zero():
        zero = rs.open_model(name, random_weights=0, device="cpu")
    assert zero.layers == drawn.layers
    assert zero.unlisted == drawn.unlisted


def test_networks_without_weights_draw_no_random_numbers() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with leave_weights_zero():
        torchvision_models.open_named(SMALL, trained=False)
    assert torch.equal(torch.get_rng_state(), before)
    torchvision_models.open_named(SMALL, trained=False)
    assert not torch.equal(torch.get_rng_state(), before)


def test_other_networks_have_their_weights_all_the_same(tmp_path: Path) -> None:
    """Code of a user may compute with its weights, and a weight file holds them."""
    factory = tmp_path / "factory.py"
    code = f"def make():\n    return rs.open_model({SMALL!r}, random_weights=1)"
    factory.write_text(f"import retroscope as rs\n{code}")
    trained = rs.open_model(SMALL, random_weights=1, device="cpu").module.state_dict()
    torch.save(trained, tmp_path / f"{SMALL}.pth")
    with leave_weights_zero():
        for model in (f"{factory}:make", tmp_path / f"{SMALL}.pth"):
            opened = rs.open_model(model, device="cpu").module.state_dict()
            assert all(torch.equal(opened[name], tensor) for name, tensor in trained.items())


def test_weights_are_drawn_again_afterwards() -> None:
    before = rs.open_model(SMALL, random_weights=0, device="cpu").module.state_dict()
    with leave_weights_zero():
        rs.open_model(SMALL, random_weights=0, device="cpu")
    after = rs.open_model(SMALL, random_weights=0, device="cpu").module.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
