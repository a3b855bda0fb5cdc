"""Hits as patches and projections, cut from the pictures that an atlas keeps."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from retroscope.atlas.database import Row
from retroscope.atlas.pictures import decode_picture, decode_projection
from retroscope.geometry import Box
from retroscope.imaging.image import GREY, crop
from retroscope.results.values import Layer, Patch, Picture, Projection
from retroscope.unit import Unit

_SHOWN = """
    SELECT hits.channel, hits.score, hits.y, hits.x, images.key, winner_pictures.blob,
        projections.rules, projections.activation, projections.blob, projections.peak,
        projections.height, projections.width, projections.depth, projections.note
    FROM (CHOSEN) AS hits
    JOIN images ON images.id = hits.image
    LEFT JOIN winner_pictures ON winner_pictures.image = hits.image
    LEFT JOIN projections ON projections.layer = hits.layer
        AND projections.channel = hits.channel AND projections.image = hits.image
        AND projections.y = hits.y AND projections.x = hits.x AND projections.rules = ?
    ORDER BY ORDER"""
"""The hits are chosen first, so that pictures are read of those alone."""

OF_CHANNEL = _SHOWN.replace(
    "CHOSEN", "SELECT * FROM hits WHERE layer = ? AND channel = ? AND ranked_by = ?"
).replace("ORDER BY ORDER", "ORDER BY hits.rank")
"""Asks with a layer's id, a channel, a ranking and rules."""
OF_LAYER = _SHOWN.replace(
    "CHOSEN",
    "SELECT * FROM hits WHERE layer = ? AND ranked_by = ? "
    "ORDER BY score DESC, image, channel LIMIT ?",
).replace("ORDER BY ORDER", "ORDER BY hits.score DESC, hits.image, hits.channel")
"""Asks with a layer's id, a ranking, how many, and rules."""


def patch_of(layer: Layer, row: Row) -> Patch:
    """The patch in a row that OF_CHANNEL or OF_LAYER gave; grey where no picture is kept."""
    channel, score, y, x, key, blob, *stored = row
    box = layer.field.box(y, x)
    if blob is None:
        unseen = np.full((box.height, box.width, 3), GREY, np.uint8)
        return Patch(score, key, (y, x), box, unseen)
    picture = decode_picture(blob)
    projection = None
    if stored[0] is not None:
        bare = _projection(Unit(layer.name, channel, (y, x)), picture, box, stored)
        projection = replace(bare, source=key)
    return Patch(score, key, (y, x), box, crop(picture, box), projection)


def _projection(unit: Unit, picture: Picture, box: Box, stored: Sequence[Any]) -> Projection:
    rules, activation, blob, peak, height, width, depth, note = stored
    size = (picture.shape[0], picture.shape[1])
    inside = box.clipped(*size)
    return Projection(
        unit=unit,
        activation=activation,
        box=inside,
        pixels=decode_projection(blob, peak, (height, width), depth),
        rules=rules,
        size=size,
        patch=crop(picture, inside),
        notes=tuple(note.splitlines()),
    )
