"""Where in the image a token is: in the middle of the pixels that reach it if it attends to itself.

The definition: weights of attention are 1 for the token's own position and 0 for all others, and a
row or a column of pixels is changed at a time.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from retroscope.engine.survey import survey
from retroscope.results.layers import Layer
from tests.conftest import built, numbers

WIDTH = 4
Size = tuple[int, int]


def stem(*convolutions: tuple[int, int, int]) -> nn.Sequential:
    """Convolutions of (kernel, stride, padding), one behind the other."""
    channels = pairwise([3] + [WIDTH] * len(convolutions))
    layers = (nn.Conv2d(*pair, *conv) for pair, conv in zip(channels, convolutions, strict=True))
    return nn.Sequential(*layers)


class Attention(nn.Module):
    """Queries at every `step`-th row and column of a map attend to all of its positions.

    `to_oneself`: each takes the value at its own position alone. `transposed`: tokens are the last
    dimension, as where linear layers are convolutions.
    """

    def __init__(self, step: int, *, transposed: bool) -> None:
        super().__init__()
        self.step, self.transposed, self.to_oneself = step, transposed, False
        self.query, self.key, self.value = (nn.Conv2d(WIDTH, WIDTH, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        chosen = x[:, :, :: self.step, :: self.step]
        query, key, value = (
            layer(maps).flatten(2)
            for layer, maps in ((self.query, chosen), (self.key, x), (self.value, x))
        )
        weights = (query.mT @ key).softmax(-1)
        if self.to_oneself:
            own = torch.arange(x[0, 0].numel()).view(x.shape[2:])[:: self.step, :: self.step]
            weights = F.one_hot(own.flatten(), x[0, 0].numel()).to(x)[None]
        attended = value @ weights.mT if self.transposed else (weights @ value.mT).mT
        return torch.unflatten(attended, 2, chosen.shape[2:])


class Outlook(nn.Module):
    """As VOLO has it: the values in every second window are weighed and added where they lie."""

    def __init__(self) -> None:
        super().__init__()
        self.value, self.weights = nn.Conv2d(WIDTH, WIDTH, 1), nn.Linear(WIDTH, 81)
        self.to_oneself = False

    def forward(self, x: Tensor) -> Tensor:
        windows = F.unfold(self.value(x), 3, padding=1, stride=2)
        pooled = F.avg_pool2d(x, 2, 2, ceil_mode=True).flatten(2).mT
        weights = torch.unflatten(self.weights(pooled), 2, (9, 9)).softmax(-1)
        if self.to_oneself:
            weights = torch.eye(9).to(x).expand_as(weights)
        values = torch.unflatten(windows.mT, 2, (WIDTH, 9)).mT
        weighed = (weights @ values).mT.flatten(2).mT
        return F.fold(weighed, x.shape[2:], 3, padding=1, stride=2)


class Transformer(nn.Module):
    """A stem, attention beside a skip connection, and attention that leaves out rows."""

    def __init__(self, before: nn.Module, *, step: int = 1, transposed: bool = False) -> None:
        super().__init__()
        self.before = before
        self.first = Attention(1, transposed=transposed)
        self.second = Attention(step, transposed=transposed)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        x = x + self.first(x).tanh()
        return torch.sigmoid(self.second(x))


def middles(net: nn.Module, size: Size) -> list[list[float | None]]:
    """Along y and x, the middle of the pixels that reach each position of the output; None where
    the border of the image or of a padded map may cut them: they are the first or the last pixels
    that reach any position, or are fewer than elsewhere.
    """
    for part in net.modules():
        if isinstance(part, Attention | Outlook):
            part.to_oneself = True
    image, along_axes = numbers(1, 3, *size), []
    for axis in (2, 3):
        images = image.repeat(size[axis - 2], 1, 1, 1)
        for number in range(len(images)):
            images[number].select(axis - 1, number).add_(1)
        with torch.no_grad():
            differences = (net(images) - net(image)).abs()
        reached = (differences > 1e-12).any(1).any(4 - axis)
        along_axes.append(_middles_of(reached.mT))
    return along_axes


def _middles_of(reached: Tensor) -> list[float | None]:
    """The middle of each row, but of those that may be cut."""
    ends = [(int(row.int().argmax()), int(row.cumsum(0).argmax())) for row in reached]
    longest = max(last - first for first, last in ends)
    lowest, highest = min(first for first, _ in ends), max(last for _, last in ends)
    return [
        (first + last) / 2 if lowest < first <= last < highest and last - first == longest else None
        for first, last in ends
    ]


def last_layer(net: nn.Module, size: Size) -> Layer:
    return survey(net, (3, *size)).layers[-1]


def compare_places(net: nn.Module, size: Size) -> int:
    """Compares the middle of each unit's field with the definition; how many there were."""
    layer, compared = last_layer(net, size), 0
    assert layer.field.whole
    assert not layer.note
    for field, pixels, expected in zip(layer.field.axes(2), size, middles(net, size), strict=True):
        for index, middle in enumerate(expected):
            start, stop = field.at(index)
            assert start <= 0
            assert stop >= pixels
            if middle is not None:
                compared += 1
                assert (start + stop - 1) / 2 == middle
    return compared


