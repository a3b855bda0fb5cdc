"""What `show` shows: the hits of a channel, a layer or some channels, and what they are called."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retroscope.cli.choices import RANKINGS
from retroscope.cli.output import default_path, safe_name
from retroscope.cli.parameter_types import format_channels

if TYPE_CHECKING:
    from pathlib import Path

    from retroscope.atlas.reader import Atlas
    from retroscope.atlas.row_decoding import HitRow
    from retroscope.results.as_json import JsonObject
    from retroscope.results.plates import Patch, Plate
    from retroscope.unit import Unit


@dataclass(frozen=True)
class ShowRequest:
    """What to show of an atlas: a channel, the hits of a layer, or some channels of a layer.

    With a `label`, they are the best images of that class.
    """

    atlas: "Atlas"
    address: "Unit"
    channels: tuple[int, ...] | None
    ranked_by: str
    label: str | None

    @property
    def units(self) -> "list[Unit]":
        """The layer or the channels whose hits are shown."""
        from retroscope.unit import Unit

        if self.channels is None:
            return [self.address]
        return [Unit(self.address.layer, channel) for channel in self.channels]

    def plate(self, unit: "Unit") -> "Plate":
        """The plate of a channel."""
        return self.atlas.plate(unit, ranked_by=self.ranked_by, label=self.label)

    def hits(self, unit: "Unit") -> "list[tuple[HitRow, Patch]]":
        """The hits of a channel or a layer, with their patches."""
        rows = self.atlas.hits(unit, ranked_by=self.ranked_by, label=self.label)
        if unit.channel is not None:
            patches = self.plate(unit).patches
        else:
            top = self.atlas.top(unit.layer, ranked_by=self.ranked_by, label=self.label)
            patches = tuple(patch for _, patch in top)
        return list(zip(rows, patches, strict=True))


def drawing_path(request: ShowRequest, unit: str, *, context: bool) -> "Path":
    """The file for the drawing if none is named."""
    channels = "" if request.channels is None else f"channels{format_channels(request.channels)}"
    ranking = request.ranked_by if request.label is None else f"class-{request.label}"
    method = ".".join(filter(None, [channels, "context" * context, ranking]))
    return default_path(request.atlas.path.stem, unit, method)


def mosaic_stem(request: ShowRequest) -> str:
    """The first part of the names of mosaics: layer, channel, and ranking unless it is by maximum.

    A class whose name could be taken for a channel or for a ranking says that it is a class.
    """
    unit, ranking = request.address, request.ranked_by
    if request.label is not None:
        name = safe_name(request.label)
        ranking = f"class-{name}" if name.isdecimal() or name in RANKINGS else name
    elif ranking == RANKINGS[0]:
        ranking = ""
    channel = "" if unit.channel is None else str(unit.channel)
    return "_".join(filter(None, [unit.layer, channel, ranking]))


def layer_heading(request: ShowRequest, count: int) -> dict[str, str]:
    """Title and subtitle of the best hits of a layer."""
    from retroscope.render.captions import count_noun, join_facts

    atlas, name, label = request.atlas, request.address.layer, request.label
    layer, model = atlas.layer(name), atlas.meta.get("model", "")
    names = name if name == layer.name else f"{name} ({layer.name})"
    is_min = request.ranked_by == "min"
    title = f"The lowest values of {names}" if is_min else f"What excites {names} most"
    best = "lowest" if is_min else "strongest"
    hits = f"{count} {best} hits" if count > 1 else f"the {best} hit"
    images = len(atlas.images) if label is None else atlas.label(label).images
    of_class = "" if label is None else f" of class {label}"
    counts = f"{count_noun(layer.channels, 'channel')} in {count_noun(images, 'image')}{of_class}"
    return {
        "title": title + (f" in {model}" if model else ""),
        "line_below": join_facts(
            layer.note, f"{hits} of {counts}", f"ranked by {request.ranked_by}"
        ),
    }


def why_no_hits(request: ShowRequest) -> str:
    """Why there is nothing to draw."""
    unit, path = request.address, repr(str(request.atlas.path))
    if request.label is not None:
        return f"no image of class {request.label!r} excites {unit} in {path}"
    if request.ranked_by == "min":
        return f"{unit} has no hits by minimum in {path}: its minimum is zero in every image"
    return f"nothing excites {unit} in {path}: it has no hits"


def hits_json(request: ShowRequest) -> "JsonObject | list[JsonObject]":
    """A channel, the channels of a sheet, or the hits of a layer."""
    if request.channels is not None:
        return [_channel_json(request, unit) for unit in request.units]
    if request.address.channel is None:
        ranking = {"ranked_by": request.ranked_by, "label": request.label}
        return [_hit_json(hit, patch) | ranking for hit, patch in request.hits(request.address)]
    return _channel_json(request, request.address)


def _channel_json(request: ShowRequest, unit: "Unit") -> "JsonObject":
    from retroscope.results.as_json import plate_json

    plate = request.plate(unit)
    hits = [_hit_json(hit, patch) for hit, patch in request.hits(unit)]
    return plate_json(plate) | {"hits": hits}


def _hit_json(hit: "HitRow", patch: "Patch") -> "JsonObject":
    """A hit with its unit, and the number and class of its image in the atlas."""
    from retroscope.results.as_json import patch_json

    return {"unit": str(hit.unit), "image": hit.image, "class": hit.label} | patch_json(patch)
