"""The rules of relevance, compared with their definitions on dense matrices, and with zennit."""

import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from retroscope.engine.call_rules import CallRule, LinearCall, LinearRule, SignalMap
from retroscope.engine.linear_rules import ByWeights, FoldedNorm
from retroscope.engine.operations import Role
from retroscope.engine.relevance import ConstantAttention, Epsilon, Gamma, Secant
from retroscope.engine.rules import RELEVANCE, RuleBook
from retroscope.errors import UnitError
from retroscope.methods.deconv.deconv import deconv
from retroscope.network import Network
from retroscope.results.projections import Projection
from tests.conftest import built, numbers

Array = npt.NDArray[np.float64]
SIZE = (6, 7)


def book_of(rule: LinearRule) -> RuleBook:
    """One rule for all linear operations."""
    rules: dict[Role, CallRule] = {
        Role.LINEAR: ByWeights(rule),
        Role.BATCH_NORM: FoldedNorm(),
        Role.RECTIFIER: Secant(),
    }
    return RuleBook("one rule", rules)


def dense(module: nn.Module, image: torch.Tensor) -> tuple[Array, Array]:
    """A linear operation as the matrix W and the vector b of y = W x + b."""
    with torch.no_grad():
        bias = module(torch.zeros_like(image)[None])[0].flatten()
        units = torch.eye(image.numel(), dtype=image.dtype).view(-1, *image.shape)
        columns = module(units).flatten(1) - bias
    return columns.T.numpy(), bias.numpy()


def gamma_by_definition(matrix: Array, bias: Array, x: Array, start: Array) -> Array:
    """The signal at x, from the sums of the definition, output by output."""
    y = matrix @ x + bias
    signal = np.zeros_like(x)
    for output, weights in enumerate(matrix):
        sign = 1 if y[output] > 0 else -1
        shares = weights * x
        favoured = shares + 0.25 * np.where(sign * shares > 0, shares, 0)
        constant = bias[output] + 0.25 * (bias[output] if sign * bias[output] > 0 else 0)
        relevance = favoured / (favoured.sum() + constant) * (y[output] * start[output])
        signal += relevance / x
    return signal


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 4, 3, stride=2, padding=1)


@pytest.mark.parametrize("make", [conv, lambda: nn.Conv2d(3, 6, 2, groups=3, dilation=2)])
def test_gamma_is_its_definition_on_signed_inputs(make: Callable[[], nn.Conv2d]) -> None:
    module: Any = built(make).double()
    image = numbers(3, *SIZE)
    matrix, bias = dense(module, image)
    outputs = module(image[None])[0]
    start = np.zeros(outputs.shape)
    start[1, 1, 2] = outputs[1, 1, 2].item()
    x = image.numpy().ravel()
    expected = gamma_by_definition(matrix, bias, x, start.ravel()).reshape(image.shape)
    shown = deconv(Network(module, input_size=SIZE), "conv1:1@1,2", image, rules=book_of(Gamma()))
    np.testing.assert_allclose(shown.full().transpose(2, 0, 1), expected, rtol=1e-9, atol=1e-12)


def test_epsilon_damps_by_the_channels_of_the_position() -> None:
    module: Any = built(conv).double()
    image = numbers(3, *SIZE)
    net = Network(module, input_size=SIZE)
    with torch.no_grad():
        y = module(image[None])[0, :, 1, 2]
    damping = abs(y[1]) / (abs(y[1]) + 0.1 * (y * y).mean().sqrt())
    shown = deconv(net, "conv1:1@1,2", image, rules=book_of(Epsilon(0.1)))
    plain = deconv(net, "conv1:1@1,2", image, rules="gradient")
    np.testing.assert_allclose(shown.pixels, plain.pixels * damping.item(), rtol=1e-9)


@pytest.mark.parametrize("rule", [Epsilon(), Gamma()])
@pytest.mark.parametrize("bias", [True, False])
def test_a_batch_norm_counts_as_a_part_of_its_convolution(rule: LinearRule, bias: bool) -> None:
    def make() -> nn.Module:
        norm = nn.BatchNorm2d(4)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.running_mean, norm.running_var = torch.randn(4), torch.rand(4) + 0.5
        convolution = nn.Conv2d(3, 4, 3, padding=1, bias=bias)
        return nn.Sequential(convolution, norm, nn.ReLU(), nn.Conv2d(4, 2, 3))

    module: Any = built(make).double()
    fused = nn.Sequential(fuse_conv_bn_eval(module[0], module[1]), nn.ReLU(), module[3])
    image = numbers(3, *SIZE)
    two, one = (
        deconv(Network(part, input_size=SIZE), "conv2:1@1,2", image, rules=book_of(rule))
        for part in (module, fused)
    )
    np.testing.assert_allclose(two.pixels, one.pixels, rtol=1e-6, atol=1e-9)


