from itertools import product

import torch
import torch.nn.functional as F
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from retroscope.engine.map_regions import Cut, MapRegion, Span, cut
from retroscope.geometry import Window

FULLS = st.integers(1, 14)
PADS = st.integers(0, 3)


@st.composite
def spans(draw: st.DrawFn, full: int | None = None) -> Span:
    length = draw(FULLS) if full is None else full
    start = draw(st.integers(0, length - 1))
    return Span(start, draw(st.integers(1, length - start)), length)


@st.composite
def windows(draw: st.DrawFn, pads: st.SearchStrategy[int] = PADS) -> Window:
    """A pool's window, alike at both ends, or a convolution's, which may also crop."""
    size, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    if draw(st.booleans()):
        pad = draw(PADS)
        return Window(size, stride, pad, pad, draw(st.integers(1, 2)), ceil=draw(st.booleans()))
    return Window(size, stride, draw(pads), draw(pads), draw(st.integers(1, 3)))


CROPS = windows(st.integers(-3, 3))


def positions(span: Span) -> set[int]:
    return set(range(span.start, span.stop))


def known(span: Span, window: Window) -> set[int]:
    """The outputs whose windows lie in the part, or in the padding of a border it touches."""
    low = -1000 if span.start == 0 else span.start
    high = 1000 if span.stop == span.full else span.stop
    reads = {output: window.reads(output) for output in range(window.outputs(span.full))}
    return {output for output, (start, stop) in reads.items() if low <= start and stop <= high}


def sees_a_pixel(window: Window, output: int, full: int) -> bool:
    start, stop = window.reads(output)
    return start < full and stop > 0


# Spans


@given(full=FULLS, draw=st.data())
def test_two_spans_meet_in_what_both_hold(full: int, draw: st.DataObject) -> None:
    one, other = draw.draw(spans(full)), draw.draw(spans(full))
    met = one.meet(other)
    assert met.full == full
    assert positions(met) == positions(one) & positions(other)
    assert (met.count > 0) == bool(positions(met))


@given(y=spans(), x=spans(), draw=st.data())
def test_two_parts_of_a_map_meet_in_what_both_hold(y: Span, x: Span, draw: st.DataObject) -> None:
    other_y, other_x = draw.draw(spans(y.full)), draw.draw(spans(x.full))
    met = MapRegion.of_input([y, x]).meet(MapRegion.of_input([other_y, other_x]))
    shared = (positions(y) & positions(other_y), positions(x) & positions(other_x))
    if met is None:
        assert not all(shared)
        return
    assert tuple(map(positions, met.spans)) == shared


@given(y=spans(), x=spans())
def test_parts_of_different_maps_do_not_meet(y: Span, x: Span) -> None:
    here = MapRegion.of_input([y, x])
    assert here.meet(here) == here
    assert here.meet(MapRegion((y, x), (1, 2))) is None
    assert here.meet(MapRegion.of_input([Span(y.start, y.count, y.full + 1), x])) is None


@given(y=spans(), x=spans())
def test_a_part_fits_a_tensor_of_its_size(y: Span, x: Span) -> None:
    held = MapRegion.of_input([y, x])
    assert held.fits((1, 2, y.count, x.count))
    assert not held.fits((1, 2, y.count + 1, x.count))
    assert not held.fits((1, 2, y.count))
    assert MapRegion((y, x), (1, 3)).fits(torch.zeros(1, y.count, 5, x.count).shape)


# Cutting


@given(span=spans(), window=windows())
def test_a_cut_gives_exactly_the_outputs_whose_whole_window_is_known(
    span: Span, window: Window
) -> None:
    assume(window.outputs(span.full) > 0)
    expected = known(span, window)
    made = cut(span, window)
    if made is None:
        assert not any(sees_a_pixel(window, output, span.full) for output in expected)
        return
    assert positions(made.gives) == expected
    assert (made.gives.full, made.full) == (window.outputs(span.full), span.full)


@given(span=spans(), window=windows())
def test_a_cut_takes_only_what_the_span_holds_and_pads_only_at_a_border(
    span: Span, window: Window
) -> None:
    assume(window.outputs(span.full) > 0)
    made = cut(span, window)
    assume(made is not None)
    assert made is not None
    assert 0 <= made.take[0] < made.take[1] <= span.count
    assert made.pad[0] == 0 or span.start == 0
    assert made.pad[1] == 0 or span.stop == span.full


def run(line: torch.Tensor, window: Window, made: Cut | None) -> torch.Tensor:
    """A convolution of a line, or of what a cut takes of it, with the padding written out."""
    taken = line if made is None else line[made.take[0] : made.take[1]]
    pads = (window.before, window.after) if made is None else made.pad
    spare = (0, window.stride) if made is None and window.ceil else (0, 0)
    kernel = torch.arange(1.0, window.size + 1, dtype=torch.float64)[None, None]
    padded = F.pad(F.pad(taken, pads), spare)[None, None]
    if padded.shape[2] < window.reach:
        return torch.zeros(0, dtype=torch.float64)
    return F.conv1d(padded, kernel, stride=window.stride, dilation=window.dilation)[0, 0]


@settings(deadline=None)
@given(span=spans(), window=CROPS)
def test_a_cut_of_a_line_computes_what_the_whole_line_gives(span: Span, window: Window) -> None:
    assume(window.before >= 0 or span.start == 0)  # cropping is tried below
    assume(span.full + min(window.before, 0) + min(window.after, 0) >= 0)
    assume(window.outputs(span.full) > 0)
    made = cut(span, window)
    assume(made is not None)
    assert made is not None
    line = torch.arange(3.0, 3 + span.full, dtype=torch.float64) ** 2
    whole = run(line, window, None)[: window.outputs(span.full)]
    part = run(line[span.start : span.stop], window, made)
    assert torch.equal(part, whole[made.gives.start : made.gives.stop])


@example(span=Span(1, 2, 4), window=Window(before=-2))
@given(span=spans(), window=windows(st.integers(-3, -1)))
def test_a_cut_gives_no_outputs_that_the_whole_line_does_not_have(
    span: Span, window: Window
) -> None:
    assume(window.outputs(span.full) > 0)
    made = cut(span, window)
    assert made is None or positions(made.gives) <= set(range(window.outputs(span.full)))


def test_a_window_that_reads_padding_only_has_nothing_to_take() -> None:
    assert cut(Span(0, 1, 9), Window(2, stride=5, before=3)) is None


def test_every_span_of_a_line_is_cut_for_a_pool_that_hangs_over_its_end() -> None:
    window = Window(3, stride=2, ceil=True)
    for start, stop in product(range(6), range(1, 7)):
        if start < stop:
            span = Span(start, stop - start, 6)
            made = cut(span, window)
            assert (set() if made is None else positions(made.gives)) == known(span, window)