STEMS: dict[str, Callable[[], nn.Module]] = {
    "patches": partial(stem, (8, 8, 0)),
    "strided": partial(stem, (3, 2, 1), (3, 2, 1)),
    "overlapping patches": partial(stem, (7, 4, 2)),
    "even kernels": partial(stem, (4, 2, 1), (2, 2, 0)),
    "a kernel smaller than its stride": partial(stem, (1, 3, 0)),
    "windows": lambda: nn.Sequential(stem((3, 2, 1), (3, 2, 1)), Outlook()),
    "a pool": lambda: nn.Sequential(stem((3, 1, 1)), nn.AvgPool2d(3, 2, 1)),
}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("name", STEMS)
def test_a_token_is_in_the_middle_of_what_reaches_it_without_the_others(
    name: str, step: int, transposed: bool
) -> None:
    net = built(lambda: Transformer(STEMS[name](), step=step, transposed=transposed)).double()
    assert compare_places(net, (40, 53)) >= 2


class Framed(Transformer):
    """Between its two kinds of attention, maps are written into larger ones."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        x = x + self.first(x).tanh()
        canvas = x.new_zeros(*x.shape[:2], x.shape[2] + 2, x.shape[3] + 1)
        canvas[:, :, 1:-1, 1:] = x
        return torch.sigmoid(self.second(canvas))


def test_a_map_in_a_larger_one_keeps_its_places() -> None:
    assert compare_places(built(lambda: Framed(stem((4, 4, 0)))).double(), (24, 24)) >= 2


CONVOLUTIONS = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2))


@settings(deadline=None, max_examples=25)
@example(convolutions=[(3, 3, 0), (4, 4, 1)], step=1, size=(20, 20))  # padding beyond what is read
@given(
    convolutions=st.lists(CONVOLUTIONS, min_size=1, max_size=2),
    step=st.integers(1, 3),
    size=st.tuples(st.integers(20, 33), st.integers(20, 33)),
)
def test_places_behind_any_stem_and_any_choice_of_queries(
    convolutions: list[tuple[int, int, int]], step: int, size: Size
) -> None:
    assume(all(padding < kernel for kernel, _, padding in convolutions))
    net = built(lambda: Transformer(stem(*convolutions), step=step)).double()
    assume(min(last_layer(net, size).size) > 1)
    compare_places(net, size)


def test_places_on_no_line_are_approximate() -> None:
    """Shares of 10 rows for 4 positions are around rows 1, 3, 6 and 8."""
    size = (4, 4)
    net = built(lambda: Transformer(nn.Sequential(stem((4, 4, 0)), nn.AdaptiveAvgPool2d(size))))
    layer = last_layer(net, (40, 40))
    assert layer.field.whole
    assert layer.note == "the places of its units in the image are approximate"


def test_tokens_of_patches_that_leave_pixels_out_see_all_and_have_places() -> None:
    """Patches of 8 pixels cover 48 of 53: all are seen by every token, the last five by none."""
    net = built(lambda: Transformer(stem((8, 8, 0)))).double()
    layer = last_layer(net, (40, 53))
    assert layer.field.whole
    assert [layer.field.x.at(index)[0] + layer.field.x.size / 2 for index in range(6)] == [
        8 * index + 4 for index in range(6)
    ]
