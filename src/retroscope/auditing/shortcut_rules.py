"""Rules about cheats: units, and classes, that rest on one place of the images of a class."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from weakref import WeakKeyDictionary

import numpy as np

from retroscope.atlas.image_blobs import decode_image
from retroscope.atlas.queries import image_queries, reader_queries
from retroscope.auditing.layer_evidence import (
    AtlasEvidence,
    Floats,
    LayerEvidence,
    read_class_responses,
)
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
from retroscope.render.captions import count_noun
from retroscope.results.audits import AuditHit, AuditNumber
from retroscope.unit import Unit

STRONGEST, MIN_SHORTCUTS = 10, 5
"""Units of a class that are looked at, and how many of them make it a class that cheats."""
MIN_FIRED = 0.5
"""Share of the images of a class in which its units fire."""
EVIDENCE_UNITS = 3
"""Units whose hits are listed."""
OTHER_CLASSES, IMAGES_PER_CLASS = 20, 30
"""Classes whose images are compared at a place, and how many images of each."""


@dataclass(frozen=True)
class Likeness:
    """How alike the images of a class are at a place, and those of other classes, highest first.

    NaN if the atlas stores too few images of the class.
    """

    value: float
    others: tuple[float, ...]

    @property
    def is_mark(self) -> bool:
        """Whether the class has something there that no other class has."""
        return bool(self.others) and self.value > self.others[0]


@dataclass(frozen=True, eq=False)
class ShortcutGroup:
    """Units that respond to one class through one place, those of deep layers first.

    `place` is in pixels of the network's input; None is the frame.
    """

    label: int
    place: Box | None
    place_name: str
    units: tuple[ShortcutUnit, ...]
    likeness: Likeness


def find_shortcuts(evidence: AtlasEvidence) -> RuleOutcome:
    """Units that respond to one class through one place, where its images are alike."""
    return _find_groups(evidence, are_marks=True)


def find_place_bound(evidence: AtlasEvidence) -> RuleOutcome:
    """Units that respond to one class through one place, where its images are not so alike."""
    return _find_groups(evidence, are_marks=False)


def _find_groups(evidence: AtlasEvidence, *, are_marks: bool) -> RuleOutcome:
    groups = (group for group in group_shortcuts(evidence) if group.likeness.is_mark is are_marks)
    return RuleOutcome(
        _examined_channels(evidence),
        tuple(_suspicion(evidence, group) for group in groups),
        _omissions(evidence),
    )


def find_shortcut_classes(evidence: AtlasEvidence) -> RuleOutcome:
    """Classes of which the most specific units of a layer are shortcut units of one place."""
    suspicions = (
        _class_suspicion(evidence, group)
        for group in group_shortcuts(evidence)
        if group.likeness.is_mark
    )
    return RuleOutcome(
        _examined_channels(evidence), tuple(filter(None, suspicions)), _omissions(evidence)
    )


def _examined_channels(evidence: AtlasEvidence) -> int:
    if sum(label.images > 0 for label in evidence.labels) < 2:
        return 0
    return sum(layer.layer.channels for layer in evidence.layers if has_places(layer))


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


_GROUPS: WeakKeyDictionary[AtlasEvidence, list["ShortcutGroup"]] = WeakKeyDictionary()
"""Those that were found: three rules are about them."""


def group_shortcuts(evidence: AtlasEvidence) -> list[ShortcutGroup]:
    """Shortcut units by class and place; most units first."""
    if evidence not in _GROUPS:
        groups: dict[tuple[int, str], list[ShortcutUnit]] = {}
        for unit in find_shortcut_units(evidence):
            name = unit.place.name(*unit.layer.layer.size)
            groups.setdefault((unit.label, name), []).append(unit)
        by_size = sorted(groups, key=lambda key: -len(groups[key]))
        _GROUPS[evidence] = [
            _shortcut_group(evidence, groups[key], key[1], suspects=_labels_at(key[1], groups))
            for key in by_size
        ]
    return _GROUPS[evidence]


def _labels_at(name: str, groups: Iterable[tuple[int, str]]) -> set[int]:
    """The classes that have shortcut units at a place."""
    return {label for label, group_name in groups if group_name == name}


def _shortcut_group(
    evidence: AtlasEvidence, units: Sequence[ShortcutUnit], name: str, *, suspects: set[int]
) -> ShortcutGroup:
    label, place = units[0].label, _place_in_image(units, _input_size(evidence))
    others = [entry.id for entry in evidence.labels if entry.id not in suspects]
    likeness = measure_likeness(evidence, label, place, others=others)
    return ShortcutGroup(label, place, name, _by_strength(evidence, units), likeness)


def measure_likeness(
    evidence: AtlasEvidence, label: int, place: Box | None, *, others: Sequence[int]
) -> Likeness:
    """How alike the stored images of a class, and those of some others, are at a place.

    Classes that may have a mark of their own there are not among the others.
    """
    chosen = others[:: max(1, len(others) // OTHER_CLASSES)][:OTHER_CLASSES]
    values = (_class_likeness(evidence, other, place) for other in chosen)
    known = sorted(filter(isfinite, values), reverse=True)
    return Likeness(_class_likeness(evidence, label, place), tuple(known))


def _class_likeness(evidence: AtlasEvidence, label: int, place: Box | None) -> float:
    images = image_queries.stored_images(evidence.atlas, label=label)[:IMAGES_PER_CLASS]
    if len(images) < MIN_HITS:
        return nan
    blobs = (image_queries.image_blob(evidence.atlas, image) for image in images)
    return pixel_likeness([decode_image(blob) for blob in blobs if blob is not None], place)


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
    height, width = evidence.layers[0].layer.size if evidence.layers else (1, 1)
    return height, width


def _by_strength(
    evidence: AtlasEvidence, units: Sequence[ShortcutUnit]
) -> tuple[ShortcutUnit, ...]:
    """Units of deep layers first, and in each layer those most specific for the class."""
    layers = dict.fromkeys(unit.layer for unit in units)
    specificity = {layer: class_specificity(evidence, layer, units[0].label) for layer in layers}
    return tuple(
        sorted(
            units,
            key=lambda unit: (
                -unit.layer.layer.index,
                -float(specificity[unit.layer][unit.channel]),
            ),
        )
    )


def class_specificity(evidence: AtlasEvidence, layer: LayerEvidence, label: int) -> Floats:
    """How much higher the mean maximum of each channel is in a class than over all classes.

    In standard deviations of the channel's values. Minus infinity for channels that fire in less
    than half of the images of the class, and without class statistics.
    """
    responses = read_class_responses(evidence, layer.layer, label)
    spread = layer.statistics["std"]
    is_known = (responses.fired_share >= MIN_FIRED) & (spread > 0)
    difference = responses.mean_maximum - responses.mean_of_classes
    specificity: Floats = np.divide(
        difference, spread, out=np.full_like(difference, -np.inf), where=is_known
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
    }
    likeness = group.likeness
    if isfinite(likeness.value) and likeness.others:
        numbers |= {
            "pixel_likeness": likeness.value,
            "highest_likeness_of_others": likeness.others[0],
            "compared_classes": len(likeness.others),
        }
    verb = "responds" if len(units) == 1 else "respond"
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
    shares = [(layer, *_strongest_units(evidence, layer, group)) for layer in layers.values()]
    layer, strongest, shortcuts = max(shares, key=lambda share: len(share[2]))
    if len(shortcuts) < MIN_SHORTCUTS:
        return None
    name, layer_name = _label_name(evidence, group.label), layer.layer.name
    return Suspicion(
        f"class {name!r} rests on the {group.place_name} of its images: {len(shortcuts)} of the "
        f"{len(strongest)} units of {layer_name} that distinguish it best respond only there",
        tuple(Unit(layer_name, channel) for channel in shortcuts),
        {"shortcut_units": len(shortcuts), "strongest_units": len(strongest)},
        label=name,
        place=group.place,
    )


def _strongest_units(
    evidence: AtlasEvidence, layer: LayerEvidence, group: ShortcutGroup
) -> tuple[list[int], list[int]]:
    """The channels of a layer that are most specific for a class, and the shortcuts among them."""
    specificity = class_specificity(evidence, layer, group.label)
    ranked = np.argsort(-specificity, kind="stable")[:STRONGEST].tolist()
    strongest = [channel for channel in ranked if np.isfinite(specificity[channel])]
    members = {unit.channel for unit in group.units if unit.layer is layer}
    return strongest, [channel for channel in strongest if channel in members]