def test_a_norm_that_does_not_follow_a_convolution_passes_the_gradient() -> None:
    module: Any = built(lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3))).double()
    module[0].running_var = torch.tensor([0.5, 1.0, 2.0]).double()
    bare = nn.Sequential(nn.Identity(), module[1])
    image = numbers(3, *SIZE)
    normed = module[0](image[None])[0].detach()
    shown = deconv(Network(module, input_size=SIZE), "1:1@1,2", image, rules=RELEVANCE)
    behind = deconv(Network(bare, input_size=SIZE), "1:1@1,2", normed, rules=RELEVANCE)
    scale = (module[0].running_var + module[0].eps).rsqrt().numpy()
    np.testing.assert_allclose(shown.pixels, behind.pixels * scale, rtol=1e-9)


class _Reader(nn.Module):
    """A convolution whose output is changed, or its input, before a norm or a rule reads it."""

    def __init__(self, change: str) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)
        self.change = change

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.first(image)
        if self.change == "output in place":
            x.add_(1)
        elif self.change == "output":
            x = x + 1
        y = self.norm(x)
        result: torch.Tensor = self.last(y)
        if self.change == "input in place":
            y.zero_()
        return result


def _projection_of_reader(change: str, book: RuleBook) -> Projection:
    module = built(lambda: _Reader(change)).double()
    net = Network(module, input_size=SIZE)
    return deconv(net, "last:1@1,2", net.prepare(numbers(3, *SIZE)), rules=book)


@pytest.mark.parametrize("rule", [Epsilon(), Gamma()])
def test_an_output_that_was_changed_in_place_is_not_the_convolutions(rule: LinearRule) -> None:
    book = book_of(rule)
    plain, in_place = (
        _projection_of_reader(change, book) for change in ("output", "output in place")
    )
    np.testing.assert_allclose(in_place.pixels, plain.pixels, rtol=1e-9)


def test_an_input_that_is_changed_later_counts_as_it_was() -> None:
    book = book_of(Gamma())
    plain, in_place = (
        _projection_of_reader(change, book) for change in ("nothing", "input in place")
    )
    np.testing.assert_allclose(in_place.pixels, plain.pixels, rtol=1e-9)


@pytest.mark.parametrize(
    "rectifier",
    [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1), nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.Softplus()],
    ids=repr,
)
def test_a_rectifier_passes_the_slope_of_its_secant(rectifier: nn.Module) -> None:
    module: Any = nn.Sequential(built(lambda: nn.Conv2d(3, 4, 1)).double(), rectifier)
    module[0].weight.data.mul_(8)
    image = numbers(3, *SIZE)
    with torch.no_grad():
        x = module[0](image[None])
        slope = ((rectifier(x) - rectifier(torch.zeros_like(x))) / x)[0, 1, 1, 2].item()
        activation = rectifier(x)[0, 1, 1, 2].item()
    book = RuleBook("secant", {Role.RECTIFIER: Secant()})
    shown = deconv(Network(module, input_size=SIZE), "1:1@1,2", image, rules=book)
    expected = activation * slope * module[0].weight.detach()[1, :, 0, 0].numpy()
    np.testing.assert_allclose(shown.pixels.ravel(), expected, rtol=1e-9, atol=1e-15)


class _Rectified(nn.Module):
    """A rectifier right behind its convolution and norm, or behind a step that changes nothing."""

    def __init__(self, rectifier: nn.Module, *, is_behind: bool) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.rectifier, self.is_behind, self.last = rectifier, is_behind, nn.Conv2d(4, 2, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.first(image))
        result: torch.Tensor = self.last(self.rectifier(x if self.is_behind else x * 1))
        return result


