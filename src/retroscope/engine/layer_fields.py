"""What a surveyed step is as a layer: its size, and the field of its units."""

from retroscope.engine.axis_fields import bound, is_exact
from retroscope.engine.axis_places import AxisPlaces, sees_axis
from retroscope.engine.motion import Grid
from retroscope.engine.program import Step, channel_shape
from retroscope.geometry import ReceptiveField
from retroscope.results.layers import Layer

_APPROXIMATE = "the places of its units in the image are approximate"
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
    bounds = zip(step.field.fields, fields, image_size, strict=True)
    exact = all(is_exact(axis, bounding, pixels) for axis, bounding, pixels in bounds)
    note = step.field.note or ("" if exact else _UPPER_BOUND)
    has_places = step.field.has_places and step.field.positions and not step.field.uniform
    if has_attention and has_places:
        places = [*map(AxisPlaces, step.field.fields_of_places, size, image_size)]
        whole = all(place.all_seen_by(axis) for place, axis in zip(places, fields, strict=True))
        if whole:
            fields = [place.field_around() for place in places]
            note = note or ("" if all(place.are_exact for place in places) else _APPROXIMATE)
    else:
        whole = all(map(sees_axis, fields, size, image_size))
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
