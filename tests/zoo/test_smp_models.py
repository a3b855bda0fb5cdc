"""segmentation_models_pytorch: opened, looked back through, explained at a class and a pixel."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import retroscope as rs
from retroscope.errors import ModelError

smp: Any = pytest.importorskip(
    "segmentation_models_pytorch", reason="the extra smp is not installed"
)
NAME, SIZE = "smp/Unet/resnet18?classes=3", 64


def image(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def net() -> rs.Network:
    return rs.open_model(NAME, random_weights=0, device="cpu", input_size=SIZE)


def test_a_segmenter_has_the_layers_of_encoder_and_decoder(net: rs.Network) -> None:
    assert repr(net) == f"<Network {NAME}: 64x64 on cpu>"
    names = [layer.name for layer in net.layers]
    convolutions = [
        name for name, part in net.module.named_modules() if isinstance(part, torch.nn.Conv2d)
    ]
    assert set(convolutions) <= set(names)
    assert net.layer("segmentation_head.0").channels == 3


def test_the_same_seed_is_the_same_network(net: rs.Network) -> None:
    again = rs.open_model(NAME, random_weights=0, device="cpu").module.state_dict()
    assert all(torch.equal(again[key], value) for key, value in net.module.state_dict().items())


def test_a_field_is_what_the_pixels_of_a_decoder_unit_are(net: rs.Network) -> None:
    layer = net.layer("decoder.blocks.4.conv2.0")
    y, x = layer.size[0] // 2, layer.size[1] // 2
    box = layer.field.box(y, x).clip(SIZE, SIZE)
    maps: list[torch.Tensor] = []
    hook = net.module.get_submodule(layer.name).register_forward_hook(
        lambda *call: maps.append(call[2])
    )
    pixels = image().requires_grad_()
    with torch.enable_grad():
        net.module.eval()(pixels[None])
    hook.remove()
    (gradient,) = torch.autograd.grad(maps[0][0, :, y, x].sum(), pixels)
    outside = gradient.abs().sum(dim=0)
    outside[box.top : box.bottom, box.left : box.right] = 0
    assert not outside.any()


def test_a_projection_by_the_gradient_is_that_of_torch(net: rs.Network) -> None:
    unit = rs.Unit("segmentation_head.0", 1, (20, 33))
    projection = rs.deconv(net, unit, image(), rules="gradient")
    pixels = image().requires_grad_()
    with torch.enable_grad():
        activation = net.module.eval()(pixels[None])[0, 1, 20, 33]
    (gradient,) = torch.autograd.grad(activation, pixels)
    expected = (gradient * activation.detach()).permute(1, 2, 0)
    scale = expected.abs().max().item()
    difference = torch.from_numpy(projection.full()) - expected
    assert difference.abs().max().item() < 1e-4 * scale


def test_the_heat_of_a_pixel_is_the_gradient_times_the_maps(net: rs.Network) -> None:
    heat = rs.cam(net, image(), method="hirescam", layer="decoder.blocks.4", target="1@20,33")
    maps: list[torch.Tensor] = []
    part = net.module.get_submodule("decoder.blocks.4")
    hook = part.register_forward_hook(lambda *call: maps.append(call[2]))
    with torch.enable_grad():
        logits = net.module.eval()(image()[None].requires_grad_())
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[0, 1, 20, 33], maps[0])
    expected = (gradient * maps[0]).sum(dim=1).clamp(min=0)[0].detach().numpy()
    np.testing.assert_allclose(heat.values, expected, rtol=1e-4, atol=1e-6)


def test_a_weight_file_goes_into_the_named_architecture(net: rs.Network, tmp_path: Path) -> None:
    torch.save(net.module.state_dict(), tmp_path / "roads.pt")
    opened = rs.open_model(tmp_path / "roads.pt", arch=NAME, device="cpu")
    with torch.no_grad():
        batch = image()[None]
        assert torch.equal(opened.module(batch), net.module(batch))


def test_architectures_take_their_arguments() -> None:
    net = rs.open_model("smp/FPN/resnet18?classes=2&in_channels=1", random_weights=1, device="cpu")
    assert net.preprocessing.channels == 1
    assert net.layers[-1].channels == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smp/Unett/resnet18", "no architecture of smp 'Unett'; did you mean 'Unet'"),
        ("smp/Unet/resnet19", "no encoder of smp 'resnet19'; did you mean .*'resnet18'"),
        (
            "smp/Unet/resnet18?klasses=3",
            "no argument of smp/Unet/resnet18 'klasses'; did you mean 'classes'",
        ),
        ("smp/Unet/tu-xyzzy", "smp cannot build Unet on tu-xyzzy"),
        ("smp", "no model 'smp'"),
    ],
)
def test_an_unknown_network_is_refused_with_what_there_is(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        rs.open_model(name, random_weights=0)


def test_trained_weights_are_refused_with_what_there_is() -> None:
    with pytest.raises(ModelError, match="has no trained weights, only its encoder has") as refused:
        rs.open_model("smp/Unet/resnet18")
    assert refused.value.parameter == "random_weights"


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ModelError, match=r"pip install 'retroscope\[smp\]'"):
        rs.open_model(NAME, random_weights=0)
