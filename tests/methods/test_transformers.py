"""What looks at maps does the same for the tokens of a transformer."""

import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retroscope.engine.operations import Role
from retroscope.engine.relevance import ConstantAttention, ConstantWeights, MarkedWeights
from retroscope.engine.rules import RuleBook
from retroscope.errors import ModelError
from retroscope.geometry import Box
from retroscope.methods.activations import activations, last_spatial_layer
from retroscope.methods.cam.cam import cam
from retroscope.methods.deconv.deconv import deconv
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.network import Network
from retroscope.scanning.job import scan
from retroscope.scanning.layer_choice import scan_layers
from tests.conftest import built, no_trace, numbers
from tests.engine.test_token_families import FAMILIES, of_timm, torchvisions_swin
from tests.reference.transformers import ATTENTION, GRID, PATCH, SIZE, TinyViT
from tests.scanning.scans import MEAN, STD, check_channel, smooth_image

EVERY_ATTENTION = [*ATTENTION, "torch"]


def network(attention: str = "fused", **options: Any) -> Network:
    return Network(built(partial(TinyViT, attention, **options)).double(), input_size=SIZE)


def outputs_of(module: nn.Module, name: str, image: Tensor) -> tuple[Tensor, Tensor]:
    """The output of a module and the scores, connected for autograd."""
    outputs: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: Tensor) -> None:
        outputs.append(output)

    handle = module.get_submodule(name).register_forward_hook(keep)
    scores = module(image[None])
    handle.remove()
    return outputs[0], scores


# Class activation maps


@pytest.mark.parametrize("attention", EVERY_ATTENTION)
@pytest.mark.parametrize("extra", [(1, 0), (2, 1)])
def test_gradcam_is_its_definition_on_tokens_reshaped_by_hand(
    attention: str, extra: tuple[int, int]
) -> None:
    before, after = extra
    net, image = network(attention, before=before, after=after), numbers(3, *SIZE)
    tokens, scores = outputs_of(net.module, "blocks.1.norm1", image)
    (gradient,) = torch.autograd.grad(scores[0, 3], tokens)
    stop = tokens.shape[1] - after
    weights = gradient[0, before:stop].mean(0)
    expected = (tokens[0, before:stop] @ weights).clamp(min=0).reshape(GRID)
    with no_trace(net.module):
        heat = cam(net, image, layer="blocks.1.norm1", target=3)
    np.testing.assert_allclose(heat.values, expected.detach(), rtol=1e-6, atol=1e-9)
    assert expected.max() > 0


