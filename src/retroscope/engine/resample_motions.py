"""How calls that give a map another size or border move positions.

Like `call_motions`: each function takes a `Place` and then the parameters of the torch function.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from math import ceil, floor

from retroscope.engine.call_motions import PerAxis, per_axis
from retroscope.engine.motion import Mix, Motion, Place, Resample, Slide
from retroscope.geometry import Interval, Window


def adaptive_pool(
    at: Place,
    _input: object,
    output_size: int | Sequence[int | None] | None,
    *_args: object,
    **_kwargs: object,
) -> Motion:
    """Windows from `i * length // outputs`; of different sizes if that is not a whole number."""
    if not at.is_last():
        return Mix()
    sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * at.rank
    axes = [
        (length, length if size is None else int(size))
        for size, length in zip(sizes, at.lengths, strict=True)
    ]
    if any(length % outputs for length, outputs in axes):
        return Resample(tuple(_even_shares(*axis) for axis in axes))
    return Slide(tuple(Window(length // n, length // n) for length, n in axes))


def _even_shares(length: int, outputs: int) -> tuple[Interval, ...]:
    return tuple(
        (index * length // outputs, -(-(index + 1) * length // outputs)) for index in range(outputs)
    )


def interpolate(
    at: Place,
    _input: object,
    size: object = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Motion:
    """The result has its size already; the mode says which positions each of its own reads."""
    del size
    if not at.is_last() or len(at.result) != len(at.shape):
        return Mix()
    targets = tuple(at.result[axis] for axis in at.axes)
    is_by_size = recompute_scale_factor or align_corners or mode == "area"
    factors = _factors(None if is_by_size else scale_factor, at.rank)
    if targets == at.lengths and set(factors) <= {None, 1.0}:
        return Slide((Window(),) * at.rank)
    if mode == "area":
        shares = zip(at.lengths, targets, strict=True)
        return Resample(tuple(_even_shares(*axis) for axis in shares))
    reads = _SAMPLINGS.get((mode, antialias))
    if reads is None:
        return Mix(f"interpolate of mode {mode!r} is not in the table of operations")
    scale = partial(_scale, align_corners=bool(align_corners), antialias=antialias)
    intervals = (
        _resampled(length, outputs, reads, scale(length, outputs, factor))
        for length, outputs, factor in zip(at.lengths, targets, factors, strict=True)
    )
    return Resample(tuple(intervals))


def _factors(scale_factor: float | Sequence[float] | None, rank: int) -> tuple[float | None, ...]:
    """The factor by which each axis grows; None if only its new length says it."""
    if scale_factor is None:
        return (None,) * rank
    if not isinstance(scale_factor, Sequence):
        return (float(scale_factor),) * rank
    return tuple(map(float, scale_factor))


def _scale(
    length: int, outputs: int, factor: float | None, *, align_corners: bool, antialias: bool
) -> tuple[Fraction, Fraction]:
    """The position in the input of output 0, and the step from one output to the next."""
    if align_corners:
        step = Fraction(length - 1, outputs - 1) if outputs > 1 else Fraction(0)
        # with antialiasing, torch takes the step from the corners, and starts as without corners
        return ((step - 1) / 2 if antialias else Fraction(0)), step
    step = Fraction(length, outputs) if factor is None else 1 / Fraction(factor)
    return (step - 1) / 2, step


Sampling = Callable[[Fraction, Fraction, Fraction], tuple[int, int]]
"""The first and last position that is read at a place of the input, given the step; the last
argument is how far torch's arithmetic in float32 may be off."""


def _nearest(place: Fraction, step: Fraction, slack: Fraction) -> tuple[int, int]:
    corner = place - (step - 1) / 2
    return floor(corner - slack), floor(corner + slack)


def _nearest_exact(place: Fraction, _step: Fraction, slack: Fraction) -> tuple[int, int]:
    half = Fraction(1, 2)
    return floor(place + half - slack), floor(place + half + slack)


def _linear(place: Fraction, _step: Fraction, slack: Fraction) -> tuple[int, int]:
    return floor(place - slack), ceil(place + slack)


def _bicubic(place: Fraction, _step: Fraction, slack: Fraction) -> tuple[int, int]:
    return floor(place - slack) - 1, floor(place + slack) + 2


def _smooth(radius: int) -> Sampling:
    def reads(place: Fraction, step: Fraction, slack: Fraction) -> tuple[int, int]:
        support = radius * max(step, Fraction(1))
        return floor(place - support + 1 - slack), floor(place + support + slack)

    return reads


_SAMPLINGS: dict[tuple[str, bool], Sampling] = {
    ("nearest", False): _nearest,
    ("nearest-exact", False): _nearest_exact,
    **{(mode, False): _linear for mode in ("linear", "bilinear", "trilinear")},
    ("bicubic", False): _bicubic,
    ("bilinear", True): _smooth(1),
    ("bicubic", True): _smooth(2),
}


