"""Rules about cheats: units, and classes, that rest on one place of the images of a class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from retroscope.atlas.image_blobs import decode_image
from retroscope.atlas.queries import image_queries, reader_queries
from retroscope.auditing.layer_evidence import AtlasEvidence, Floats, LayerEvidence
from retroscope.auditing.map_places import MIN_SIDE
from retroscope.auditing.pixel_likeness import pixel_likeness
from retroscope.auditing.rule_outcome import RuleOutcome, Suspicion, name_layers
from retroscope.auditing.shortcuts import (
    MIN_HITS,
    ShortcutUnit,
    find_shortcut_units,
    has_places,
)
from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB
from retroscope.render.captions import count_noun
from retroscope.results.audits import AuditHit, AuditNumber
from retroscope.unit import Unit

STRONGEST, MIN_SHORTCUTS = 10, 5
"""Units of a class that are looked at, and how many of them make it a class that cheats."""
MIN_FIRED = 0.5
"""Share of the images of a class in which its units fire."""
EVIDENCE_UNITS = 3
"""Units whose hits are listed."""
OTHER_IMAGES = 18
"""Images of other classes whose pixels are compared at the place."""


@dataclass(frozen=True, eq=False)
class ShortcutGroup:
    """Units that answer to one class through one place, the most specific of the class first.

    `place` is in pixels of the network's input; None is the frame.
    """

    label: int
    place: Box | None
    place_name: str
    units: tuple[ShortcutUnit, ...]


def find_shortcuts(evidence: AtlasEvidence) -> RuleOutcome:
    """Units that answer to one class through one place, together by class and place."""
    examined = [layer for layer in evidence.layers if has_places(layer)]
    suspicions = [_suspicion(evidence, group) for group in group_shortcuts(evidence)]
    return RuleOutcome(
        sum(layer.layer.channels for layer in examined), tuple(suspicions), _omissions(evidence)
    )


def find_shortcut_classes(evidence: AtlasEvidence) -> RuleOutcome:
    """Classes of which the most specific units of a layer are shortcut units of one place."""
    examined = [layer for layer in evidence.layers if has_places(layer)]
    suspicions = (_class_suspicion(evidence, group) for group in group_shortcuts(evidence))
    return RuleOutcome(
        sum(layer.layer.channels for layer in examined),
        tuple(filter(None, suspicions)),
        _omissions(evidence),
    )


def _omissions(evidence: AtlasEvidence) -> tuple[str, ...]:
    """Layers without places, and classes that are too small."""
    classes = [label for label in evidence.labels if label.images]
    if len(classes) < 2:
        return ("all units: the images have no classes, or one",)
    flat = [layer.layer for layer in evidence.layers if not has_places(layer)]
    small = [label.name for label in classes if label.images < MIN_HITS]
    omissions = (
        f"{name_layers(flat)}: maps below {MIN_SIDE}x{MIN_SIDE} have no border" if flat else "",
        f"{count_noun(len(small), 'class', 'classes')} of fewer than {MIN_HITS} images"
        if small
        else "",
    )
    return tuple(filter(None, omissions))


def group_shortcuts(evidence: AtlasEvidence) -> list[ShortcutGroup]:
    """Shortcut units by class and place; most units first."""
    groups: dict[tuple[int, str], list[ShortcutUnit]] = {}
    for unit in find_shortcut_units(evidence):
        name = unit.place.name(*unit.layer.layer.size)
        groups.setdefault((unit.label, name), []).append(unit)
    size = _input_size(evidence)
    return [
        ShortcutGroup(label, _place_in_image(units, size), name, _by_strength(units))
        for (label, name), units in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]


def _place_in_image(units: Sequence[ShortcutUnit], size: tuple[int, int]) -> Box | None:
    """The place of the least likely of some units; None for the frame."""
    unit = min(units, key=lambda unit: (unit.place_chance, unit.class_chance))
    return None if unit.place.is_frame else unit.place.in_image(unit.layer.layer.size, size)


def _input_size(evidence: AtlasEvidence) -> tuple[int, int]:
    """The size of the network's input, or of the first layer's maps if it is not recorded."""
    preprocessing = evidence.atlas.meta.get("preprocessing")
    size = preprocessing.get("size") if isinstance(preprocessing, Mapping) else None
    match size:
        case [int() as height, int() as width]:
            return height, width
    return evidence.layers[0].layer.size if evidence.layers else (1, 1)


def _by_strength(units: Sequence[ShortcutUnit]) -> tuple[ShortcutUnit, ...]:
    """Units of deep layers first, and in each layer those most specific for the class."""
    return tuple(
        sorted(
            units,
            key=lambda unit: (
                -unit.layer.layer.index,
                -float(np.nan_to_num(class_specificity(unit.layer, unit.label)[unit.channel])),
            ),
        )
    )


def class_specificity(layer: LayerEvidence, label: int) -> Floats:
    """How much higher the mean maximum of each channel is in a class than in all classes.

    In standard deviations of the channel's values; NaN without class statistics.
    """
    means = layer.class_means
    is_known = np.isfinite(means)
    every = np.where(is_known, means, 0).sum(axis=1) / np.maximum(is_known.sum(axis=1), 1)
    spread = layer.statistics["std"]
    difference = means[:, label] - every
    specificity: Floats = np.divide(
        difference, spread, out=np.full_like(difference, np.nan), where=spread > 0
    )
    return specificity


def _suspicion(evidence: AtlasEvidence, group: ShortcutGroup) -> Suspicion:
    name = _label_name(evidence, group.label)
    units = group.units
    numbers: dict[str, AuditNumber] = {
        "units": len(units),
        "layers": len({unit.layer.layer.name for unit in units}),
        "hits_in_place": sum(unit.together for unit in units),
        "hits": sum(unit.hits for unit in units),
        "expected_share": max(unit.expected_share for unit in units),
        "class_chance": max(unit.class_chance for unit in units),
        "place_chance": max(unit.place_chance for unit in units),
        "mixed_units_at_a_place": max(unit.local_share for unit in units),
        **_likeness(evidence, group),
    }
    verb = "answers" if len(units) == 1 else "answer"
    return Suspicion(
        f"{count_noun(len(units), 'unit')} {verb} to class {name!r} only at the "
        f"{group.place_name} of its images",
        tuple(Unit(unit.layer.layer.name, unit.channel) for unit in units),
        numbers,
        label=name,
        place=group.place,
        evidence=tuple(_evidence_hits(evidence, group)),
    )


def _label_name(evidence: AtlasEvidence, number: int) -> str:
    return next(label.name for label in evidence.labels if label.id == number)


def _likeness(evidence: AtlasEvidence, group: ShortcutGroup) -> dict[str, AuditNumber]:
    """How alike the pixels of the place are among the hits, and in images of other classes."""
    if group.place is None:
        return {}
    hits = {
        image
        for unit in group.units[:EVIDENCE_UNITS]
        for image in unit.layer.hits.images[unit.channel, : unit.hits].tolist()
    }
    last = group.units[0].layer.hits
    is_other = (last.labels != group.label) & (last.images >= 0)
    others = np.unique(last.images[is_other]).tolist()[:OTHER_IMAGES]
    likeness = {
        "pixel_likeness": pixel_likeness(_stored_pixels(evidence, sorted(hits)), group.place),
        "pixel_likeness_of_others": pixel_likeness(_stored_pixels(evidence, others), group.place),
    }
    return {name: value for name, value in likeness.items() if isfinite(value)}


def _stored_pixels(evidence: AtlasEvidence, images: Sequence[int]) -> list[RGB]:
    """Those of the images that the atlas stores."""
    blobs = (image_queries.image_blob(evidence.atlas, image) for image in images)
    return [decode_image(blob) for blob in blobs if blob is not None]


def _evidence_hits(evidence: AtlasEvidence, group: ShortcutGroup) -> Iterator[AuditHit]:
    for unit in group.units[:EVIDENCE_UNITS]:
        layer, hits = unit.layer.layer, unit.layer.hits
        for rank in range(unit.hits):
            position = int(hits.ys[unit.channel, rank]), int(hits.xs[unit.channel, rank])
            image = int(hits.images[unit.channel, rank])
            row = reader_queries.find_image(evidence.atlas, image)
            yield AuditHit(
                Unit(layer.name, unit.channel, position),
                float(hits.scores[unit.channel, rank]),
                image,
                row.key,
                row.label,
                layer.field.box(*position),
            )


def _class_suspicion(evidence: AtlasEvidence, group: ShortcutGroup) -> Suspicion | None:
    """The class of a group, if half of its most specific units in a layer belong to the group.

    Of several layers, it is the one with most such units; of these, the deepest.
    """
    layers = {unit.layer.layer.name: unit.layer for unit in group.units}  # deepest first
    shares = [(layer, *_strongest_units(layer, group)) for layer in layers.values()]
    layer, strongest, shortcuts = max(shares, key=lambda share: len(share[2]))
    if len(shortcuts) < MIN_SHORTCUTS:
        return None
    name, layer_name = _label_name(evidence, group.label), layer.layer.name
    return Suspicion(
        f"class {name!r} rests on the {group.place_name} of its images: {len(shortcuts)} of the "
        f"{len(strongest)} units of {layer_name} that tell it apart best answer only there",
        tuple(Unit(layer_name, channel) for channel in shortcuts),
        {"shortcut_units": len(shortcuts), "strongest_units": len(strongest)},
        label=name,
        place=group.place,
    )


def _strongest_units(layer: LayerEvidence, group: ShortcutGroup) -> tuple[list[int], list[int]]:
    """The channels of a layer that are most specific for a class, and the shortcuts among them."""
    specificity = np.nan_to_num(class_specificity(layer, group.label))
    fires = layer.class_fired_shares[:, group.label] >= MIN_FIRED
    ranked = np.argsort(-np.where(fires, specificity, -np.inf), kind="stable")
    strongest = [int(channel) for channel in ranked[:STRONGEST] if fires[channel]]
    members = {unit.channel for unit in group.units if unit.layer is layer}
    return strongest, [channel for channel in strongest if channel in members]
