"""Maps of families of transformers equal those of a reshape by hand."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import MaxVit, SwinTransformer, VisionTransformer

from retroscope.methods.activations import activations
from retroscope.network import Network
from tests.conftest import built, numbers


def torchvisions() -> nn.Module:
    make: Callable[..., nn.Module] = VisionTransformer
    return make(
        image_size=64, patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32,
        num_classes=3,
    )  # fmt: skip


def torchvisions_swin() -> nn.Module:
    make: Callable[..., nn.Module] = SwinTransformer
    return make(
        patch_size=[4, 4], embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=[4, 4],
        num_classes=3,
    )  # fmt: skip


def of_timm(name: str, **options: Any) -> nn.Module:
    timm: Any = pytest.importorskip("timm")
    net: nn.Module = timm.create_model(name, num_classes=3, **options)
    return net


Family = tuple[Callable[[], nn.Module], dict[str, int]]
PLAIN = {"img_size": 64, "depth": 2, "embed_dim": 24, "num_heads": 2}
FAMILIES: dict[str, Family] = {
    "vit of torchvision": (
        torchvisions,
        {"encoder.layers.encoder_layer_1.ln_1": 1, "encoder.layers.encoder_layer_0": 1,
         "encoder.layers.encoder_layer_1.self_attention": 1, "encoder.ln": 1},
    ),
    "vit": (
        partial(of_timm, "vit_tiny_patch16_224", **PLAIN),
        {"blocks.0.norm1": 1, "blocks.0.attn.qkv": 1, "blocks.0.attn.proj": 1,
         "blocks.1.mlp.act": 1, "blocks.1": 1, "norm": 1},
    ),
    "deit with two tokens": (
        partial(of_timm, "deit_tiny_distilled_patch16_224", **PLAIN),
        {"blocks.0.norm1": 2, "blocks.1.norm2": 2, "norm": 2},
    ),
    "registers": (
        partial(of_timm, "vit_small_patch14_reg4_dinov2", **PLAIN | {"img_size": 56}),
        {"blocks.0.norm1": 5, "blocks.1.ls1": 5, "blocks.1": 5},
    ),
    "beit": (
        partial(of_timm, "beit_base_patch16_224", **PLAIN),
        {"blocks.0.norm1": 1, "blocks.1.attn.proj": 1, "blocks.1": 1},
    ),
    "eva": (
        partial(of_timm, "eva02_tiny_patch14_224", **PLAIN | {"img_size": 56}),
        {"blocks.0.norm1": 1, "blocks.1.attn.proj": 1, "blocks.1": 1},
    ),
    "cait": (
        partial(of_timm, "cait_xxs24_224", depth_token_only=1, **PLAIN),
        {"blocks.0.norm1": 0, "blocks.1.attn.proj": 0, "blocks_token_only.0.norm1": 1, "norm": 1},
    ),
    "xcit": (
        partial(of_timm, "xcit_nano_12_p16_224", **PLAIN),
        {"blocks.0.norm1": 0, "blocks.1.attn.proj": 0, "blocks.1": 0,
         "cls_attn_blocks.0.norm1": 1, "norm": 1},
    ),
    "hybrid": (
        partial(of_timm, "vit_tiny_r_s16_p8_224", **PLAIN),
        {"blocks.0.norm1": 1, "blocks.1": 1},
    ),
}  # fmt: skip


def outputs_of(module: nn.Module, names: Sequence[str], image: Tensor) -> dict[str, Tensor]:
    """The outputs of modules, by their names, from hooks of torch's own."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def record(_module: nn.Module, _inputs: object, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            outputs[name] = first.detach().clone()

        return record

    handles = [module.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    with torch.no_grad():
        module(image[None])
    for handle in handles:
        handle.remove()
    return outputs


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_are_those_of_a_reshape_by_hand(family: str) -> None:
    make, layers = FAMILIES[family]
    module = built(make).double()
    side = 56 if family in ("registers", "eva") else 64
    image = numbers(3, side, side)
    outputs = outputs_of(module, [*layers], image)
    net = Network(module, input_size=(side, side))
    for name, extra in layers.items():
        tokens = outputs[name][0, extra:]
        grid = int(len(tokens) ** 0.5)
        expected = tokens.reshape(grid, grid, -1).permute(2, 0, 1)
        result = activations(net, name, image)
        np.testing.assert_allclose(result.maps, expected, rtol=1e-6, atol=1e-7)
        assert result.layer.extra_tokens == extra


@pytest.mark.parametrize(
    "make", [torchvisions_swin, partial(of_timm, "swin_tiny_patch4_window7_224",
             img_size=64, window_size=4, embed_dim=8, depths=(2, 2), num_heads=(2, 2))],
    ids=["torchvision", "timm"],
)  # fmt: skip
def test_maps_of_swin_are_its_channels_last_maps(make: Callable[[], nn.Module]) -> None:
    module, image = built(make).double(), numbers(3, 64, 64)
    net = Network(module, input_size=(64, 64))
    known = {name for layer in net.layers for name in (layer.name, *layer.aliases)}
    kinds = ("SwinTransformerBlock", "LayerNorm", "Linear")
    parts = {path: type(part).__name__ for path, part in module.named_modules() if path in known}
    names = [path for path, kind in parts.items() if kind in kinds and "head" not in path]
    outputs = outputs_of(module, names, image)
    assert len(names) >= 5
    for name in names:
        result = activations(net, name, image)
        expected = outputs[name][0].reshape(*result.layer.size, -1).permute(2, 0, 1)
        np.testing.assert_allclose(result.maps, expected, rtol=1e-6, atol=1e-7)


def torchvisions_maxvit() -> nn.Module:
    make: Callable[..., nn.Module] = MaxVit
    return make(
        input_size=(56, 56), stem_channels=4, partition_size=7, block_channels=[8],
        block_layers=[1], head_dim=4, stochastic_depth_prob=0.0, num_classes=3,
    )  # fmt: skip


def test_what_is_inside_a_window_is_not_among_the_channels() -> None:
    """MaxViT cuts maps into (1, windows, tokens, channels), of which no axis is y or x."""
    module, image = built(torchvisions_maxvit).double(), numbers(3, 56, 56)
    net = Network(module, input_size=(56, 56))
    parts = {path: type(part).__name__ for path, part in module.named_modules()}
    names = [path for path, kind in parts.items() if kind == "Linear" and "attention" in path]
    assert len(names) == 8
    outputs = outputs_of(module, names, image)
    for name in names:
        result = activations(net, name, image)
        np.testing.assert_allclose(result.maps, outputs[name][0].permute(2, 0, 1), rtol=1e-6)
        assert result.layer.field.whole
        assert (result.layer.field.y.stride, result.layer.field.x.stride) == (0, 0)
