"""What a surveyed step is as a layer: its size, and the field of its units."""

from collections.abc import Sequence
from dataclasses import dataclass

from retroscope.engine.axis_fields import bound, is_exact
from retroscope.engine.axis_places import AxisPlaces, sees_axis
from retroscope.engine.field_flow import TensorField
from retroscope.engine.motion import Grid
from retroscope.engine.program import Step, channel_shape
from retroscope.geometry import Field, ReceptiveField
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
    units = _bounds_of_units(step.field, size, image_size)
    if has_attention and step.field.has_places and step.field.positions:
        units = _around_places(units, step.field, size, image_size)
    return Layer(
        name="",
        kind=step.operation.kind,
        channels=channels,
        size=tuple(size),
        field=ReceptiveField.along(
            units.fields,
            whole=units.are_whole,
            global_context=step.field.global_context and not units.are_whole,
        ),
        note=step.field.note or units.note,
        extra_tokens=step.field.tokens.extra if step.field.tokens else 0,
    )


@dataclass(frozen=True)
class _Units:
    """What the units of a layer see along each axis, and what to know about it."""

    fields: Sequence[Field]
    are_whole: bool
    note: str


def _bounds_of_units(field: TensorField, size: Sequence[int], image_size: Grid) -> _Units:
    fields = list(map(bound, field.fields, size, image_size))
    return _Units(
        fields, all(map(sees_axis, fields, size, image_size)), _note(field, fields, image_size)
    )


def _around_places(
    units: _Units, field: TensorField, size: Sequence[int], image_size: Grid
) -> _Units:
    """The fields of units around their places, where they do not only see what is around them."""
    if field.uniform:
        return units
    places = list(map(AxisPlaces, field.fields_of_places, size, image_size))
    are_exact = all(place.are_exact for place in places)
    if all(place.all_seen_by(axis) for place, axis in zip(places, units.fields, strict=True)):
        whole = [place.field_around(Field.whole(place.pixels)) for place in places]
        return _Units(whole, True, units.note or ("" if are_exact else _APPROXIMATE))
    if field.places is None or not are_exact:
        return units
    seen = zip(places, field.fields, strict=True)
    fields = [place.field_around(axis) for place, axis in seen]
    return _Units(fields, False, _note(field, fields, image_size))


def _note(field: TensorField, fields: Sequence[Field], image_size: Grid) -> str:
    """Whether units see less than all of these fields that lies in the image."""
    exact = all(map(is_exact, field.fields, fields, image_size))
    return "" if exact else _UPPER_BOUND