@pytest.mark.parametrize("rule", [Epsilon(), Gamma()])
@pytest.mark.parametrize(
    "rectifier",
    [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(0.1), nn.SiLU(), nn.PReLU(4)],
    ids=repr,
)
def test_a_rectifier_behind_a_convolution_passes_what_it_would_alone(
    rectifier: nn.Module, rule: LinearRule
) -> None:
    image, book = numbers(3, *SIZE), book_of(rule)
    behind, apart = (
        deconv(
            Network(
                built(partial(_Rectified, rectifier, is_behind=is_behind)).double(),
                input_size=SIZE,
            ),
            "last:1@1,2",
            image,
            rules=book,
        )
        for is_behind in (True, False)
    )
    assert abs(behind.pixels).max() > 0
    np.testing.assert_allclose(behind.pixels, apart.pixels, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("is_in_place", [True, False])
def test_a_pass_leaves_no_maps_in_memory(is_in_place: bool) -> None:
    calls = []

    class Recorder:
        def way_back(self, call: LinearCall) -> SignalMap:
            calls.append(weakref.ref(call))
            return call.transpose(call.linear.weight)

    def make() -> nn.Module:
        parts = [
            (nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.LeakyReLU(0.1, is_in_place))
            for _ in range(3)
        ]
        return nn.Sequential(*(part for row in parts for part in row))

    net = Network(built(make).double(), input_size=SIZE)
    deconv(net, "8:1@1,2", numbers(3, *SIZE), rules=book_of(Recorder()))
    gc.collect()
    assert len(calls) == 3
    assert not any(call() for call in calls)


class _Gated(nn.Module):
    """A gate that is written in one of several ways; `fixed` is its value, held constant."""

    def __init__(self, way: str, fixed: torch.Tensor | None = None) -> None:
        super().__init__()
        self.first, self.fc, self.last = nn.Conv2d(3, 4, 1), nn.Linear(4, 4), nn.Conv2d(4, 2, 1)
        self.way, self.fixed = way, fixed

    def gate(self, x: torch.Tensor) -> torch.Tensor:
        if self.way.startswith("swish"):
            return x.sigmoid()
        gate: torch.Tensor = self.fc(x.mean((2, 3))).sigmoid()[:, :, None, None]
        return gate.expand_as(x) if self.way == "expanded" else gate

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.first(image)
        gate = self.gate(x) if self.fixed is None else self.fixed
        if self.way == "in place":
            x *= gate
        else:
            x = gate * x if self.way in ("gate first", "swish, gate first") else x * gate
        result: torch.Tensor = self.last(x)
        return result


@pytest.mark.parametrize(
    "way", ["plain", "gate first", "expanded", "in place", "swish", "swish, gate first"]
)
def test_a_gate_is_a_constant(way: str) -> None:
    image = numbers(3, *SIZE)
    module: Any = built(lambda: _Gated(way)).double()
    with torch.no_grad():
        fixed = module.gate(module.first(image[None]))
    constant = built(lambda: _Gated(way, fixed)).double()
    gated, held = (
        deconv(Network(part, input_size=SIZE), "last:1@1,2", image, rules=RELEVANCE)
        for part in (module, constant)
    )
    np.testing.assert_allclose(gated.full(), held.full(), rtol=1e-9, atol=1e-12)


def test_the_deviation_of_a_layer_norm_is_a_constant() -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(3)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            normed: torch.Tensor = self.norm(image.permute(0, 2, 3, 1))
            return normed

    module: Any = built(Normed).double()
    image = numbers(3, *SIZE)
    module.norm.weight.data = torch.tensor([0.5, -1.0, 2.0]).double()
    pixel = image[:, 1, 2].numpy()
    deviation = np.sqrt(pixel.var() + module.norm.eps)
    weight = module.norm.weight.detach().numpy()
    centre = np.eye(3) - 1 / 3
    activation = weight[1] * (centre[1] @ pixel) / deviation
    shown = deconv(Network(module, input_size=SIZE), "norm:1@1,2", image, rules=RELEVANCE)
    expected = activation * weight[1] * centre[1] / deviation
    np.testing.assert_allclose(shown.pixels[0, 0], expected, rtol=1e-9)


def test_relevance_changes_its_rule_half_way_up() -> None:
    def make() -> nn.Module:
        return nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(5)))

    module: Any = built(make).double()
    image = numbers(3, *SIZE)
    net, used = Network(module, input_size=SIZE), []

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def way_back(self, call: LinearCall) -> SignalMap:
            used.append(self.name)
            return call.transpose(call.linear.weight)

    rules = ByWeights(Recorder("upper"), lower=Recorder("lower"))
    book = RuleBook("recorded", {Role.LINEAR: rules})
    deconv(net, "4:1@1,2", image, rules=book)
    assert used == ["upper"] * 2 + ["lower"] * 3
    used.clear()
    deconv(net, "1:1@1,2", image, rules=book)
    assert used == ["upper", "lower"]


def deep() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU6()),
        *(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU6(inplace=True)),
        *(nn.Conv2d(6, 5, 3), nn.ReLU()),
    )


def test_a_contrast_has_no_part_along_what_the_channels_share() -> None:
    net, image = Network(built(deep).double(), input_size=(21, 21)), numbers(3, 21, 21)
    channels = range(5)
    contrasts = [deconv(net, f"7:{c}@3,3", image, rules="contrast") for c in channels]
    parts = [deconv(net, f"7:{c}@3,3", image, rules="relevance") for c in channels]
    shared = np.sum([p.pixels / p.activation for p in parts if p.activation], axis=0)
    for contrast, part in zip(contrasts, parts, strict=True):
        size = (shared * shared).sum()
        expected = part.pixels - (part.pixels * shared).sum() / size * shared
        np.testing.assert_allclose(contrast.pixels, expected, rtol=1e-8, atol=1e-12)
        assert abs((contrast.pixels * shared).sum()) < 1e-9 * size


