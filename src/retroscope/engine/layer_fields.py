"""What a surveyed step is as a layer: its size, and the field of its units."""

from retroscope.engine.axis_fields import bound, is_exact
from retroscope.engine.program import Step, channel_shape
from retroscope.geometry import Field, ReceptiveField
from retroscope.results.layers import Layer

_UPPER_BOUND = "a unit sees at most this field; how much of it depends on its position"


def layer_of_step(step: Step, image_size: tuple[int, int]) -> Layer:
    """A layer without its names: what kind it is, its size, and its receptive field."""
    assert step.field is not None
    assert step.operation is not None
    channels, *size = channel_shape(step.shapes[0], step.field.axes)
    axes = list(zip(step.field.fields, size, image_size, strict=True))
    y, x = (bound(axis, length, pixels) for axis, length, pixels in axes)
    whole = all(_covers(*axis) for axis in zip((y, x), size, image_size, strict=True))
    bounds = zip(step.field.fields, (y, x), image_size, strict=True)
    exact = all(is_exact(axis, bounding, pixels) for axis, bounding, pixels in bounds)
    note = step.field.note or ("" if exact else _UPPER_BOUND)
    return Layer(
        name="",
        kind=step.operation.kind,
        channels=channels,
        size=(size[0], size[1]),
        field=ReceptiveField(y, x, whole, step.field.global_context and not whole),
        note=note,
    )


def _covers(field: Field, length: int, pixels: int) -> bool:
    """Whether all units share one interval and it is the whole axis."""
    start, stop = field.at(0)
    return (field.stride == 0 or length == 1) and start <= 0 and stop >= pixels
