"""Random small networks, as hypothesis draws them, and units of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from retroscope.engine.rules import RULE_BOOKS
from retroscope.methods.deconv.deconv import deconv
from retroscope.network import Network
from retroscope.results.projections import Projection
from retroscope.unit import Unit
from tests.conftest import numbers

CHANNELS = 4
RULES = sorted(RULE_BOOKS)
CLASSICAL = ("deconvnet", "gradient", "guided")
"""Rules that treat an operation alike whatever its weights and the activation."""


class Residual(nn.Module):
    """A block and a way around it."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.block(x)
        return result


class Branches(nn.Module):
    """Blocks side by side, joined and mixed."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.mix = nn.Conv2d(CHANNELS * len(blocks), CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.mix(torch.cat([block(x) for block in self.blocks], dim=1))
        return result


class InPlaceResidual(Residual):
    """The same with `+=`, so that the way around ends in the block's own tensor."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        y += x
        return y


SKIPS = [Residual, InPlaceResidual]


class PlainCode(nn.Module):
    """A function that no module stands for."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


Pair = tuple[int, int]


def pairs(least: int, most: int) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


def halves(size: Pair) -> st.SearchStrategy[Pair]:
    """Padding that a pool takes: at most half of its window."""
    return st.tuples(st.integers(0, size[0] // 2), st.integers(0, size[1] // 2))


@st.composite
def convolutions(draw: st.DrawFn) -> nn.Module:
    return nn.Conv2d(
        CHANNELS,
        CHANNELS,
        draw(pairs(1, 4)),
        stride=draw(pairs(1, 3)),
        padding=draw(pairs(0, 3)),
        dilation=draw(pairs(1, 2)),
        groups=draw(st.sampled_from([1, 2, 4])),
    )


@st.composite
def kept_size(draw: st.DrawFn) -> nn.Module:
    """A window that leaves the map as large as it was."""
    size, gap = draw(st.sampled_from([(1, 1), (3, 1), (5, 1), (3, 2)]))
    reach = (size - 1) * gap // 2
    kind = draw(st.sampled_from(["conv", "max", "mean"]))
    if kind == "max":
        return nn.MaxPool2d(3, 1, padding=1)
    if kind == "mean":
        return nn.AvgPool2d(3, 1, padding=1, count_include_pad=draw(st.booleans()))
    return nn.Conv2d(CHANNELS, CHANNELS, size, padding=reach, dilation=gap)


@st.composite
def max_pools(draw: st.DrawFn) -> nn.Module:
    size = draw(pairs(1, 4))
    return nn.MaxPool2d(
        size,
        draw(pairs(1, 4)),
        padding=draw(halves(size)),
        dilation=draw(pairs(1, 2)),
        ceil_mode=draw(st.booleans()),
    )


@st.composite
def mean_pools(draw: st.DrawFn) -> nn.Module:
    size = draw(pairs(1, 4))
    return nn.AvgPool2d(
        size,
        draw(pairs(1, 4)),
        padding=draw(halves(size)),
        ceil_mode=draw(st.booleans()),
        count_include_pad=draw(st.booleans()),
        divisor_override=draw(st.none() | st.just(3)),
    )


@st.composite
def paddings(draw: st.DrawFn) -> nn.Module:
    return nn.ZeroPad2d(draw(st.tuples(*[st.integers(0, 2)] * 4)))


def doubled_in_place(x: Tensor) -> Tensor:
    return (x + 1).mul_(2)


def shuffled(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    mixed = x.view(batch, 2, channels // 2, height, width).transpose(1, 2)
    return mixed.reshape(batch, channels, height, width)


def half_rectified(x: Tensor) -> Tensor:
    kept, sent = x.chunk(2, dim=1)
    return torch.cat([kept, torch.relu(sent)], dim=1)


def rectified_view(x: Tensor) -> Tensor:
    y = 2 * x
    y[:, 1:3].relu_()
    return y


def centred(x: Tensor) -> Tensor:
    return x - x.mean(dim=1, keepdim=True)


def plain_code() -> st.SearchStrategy[nn.Module]:
    functions = [doubled_in_place, shuffled, half_rectified, rectified_view, centred]
    return st.sampled_from(functions).map(PlainCode)


def rectifiers() -> st.SearchStrategy[nn.Module]:
    makers: list[Callable[[], nn.Module]] = [
        nn.ReLU,
        lambda: nn.ReLU(inplace=True),
        lambda: PlainCode(F.relu),
        lambda: nn.LeakyReLU(0.1),
    ]
    return st.sampled_from(makers).map(lambda make: make())


def norms() -> st.SearchStrategy[nn.Module]:
    return st.builds(lambda: nn.BatchNorm2d(CHANNELS))


def linear_parts() -> st.SearchStrategy[nn.Module]:
    return st.one_of(convolutions(), mean_pools(), norms(), paddings())


def branches() -> st.SearchStrategy[nn.Module]:
    side = st.lists(kept_size() | rectifiers(), min_size=1, max_size=3).map(
        lambda parts: nn.Sequential(*parts)
    )
    skips = st.builds(lambda kind, block: kind(block), st.sampled_from(SKIPS), side)
    return skips | st.lists(side, min_size=2, max_size=3).map(lambda sides: Branches(*sides))


def parts() -> st.SearchStrategy[nn.Module]:
    return st.one_of(linear_parts(), max_pools(), rectifiers(), branches(), plain_code())


@dataclass(frozen=True, eq=False)
class Case:
    """A network, a picture for it, and a unit of its last layer."""

    module: nn.Sequential
    size: Pair
    seed: int
    unit: Unit
    rules: str

    @property
    def picture(self) -> Tensor:
        return numbers(3, *self.size, seed=self.seed)

    @property
    def net(self) -> Network:
        return Network(self.module, input_size=self.size)

    def shown(self) -> Projection:
        return deconv(self.net, self.unit, self.net.prepare(self.picture), rules=self.rules)


@st.composite
def cases(
    draw: st.DrawFn,
    inner: st.SearchStrategy[nn.Module] | None = None,
    tail: Callable[[], list[nn.Module]] = list,
    rules: Sequence[str] = CLASSICAL,
) -> Case:
    """A stem, whatever of the inner parts leaves a map, a tail, and a convolution to look at."""
    size = draw(st.tuples(st.integers(9, 30), st.integers(9, 30)))
    seed = draw(st.integers(0, 2**16))
    drawn = draw(st.lists(parts() if inner is None else inner, max_size=6))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, maps = _fitting(drawn, tail(), size)
    channels, height, width = maps.shape[1:]
    position = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    unit = Unit(str(len(module) - 1), draw(st.integers(0, channels - 1)), position)
    return Case(module, size, seed, unit, draw(st.sampled_from(rules)))


def _fitting(
    drawn: list[nn.Module], tail: list[nn.Module], size: Pair
) -> tuple[nn.Sequential, Tensor]:
    module, maps = nn.Sequential(), torch.empty(0)
    stem, last = nn.Conv2d(3, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, 3, 3, padding=1)
    for part in [stem, *drawn, *tail, last]:
        _randomise(part.double().eval())
        longer = nn.Sequential(*module, part)
        made = _trained_on(longer, size)
        if made is not None:
            module, maps = longer, made
    return module, maps


def _trained_on(module: nn.Sequential, size: Pair) -> Tensor | None:
    """What it gives; None where a map is too small, or where torch itself cannot look back."""
    leaf = torch.ones(1, 3, *size, dtype=torch.float64).requires_grad_()
    try:
        made: Tensor = module(leaf.clone())
        if min(made.shape) == 0 or not made.isfinite().all():
            return None  # a pool's window in which there is nothing but padding
        torch.autograd.grad(made.sum(), [leaf, *module.parameters()], allow_unused=True)
    except RuntimeError:
        return None
    return made.detach()


@torch.no_grad()
def _randomise(part: nn.Module) -> None:
    for one in part.modules():
        if isinstance(one, nn.Conv2d):
            one.weight.normal_(0, (2 / one.weight[0].numel()) ** 0.5)
            assert one.bias is not None
            one.bias.normal_()
        if isinstance(one, nn.BatchNorm2d):
            for tensor in (one.weight, one.bias, one.running_mean):
                assert tensor is not None
                tensor.normal_()
            assert one.running_var is not None
            one.running_var.uniform_(0.5, 2)
