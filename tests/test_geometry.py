from functools import reduce
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from retroscope.geometry import Box, Field, ReceptiveField, Window

CALM = settings(deadline=None)  # torch takes its time when it is first called
SIZES, STRIDES, GAPS, LENGTHS = (
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 24),
)
WINDOWS = st.builds(
    Window, SIZES, STRIDES, before=st.integers(-2, 3), after=st.integers(-2, 3), dilation=GAPS
)
FIELDS = st.builds(Field, st.integers(1, 30), st.integers(0, 8), st.integers(-20, 20))
SPOTS = st.integers(-6, 12)


@st.composite
def pools(draw: st.DrawFn, gaps: st.SearchStrategy[int]) -> Window:
    """Windows that torch's pools allow: padded alike, and by half their size at most."""
    size = draw(SIZES)
    pad = draw(st.integers(0, size // 2))
    return Window(size, draw(STRIDES), pad, pad, draw(gaps), draw(st.booleans()))


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    top, left = draw(SPOTS), draw(SPOTS)
    return Box(top, left, top + draw(st.integers(1, 8)), left + draw(st.integers(1, 8)))


# How many outputs a window gives


@CALM
@given(window=WINDOWS, length=LENGTHS)
def test_a_window_gives_as_many_outputs_as_torchs_convolution(window: Window, length: int) -> None:
    assume(length + window.before + window.after >= window.reach)
    assume(length + min(window.before, 0) + min(window.after, 0) >= 0)  # torch crops what there is
    line = F.pad(torch.zeros(1, 1, length), (window.before, window.after))
    kernel = torch.zeros(1, 1, window.size)
    found = F.conv1d(line, kernel, stride=window.stride, dilation=window.dilation)
    assert window.outputs(length) == found.shape[2]


@CALM
@given(pool=pools(GAPS), length=LENGTHS)
def test_a_window_gives_as_many_outputs_as_torchs_max_pool(pool: Window, length: int) -> None:
    assume(length + 2 * pool.before >= pool.reach)
    line, sizes = torch.zeros(1, 1, length), (pool.size, pool.stride, pool.before, pool.dilation)
    assert pool.outputs(length) == F.max_pool1d(line, *sizes, ceil_mode=pool.ceil).shape[2]


@CALM
@given(pool=pools(st.just(1)), length=LENGTHS)
def test_a_window_gives_as_many_outputs_as_torchs_average_pool(pool: Window, length: int) -> None:
    assume(length + 2 * pool.before >= pool.reach)
    line, sizes = torch.zeros(1, 1, length), (pool.size, pool.stride, pool.before)
    assert pool.outputs(length) == F.avg_pool1d(line, *sizes, ceil_mode=pool.ceil).shape[2]


@given(window=WINDOWS, output=st.integers(0, 9))
def test_a_window_reads_from_its_first_position_to_its_last(window: Window, output: int) -> None:
    places = pixels_of([window], output)
    assert window.reads(output) == (min(places), max(places) + 1)
    assert window.reach == max(places) + 1 - min(places)


# Fields


def pixels_of(chain: list[Window], output: int) -> set[int]:
    """Every pixel that an output reads through some windows, the last one nearest to it."""
    places = {output}
    for window in reversed(chain):
        starts = {place * window.stride - window.before for place in places}
        taps = range(0, window.size * window.dilation, window.dilation)
        places = {start + tap for start, tap in product(starts, taps)}
    return places


@given(chain=st.lists(WINDOWS, max_size=5), output=st.integers(0, 9))
def test_a_field_spans_the_pixels_that_a_chain_of_windows_reads(
    chain: list[Window], output: int
) -> None:
    field = reduce(Field.through, chain, Field())
    places = pixels_of(chain, output)
    assert field.at(output) == (min(places), max(places) + 1)


@given(field=FIELDS)
def test_units_a_stride_apart_share_one_size(field: Field) -> None:
    starts, stops = zip(*map(field.at, range(4)), strict=True)
    assert starts == tuple(field.start + n * field.stride for n in range(4))
    assert {stop - start for start, stop in field_intervals(field)} == {field.size}
    assert field.centre == (starts[0] + stops[0] - 1) / 2


def field_intervals(field: Field) -> list[tuple[int, int]]:
    return [field.at(index) for index in range(4)]


@given(one=FIELDS, other=FIELDS)
def test_a_union_is_the_smallest_field_over_both_and_needs_one_stride(
    one: Field, other: Field
) -> None:
    both = one.union(other)
    assert both == other.union(one)
    if both is None:
        assert one.stride != other.stride
        return
    assert one.stride == other.stride
    for mine, theirs, ours in zip(*map(field_intervals, (one, other, both)), strict=True):
        assert ours == (min(mine[0], theirs[0]), max(mine[1], theirs[1]))


@given(one=FIELDS, others=st.lists(FIELDS, max_size=3))
def test_a_field_covers_itself_in_any_union(one: Field, others: list[Field]) -> None:
    assert one.union(one) == one
    total: Field | None = one
    for other in others:
        total = total and total.union(other)
    assert total is None or total.union(one) == total


@given(length=LENGTHS, chain=st.lists(WINDOWS, max_size=3), output=st.integers(0, 9))
def test_what_looks_through_whole_fields_sees_the_whole(
    length: int, chain: list[Window], output: int
) -> None:
    assert reduce(Field.through, chain, Field.whole(length)).at(output) == (0, length)


# Boxes


def pixels(box: Box) -> set[tuple[int, int]]:
    return set(product(range(box.top, box.bottom), range(box.left, box.right)))


@given(box=boxes())
def test_a_box_is_its_height_times_its_width(box: Box) -> None:
    assert len(pixels(box)) == box.height * box.width


@given(box=boxes(), height=st.integers(1, 9), width=st.integers(1, 9))
def test_a_clipped_box_holds_the_pixels_that_lie_in_the_picture(
    box: Box, height: int, width: int
) -> None:
    clipped = box.clip(height, width)
    assert pixels(clipped) == pixels(box) & pixels(Box(0, 0, height, width))
    assert 0 <= clipped.top <= clipped.bottom <= height
    assert 0 <= clipped.left <= clipped.right <= width
    assert clipped.clip(height, width) == clipped


@given(one=boxes(), other=boxes())
def test_the_union_of_boxes_is_the_smallest_box_around_both(one: Box, other: Box) -> None:
    ys, xs = zip(*(pixels(one) | pixels(other)), strict=True)
    assert one.union(other) == Box(min(ys), min(xs), max(ys) + 1, max(xs) + 1)


@given(several=st.lists(boxes(), min_size=1, max_size=5))
def test_the_box_around_several_is_their_union_in_any_order(several: list[Box]) -> None:
    around = Box.around(iter(several))
    assert around == Box.around(reversed(several)) == reduce(Box.union, several)
    assert all(pixels(box) <= pixels(around) for box in several)


# Receptive fields


@given(y=FIELDS, x=FIELDS, at=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_a_units_box_is_its_two_intervals(y: Field, x: Field, at: tuple[int, int]) -> None:
    box = ReceptiveField(y, x).box(*at)
    assert (box.top, box.bottom) == y.at(at[0])
    assert (box.left, box.right) == x.at(at[1])


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (ReceptiveField(Field(40, 4, -18), Field(40, 4, -18)), "40/4/-18"),
        (ReceptiveField(Field(3, 1, -1), Field(5, 2, -2)), "3x5/1x2/-1x-2"),
        (ReceptiveField(Field(7), Field(7), global_context=True), "7/1/0 + whole image"),
        (ReceptiveField(Field.whole(8), Field.whole(8), whole=True), "whole image"),
    ],
)
def test_a_field_is_printed_as_size_stride_and_start(field: ReceptiveField, text: str) -> None:
    assert str(field).startswith(text)