def _resampled(
    length: int, outputs: int, reads: Sampling, scale: tuple[Fraction, Fraction]
) -> tuple[Interval, ...]:
    start, step = scale
    slack = Fraction(0) if step.denominator & (step.denominator - 1) == 0 else Fraction(1, 1000)
    intervals = []
    for output in range(outputs):
        first, last = reads(start + output * step, step, slack)
        if length == outputs:  # some of torch's kernels copy such an axis, whatever the factor is
            first, last = min(first, output), max(last, output)
        first, last = (min(max(end, 0), length - 1) for end in (first, last))
        intervals.append((first, last + 1))
    return tuple(intervals)


def conv_transpose(
    at: Place,
    _input: object,
    weight: object,
    bias: object = None,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
) -> Motion:
    """Each input spreads over `size` outputs; an output reads the inputs that reach it."""
    del bias, output_padding, groups
    sizes = tuple(getattr(weight, "shape", ()))[2:]
    if not at.is_last(len(sizes)):
        return Mix()
    steps, pads, gaps = (per_axis(value, at.rank) for value in (stride, padding, dilation))
    reads = (
        tuple(
            _inputs_that_reach(output + pad, length, step=step, reach=(size - 1) * gap + 1)
            for output in range(at.result[axis])
        )
        for axis, length, size, step, pad, gap in zip(
            at.axes, at.lengths, sizes, steps, pads, gaps, strict=True
        )
    )
    return Resample(tuple(reads))


def _inputs_that_reach(place: int, length: int, *, step: int, reach: int) -> Interval:
    """The inputs whose outputs, `reach` from `input * step` on, include this place."""
    first = min(max(-(-(place - reach + 1) // step), 0), length - 1)
    return first, max(min(place // step, length - 1), first) + 1


def windows_at(window: Window, length: int) -> tuple[Interval, ...]:
    """For each position of an axis, which windows include it, if the axis went on at both ends.

    >>> windows_at(Window(3, stride=2, before=1, after=1), 4)
    ((0, 1), (0, 2), (1, 2), (1, 3))
    """
    places = range(window.before, window.before + length)
    return tuple(
        (-(-(place - window.reach + 1) // window.stride), place // window.stride + 1)
        for place in places
    )


def pixel_shuffle(at: Place, _input: object, upscale_factor: int) -> Motion:
    """Channels become `upscale_factor` rows and columns."""
    if not at.is_last(rank=2):
        return Mix()
    reads = (
        tuple((index // upscale_factor, index // upscale_factor + 1) for index in range(length))
        for length in (at.result[axis] for axis in at.axes)
    )
    return Resample(tuple(reads))


def pixel_unshuffle(at: Place, _input: object, downscale_factor: int) -> Motion:
    """Rows and columns become channels."""
    window = Window(downscale_factor, downscale_factor)
    return Slide((window, window)) if at.is_last(rank=2) else Mix()


def pad(
    at: Place,
    _input: object,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> Motion:
    """`pad` lists both ends of each dimension, from the last to the first."""
    del value
    rank = len(at.shape)
    sizes = tuple(map(int, pad))
    pairs = {rank - 1 - n: (sizes[2 * n], sizes[2 * n + 1]) for n in range(len(sizes) // 2)}
    along = [pairs.get(axis, (0, 0)) for axis in at.axes]
    if mode == "constant" or not any(map(any, along)):
        return Slide(tuple(Window(1, 1, *pair) for pair in along))
    if mode not in _BORDERS:
        return Mix(f"padding of mode {mode!r} is not in the table of operations")
    reads = (
        tuple(_BORDERS[mode](index - ends[0], length, ends) for index in range(length + sum(ends)))
        for length, ends in zip(at.lengths, along, strict=True)
    )
    return Resample(tuple(reads))


Ends = tuple[int, int]
"""How much is added before and behind the positions of an axis, or cut off."""


def _reflect(index: int, length: int, _ends: Ends) -> Interval:
    index = abs(index)
    index = 2 * (length - 1) - index if index >= length else index
    return index, index + 1


def _replicate(index: int, length: int, _ends: Ends) -> Interval:
    index = min(max(index, 0), length - 1)
    return index, index + 1


def _wrap(index: int, length: int, ends: Ends) -> Interval:
    """An end of less than nothing is cut off before what is left goes around."""
    first, stop = max(-ends[0], 0), length - max(-ends[1], 0)
    index = first + (index - first) % (stop - first)
    return index, index + 1


_BORDERS = {"reflect": _reflect, "replicate": _replicate, "circular": _wrap}