@pytest.mark.parametrize("layer", ["blocks.1.norm1", "blocks.0.attn.qkv", "blocks.0.add~2"])
def test_ablation_is_its_definition_on_tokens(layer: str) -> None:
    net, image = network(), numbers(3, *SIZE)
    maps = torch.from_numpy(activations(net, layer, image).maps).double()
    base = net.module(image[None])[0, 1]
    losses = torch.stack([base - _score_without(net, layer, image, c) for c in range(len(maps))])
    expected = (losses / base)[:, None, None].mul(maps).sum(0).clamp(min=0)
    heat = cam(net, image, method="ablationcam", layer=layer, target=1)
    np.testing.assert_allclose(heat.values, expected.detach(), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def _score_without(net: Network, layer: str, image: Tensor, channel: int) -> Tensor:
    """The score with a channel of all tokens of the grid set to zero."""
    path = layer.removesuffix(".add~2")

    def edit(_module: object, _inputs: object, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, 1:, channel] = 0
        return output

    handle = net.module.get_submodule(path).register_forward_hook(edit)
    score: Tensor = net.module(image[None])[0, 1]
    handle.remove()
    return score


@pytest.mark.parametrize(
    "layer", ["blocks.0.attn.scaled_dot_product_attention", "blocks.0.attn.attention"]
)
def test_the_output_of_heads_has_all_their_features_as_channels(layer: str) -> None:
    net, image = network(), numbers(3, *SIZE)
    names = {name for one in net.layers for name in (one.name, *one.aliases)}
    if layer not in names:
        pytest.skip("the layer has another name")
    kept: list[Tensor] = []
    handle = net.module.get_submodule("blocks.0.attn.proj").register_forward_hook(
        lambda _module, inputs, _output: kept.append(inputs[0].detach())
    )
    net.module(image[None])
    handle.remove()
    expected = kept[0][0, 1:].T.reshape(-1, *GRID)
    np.testing.assert_allclose(activations(net, layer, image).maps, expected, rtol=1e-6)
    assert cam(net, image, layer=layer, target=0).values.max() > 0


peer = pytest.mark.skipif(
    find_spec("pytorch_grad_cam") is None, reason="pytorch-grad-cam is not installed"
)


@peer
@pytest.mark.parametrize("family", ["vit", "deit with two tokens"])
def test_heat_equals_that_of_the_peer_with_its_reshape(family: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    make, layers = FAMILIES[family]
    module, image = built(make), numbers(3, 64, 64).float()
    extra = layers["blocks.0.norm1"]

    def reshape(tokens: Tensor) -> Tensor:
        return tokens[:, extra:].reshape(len(tokens), 4, 4, -1).permute(0, 3, 1, 2)

    target_layer = module.get_submodule("blocks.1.norm1")
    with pytorch_grad_cam.GradCAM(module, [target_layer], reshape_transform=reshape) as grad_cam:
        expected = grad_cam(image[None], [ClassifierOutputTarget(1)])[0]
    heat = cam(Network(module, input_size=(64, 64)), image, layer="blocks.1.norm1", target=1).full()
    scaled = (heat - heat.min()) / (heat.max() - heat.min())
    np.testing.assert_allclose(scaled, expected, atol=0.05)


# The default layer


DEFAULTS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "class token": (TinyViT, "blocks.1.norm1"),
    "class token, one call": (partial(TinyViT, "torch"), "blocks.1.norm1"),
    "mean of all tokens": (partial(TinyViT, pooled=True), "norm"),
    **{
        family: (FAMILIES[family][0], layer)
        for family, layer in {
            "vit of torchvision": "encoder.layers.encoder_layer_1.ln_1",
            "vit": "blocks.1.norm1",
            "deit with two tokens": "blocks.1.norm1",
            "registers": "blocks.1.norm1",
            "cait": "blocks_token_only.0.norm1",
            "hybrid": "blocks.1.norm1",
        }.items()
    },
    "mean of patches": (
        partial(of_timm, "vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=24, num_heads=2,
                global_pool="avg", class_token=False),
        "blocks.1.add~2",
    ),
    "swin": (torchvisions_swin, "norm"),
}  # fmt: skip


@pytest.mark.parametrize("case", DEFAULTS)
def test_the_default_layer_is_the_last_one_that_reaches_the_scores(case: str) -> None:
    make, expected = DEFAULTS[case]
    size = SIZE if make is TinyViT or getattr(make, "func", None) is TinyViT else (64, 64)
    size = (56, 56) if case == "registers" else size
    net = Network(built(make).double(), input_size=size)
    layer = last_spatial_layer(net, size)
    assert layer.name == expected
    heat = cam(net, numbers(3, *size), target=0, method="hirescam")
    assert heat.layer == layer.name
    assert heat.values.shape == layer.size


def test_layers_behind_the_last_attention_have_no_gradient_of_a_class_token() -> None:
    """It is why they are not the default."""
    net, image = network(), numbers(3, *SIZE)
    for name in ("blocks.1.norm2", "blocks.1.fc2", "norm"):
        tokens, scores = outputs_of(net.module, name, image)
        (gradient,) = torch.autograd.grad(scores[0, 0], tokens)
        assert not gradient[:, 1:].any()
        assert not cam(net, image, layer=name, target=0).values.any()
    tokens, scores = outputs_of(net.module, "blocks.1.norm1", image)
    (gradient,) = torch.autograd.grad(scores[0, 0], tokens)
    assert gradient[:, 1:].all(-1).all()


# Projections and rules


def test_a_unit_before_attention_is_projected_on_its_patch_alone() -> None:
    net, image = network(), numbers(3, *SIZE)
    projection = deconv(net, "blocks.0.norm1:5@1,2", image, rules="gradient")
    assert projection.box == Box(PATCH, 2 * PATCH, 2 * PATCH, 3 * PATCH)
    pixels = image.clone().requires_grad_()
    tokens, _ = outputs_of(net.module, "blocks.0.norm1", pixels)
    unit = tokens[0, 1 + 1 * GRID[1] + 2, 5]
    (gradient,) = torch.autograd.grad(unit, pixels, unit.detach())
    part = gradient[:, PATCH : 2 * PATCH, 2 * PATCH : 3 * PATCH].permute(1, 2, 0)
    np.testing.assert_allclose(projection.pixels, part, rtol=1e-6, atol=1e-9)
    assert np.count_nonzero(part) == gradient.count_nonzero()


@pytest.mark.parametrize("attention", EVERY_ATTENTION)
def test_a_channel_is_strongest_at_a_position_of_the_grid(attention: str) -> None:
    net, image = network(attention, before=3), numbers(3, *SIZE)
    tokens, _ = outputs_of(net.module, "blocks.1.norm2", image)
    best = divmod(int(tokens[0, 3:, 2].argmax()), GRID[1])
    projection = deconv(net, "blocks.1.norm2:2", image, rules="gradient")
    assert projection.unit.position == best
    assert projection.box == Box(0, 0, *SIZE)
    pixels = image.clone().requires_grad_()
    tokens, _ = outputs_of(net.module, "blocks.1.norm2", pixels)
    unit = tokens[0, 3:, 2].amax()
    (gradient,) = torch.autograd.grad(unit, pixels, unit.detach())
    np.testing.assert_allclose(projection.pixels, gradient.permute(1, 2, 0), rtol=1e-6, atol=1e-9)


class FixedWeights(nn.Module):
    """The attention of `SelfAttention`, with weights that are constants for autograd."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        part: Any = self.part
        batch, count, width = x.shape
        query, key, value = (
            each.reshape(batch, count, 2, width // 2).transpose(1, 2)
            for each in part.qkv(x).chunk(3, -1)
        )
        weights = (query @ key.mT * (width // 2) ** -0.5).softmax(-1).detach()
        result: Tensor = part.proj((weights @ value).transpose(1, 2).reshape(x.shape))
        return result


CONSTANT_ATTENTION = RuleBook(
    "constant attention",
    {
        Role.SOFTMAX: MarkedWeights(),
        Role.MATRIX_PRODUCT: ConstantWeights(),
        Role.ATTENTION: ConstantAttention(),
    },
)


@pytest.mark.parametrize("attention", ["fused", "written out", "bmm"])
def test_relevance_takes_the_weights_of_attention_for_constants(attention: str) -> None:
    net, image = network(attention), numbers(3, *SIZE)
    projection = deconv(net, "norm:4@1,1", image, rules=CONSTANT_ATTENTION)
    fixed = built(partial(TinyViT, attention)).double()
    for block in fixed.blocks:  # type: ignore[union-attr]
        block.attn = FixedWeights(block.attn)
    pixels = image.clone().requires_grad_()
    tokens, _ = outputs_of(fixed, "norm", pixels)
    unit = tokens[0, 1 + GRID[1] + 1, 4]
    (expected,) = torch.autograd.grad(unit, pixels, unit.detach())
    np.testing.assert_allclose(projection.pixels, expected.permute(1, 2, 0), rtol=1e-6, atol=1e-9)
    plain = deconv(net, "norm:4@1,1", image, rules="gradient").pixels
    assert np.abs(plain - projection.pixels).max() > 1e-3 * np.abs(plain).max()


def test_the_same_holds_for_torchs_own_module() -> None:
    module, image = built(partial(TinyViT, "torch", depth=1)).double(), numbers(3, *SIZE)
    net = Network(module, input_size=SIZE)
    projection = deconv(net, "norm:4@1,1", image, rules=CONSTANT_ATTENTION)
    pixels = image.clone().requires_grad_()
    inner: Any = module.blocks[0].attn.inner  # type: ignore[index, union-attr]

    def fixed(query: Tensor, *_others: Tensor, **_options: object) -> tuple[Tensor, None]:
        parts = F.linear(query, inner.in_proj_weight, inner.in_proj_bias).chunk(3, -1)
        q, k, v = (torch.unflatten(part, -1, (2, 4)).transpose(1, 2) for part in parts)
        weights = (q @ k.mT / 2).softmax(-1).detach()
        return inner.out_proj((weights @ v).transpose(1, 2).flatten(2)), None

    inner.forward = fixed
    tokens, _ = outputs_of(module, "norm", pixels)
    unit = tokens[0, 1 + GRID[1] + 1, 4]
    (expected,) = torch.autograd.grad(unit, pixels, unit.detach())
    np.testing.assert_allclose(projection.pixels, expected.permute(1, 2, 0), rtol=1e-6, atol=1e-9)


def test_weights_of_constant_values_pass_the_gradient() -> None:
    """A soft argmax: a softmax times coordinates."""

    class SoftArgmax(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 4, 4)
            self.register_buffer("places", torch.arange(12.0)[:, None])

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh((self.conv(x).flatten(2).softmax(-1) @ self.places)[..., 0])

    net = Network(built(SoftArgmax).double(), input_size=SIZE)
    image = numbers(3, *SIZE)
    layer = net.layers[-1].name
    projection = deconv(net, f"{layer}:1@0,0", image, rules=CONSTANT_ATTENTION)
    assert np.abs(projection.pixels).max() > 0


def test_auto_is_relevance_and_says_that_attention_is_the_reason() -> None:
    projection = deconv(network(), "blocks.1.add~2:3@2,2", numbers(3, *SIZE))
    assert projection.rules == "relevance"
    assert any("attention mixes the positions" in note for note in projection.notes)
    assert np.isfinite(projection.pixels).all()
    assert np.abs(projection.pixels).max() > 0


def test_occluding_a_transformer_is_running_each_occluded_image() -> None:
    net, image = network(), numbers(3, *SIZE)
    result = occlusion(net, image, target=2, size=4, stride=4, fill=0.0)
    for row, column in [(0, 0), (1, 3), (2, 2)]:
        covered = image.clone()
        covered[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
        expected = net.module(covered[None]).softmax(1)[0, 2].item()
        assert result.probabilities[row, column] == pytest.approx(expected, rel=1e-5)


# Atlases


def test_a_scan_finds_what_plain_hooks_find(tmp_path: Path) -> None:
    module = built(partial(TinyViT, before=2, after=1)).double()
    net = Network(module, input_size=SIZE, mean=MEAN, std=STD, name="tiny vit")
    files = [tmp_path / f"{seed:02}.png" for seed in range(7)]
    for seed, file in enumerate(files):
        smooth_image(seed, 24).save(file)
    names = ["blocks.0.norm1", "blocks.1.act", "blocks.1.norm2"]
    tokens: dict[str, list[Tensor]] = {name: [] for name in names}
    with torch.no_grad():
        for file in files:
            image = net.prepare(file).tensor.double()
            for name in names:
                output, _ = outputs_of(module, name, image)
                tokens[name].append(output[0, 2:-1].T.reshape(-1, *GRID))
    with scan(net, tmp_path, to=tmp_path / "vit.atlas", layers=names, batch_size=3) as atlas:
        for name in names:
            maps = torch.stack(tokens[name]).numpy()
            assert atlas.layer(name).size == GRID
            for channel in (0, 3, 7):
                check_channel(atlas, f"{name}:{channel}", maps[:, channel])


def test_by_default_a_scan_ranks_the_hidden_layers_of_a_transformer() -> None:
    layers = scan_layers(network())
    assert [layer.name for layer in layers] == ["patches", "blocks.0.act", "blocks.1.act"]
    assert layers[1].note.startswith("blocks.0.fc1")
    assert layers[1].note.endswith("after its GELU")


def test_a_layer_whose_tokens_are_in_another_order_has_no_heat_map() -> None:
    class Flipped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            tokens = torch.tanh(self.conv(x).flatten(2).flip(2).mT)
            scores: Tensor = self.head(tokens.mean(1))
            return scores

    net = Network(built(Flipped), input_size=SIZE)
    with pytest.raises(ModelError, match="no heat map of tanh"):
        cam(net, torch.zeros(3, *SIZE), layer="tanh", target=0)