def test_a_contrast_needs_a_channel() -> None:
    net = Network(built(deep).double(), input_size=(21, 21))
    with pytest.raises(UnitError, match="give one, as in '7:0'"):
        deconv(net, "7", numbers(3, 21, 21), rules="contrast")


def test_without_biases_relevance_is_neither_made_nor_lost() -> None:
    """The sum over the pixels is the activation: gamma and secants only share it out."""
    module: Any = built(deep).double()
    image = numbers(3, 21, 21)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.BatchNorm2d) and part.bias is not None:
            nn.init.zeros_(part.bias)
    channel = int(module(image[None])[0, :, 1, 1].argmax())
    net = Network(module, input_size=(21, 21))
    shown = deconv(net, f"7:{channel}@1,1", image, rules=book_of(Gamma()))
    relevance = shown.full().transpose(2, 0, 1) * image.numpy() / shown.activation
    assert shown.activation > 0
    assert relevance.sum() == pytest.approx(shown.activation, rel=1e-6)


@pytest.mark.parametrize(("name", "rule"), [("gamma", Gamma(0.25)), ("epsilon", Epsilon(0.0))])
def test_relevance_is_zennits(name: str, rule: LinearRule) -> None:
    zennit = pytest.importorskip("zennit.rules")
    composites = pytest.importorskip("zennit.composites")
    types = pytest.importorskip("zennit.types")
    rules = {"gamma": zennit.Gamma(0.25), "epsilon": zennit.Epsilon(1e-12)}

    def make() -> nn.Module:
        convolutions = (nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 5, 3))
        return nn.Sequential(*(part for conv in convolutions for part in (conv, nn.ReLU())))

    module: Any = built(make).double()
    image = numbers(3, 12, 12).abs()  # before 0.5, zennit knew gamma of such inputs alone
    pixels = image[None].clone().requires_grad_()
    composite = composites.LayerMapComposite(
        [(types.Convolution, rules[name]), (types.Activation, zennit.Pass())]
    )
    with composite.context(module) as changed:
        maps = changed(pixels)
        channel = int(maps[0, :, 3, 3].argmax())
        start = torch.zeros_like(maps)
        start[0, channel, 3, 3] = maps[0, channel, 3, 3]
        (expected,) = torch.autograd.grad(maps, pixels, start)
    net = Network(module, input_size=(12, 12))
    shown = deconv(net, f"5:{channel}@3,3", image, rules=book_of(rule))
    relevance = shown.full().transpose(2, 0, 1) * image.numpy() / shown.activation
    # zennit adds 1e-6 to each divisor
    np.testing.assert_allclose(relevance, expected[0].numpy(), rtol=1e-4, atol=1e-9)


# Attention in one call


class Attention(nn.Module):
    """Positions of a map attend, by a call of torch with these keys and values for the tokens."""

    def __init__(self, attend: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv, self.attend = nn.Conv2d(3, 4, 1), attend

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.conv(x)
        tokens = self.attend(maps.flatten(2).transpose(1, 2))
        return torch.tanh(tokens.transpose(1, 2).reshape(maps.shape))


def project(attend: Callable[[torch.Tensor], torch.Tensor], rules: str | RuleBook) -> Array:
    net = Network(built(lambda: Attention(attend)).double(), input_size=SIZE)
    pixels: Array = deconv(net, "tanh:1@2,3", numbers(3, *SIZE), rules=rules).full()
    return pixels


@pytest.mark.parametrize("rules", ["gradient", "relevance"])
def test_attention_may_be_called_with_its_values_first(rules: str) -> None:
    fused = nn.functional.scaled_dot_product_attention
    by_position = project(lambda tokens: fused(2 * tokens, tokens, tokens / 2), rules)
    by_name = project(lambda x: fused(value=x / 2, key=x, query=2 * x), rules)
    np.testing.assert_allclose(by_name, by_position, rtol=1e-9)
    assert by_name.any()


def test_values_that_are_constant_leave_the_signal_to_the_weights() -> None:
    memory = numbers(1, 5, 4)

    def look_up(tokens: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(tokens, memory, memory)

    book = RuleBook("constant attention", {Role.ATTENTION: ConstantAttention()})
    expected = project(look_up, "gradient")
    np.testing.assert_allclose(project(look_up, book), expected, rtol=1e-9)
    assert expected.any()


def test_a_number_may_be_the_first_factor() -> None:
    twice, doubled = (
        project(attend, "relevance") for attend in (lambda x: torch.mul(2.0, x), lambda x: x * 2.0)
    )
    np.testing.assert_array_equal(twice, doubled)
