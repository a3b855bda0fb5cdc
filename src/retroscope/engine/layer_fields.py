"""What a surveyed step is as a layer: its size, and the field of its units."""

from fractions import Fraction
from math import ceil, floor

from retroscope.engine.axis_fields import bound, is_exact
from retroscope.engine.motion import Grid
from retroscope.engine.program import Step, channel_shape
from retroscope.geometry import Field, ReceptiveField, simplest
from retroscope.results.layers import Layer

_UPPER_BOUND = "a unit sees at most this field; how much of it depends on its position"


def layer_of_step(step: Step, image_size: Grid, *, has_attention: bool = False) -> Layer:
    """A layer without its names: what kind it is, its size, and its receptive field.

    In a network with attention, units that see the whole image still have a position in it.
    """
    assert step.field is not None
    assert step.operation is not None
    channels, *size = channel_shape(step.shapes[0], step.field.positions, len(image_size))
    axes = zip(step.field.fields, size, image_size, strict=True)
    fields = [bound(axis, length, pixels) for axis, length, pixels in axes]
    whole = all(_covers(*axis) for axis in zip(fields, size, image_size, strict=True))
    bounds = zip(step.field.fields, fields, image_size, strict=True)
    exact = all(is_exact(axis, bounding, pixels) for axis, bounding, pixels in bounds)
    has_places = step.field.has_places and step.field.positions and not step.field.uniform
    if whole and has_attention and has_places:
        fields = [_centred(*axis) for axis in zip(size, image_size, strict=True)]
    note = step.field.note or ("" if exact else _UPPER_BOUND)
    return Layer(
        name="",
        kind=step.operation.kind,
        channels=channels,
        size=tuple(size),
        field=ReceptiveField.along(
            fields, whole=whole, global_context=step.field.global_context and not whole
        ),
        note=note,
        extra_tokens=step.field.tokens.extra if step.field.tokens else 0,
    )


def _centred(length: int, pixels: int) -> Field:
    """The field of units that all see an axis of `pixels`, each in the middle of its own.

    Two units see an axis of 8 pixels:

        image             [=======)
        unit 0      [===========)          its middle is that of the first 4 pixels
        unit 1          [===========)

    >>> _centred(2, 8)
    Field(size=12, stride=4, start=-4)
    """
    stride = simplest(Fraction(pixels, length))
    first = floor(stride - pixels)
    return Field(ceil(2 * pixels - stride) + (stride != int(stride)), stride, first)


def _covers(field: Field, length: int, pixels: int) -> bool:
    """Whether all units share one interval and it is the whole axis."""
    start, stop = field.at(0)
    return (field.stride == 0 or length == 1) and start <= 0 and stop >= pixels
