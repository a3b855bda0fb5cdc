"""The text under a plate: counts, shares, and reasons for what is missing."""

from collections.abc import Sequence
from math import isfinite

from retroscope.geometry import format_size
from retroscope.render.mosaics import BLOCK_SIZE
from retroscope.results.plates import Patch, Plate
from retroscope.results.projections import NOT_ACTIVE, Projection
from retroscope.results.statistics import ChannelStats
from retroscope.results.unit_numbers import NameSource, UnitName

RARE = 0.01
"""A channel that fires in a smaller share of images is quiet."""
_MAX_CLASSES = 5
RANDOM = "random"
"""The label of the random image of a sample."""


def plate_lines(plate: Plate) -> list[str]:
    """The name of the channel, its layer, what its patches are, its response, its classes, and what
    is missing, on a line each.
    """
    lines = (
        name_line(plate.names),
        _layer_line(plate),
        ranking_text(plate) if plate.ranked_by == "sample" else "",
        plate.layer.note,
        _response_line(plate),
        _class_line(plate.stats),
        _empty_line(plate),
        _missing_line(plate),
    )
    return [line for line in lines if line]


def ranking_text(plate: Plate) -> str:
    """What the patches of a plate are: the best of a ranking, of a class, or those of a sample."""
    if plate.label is not None:
        return f"best images of class {plate.label}"
    if plate.ranked_by != "sample":
        return f"ranked by {plate.ranked_by}"
    names = ", ".join(label for label in patch_labels(plate) if label != RANDOM)
    return f"images of a random sample at quantiles {names} of its maxima, and a random one"


def score_text(score: float, quantile: float | None, *, is_sampled: bool = False) -> str:
    """The score of a hit, with its quantile if it is one of a sample, or that it is random.

    >>> score_text(3.25, None), score_text(3.25, 0.95)
    ('score 3.25', 'score 3.25 · quantile 0.95')
    """
    random = "random image" if is_sampled else ""
    return join_facts(
        f"score {score:.4g}", random if quantile is None else f"quantile {quantile:g}"
    )


def slice_text(patch: Patch) -> str:
    """Which slice of a volume is drawn, counted from 1; nothing of an image."""
    if patch.slice_number is None:
        return ""
    number, count = patch.slice_number
    return f"slice {number + 1} of {count}"


def patch_labels(plate: Plate) -> list[str]:
    """What the patches are called below their plate: their quantiles, or else their ranks."""
    if plate.ranked_by != "sample":
        return [str(rank) for rank in range(1, len(plate.patches) + 1)]
    return [RANDOM if patch.quantile is None else f"{patch.quantile:g}" for patch in plate.patches]


def name_line(names: Sequence[UnitName]) -> str:
    """What a unit is called, and where the name is from.

    >>> from retroscope.unit import Unit
    >>> name_line([UnitName(Unit("conv1", 0), "wheel", 0.213, "dissection")])
    'named wheel (dissection, overlap 0.21)'
    """
    described = (f"{name.name} ({_name_origin(name)})" for name in names)
    return f"named {', '.join(described)}" if names else ""


def _name_origin(name: UnitName) -> str:
    if name.source == NameSource.FILE:
        return f"from a file, score {name.score:.2g}" if isfinite(name.score) else "from a file"
    return f"dissection, overlap {name.score:.2g}"


def firing_rate(stats: ChannelStats) -> str:
    """How often a channel fires."""
    if stats.images is None or stats.fired_images is None:
        return "firing rate not recorded"
    if not stats.images:
        return "no finite values" if stats.non_finite else "not scanned yet"
    if stats.dead:
        return f"never fires in {count_noun(stats.images, 'image')}"
    return f"fires in {percent(stats.fired_image_share)} of images"


def is_quiet(stats: ChannelStats) -> bool:
    """Whether a channel fires in hardly any image, or in none."""
    return bool(stats.images) and stats.fired_image_share < RARE


def quiet_line(channels: Sequence[ChannelStats]) -> str:
    """How many of the channels never fire, and how many fire in hardly any image."""
    dead = sum(stats.dead and is_quiet(stats) for stats in channels)
    rare = sum(map(is_quiet, channels)) - dead
    dead_verb, rare_verb = ("fires" if count == 1 else "fire" for count in (dead, rare))
    return join_facts(
        f"{dead} never {dead_verb}" if dead else "",
        f"{rare} {rare_verb} in under {percent(RARE)} of images" if rare else "",
    )


def notes_by_text(plate: Plate) -> dict[str, list[int]]:
    """The indices of the patches that each note applies to, by the note."""
    patches_by_note: dict[str, list[int]] = {}
    for index, patch in enumerate(plate.patches):
        is_sampled = plate.ranked_by == "sample"
        for note in hit_notes(patch.projection, patch.score, is_sampled=is_sampled):
            patches_by_note.setdefault(note, []).append(index)
    return patches_by_note


def hit_notes(projection: Projection | None, score: float, *, is_sampled: bool) -> Sequence[str]:
    """The notes of the projection. A hit of a sample without one says if the unit is silent."""
    if projection:
        return projection.notes
    return (NOT_ACTIVE,) if is_sampled and score <= 0 else ()


def partial_notes(plate: Plate) -> dict[str, list[int]]:
    """The notes that do not apply to all patches with a projection, as `notes_by_text`."""
    projected = [index for index, patch in enumerate(plate.patches) if patch.projection]
    all_patches = list(range(len(plate.patches)))
    return {
        note: indices
        for note, indices in notes_by_text(plate).items()
        if indices not in (projected, all_patches)
    }


def note_lines(plate: Plate) -> list[str]:
    """The notes. One that does not apply to all patches lists theirs, as labelled on the plate."""
    partial = partial_notes(plate)
    return [
        f"{_patch_names(plate, indices)} (folded corner): {note}" if note in partial else note
        for note, indices in notes_by_text(plate).items()
    ]


def _patch_names(plate: Plate, indices: Sequence[int]) -> str:
    noun = "patch" if len(indices) == 1 else "patches"
    if plate.ranked_by == "sample":
        labels = patch_labels(plate)
        return f"{noun} {', '.join(labels[index] for index in indices)}"
    return f"{noun} {number_ranges([index + 1 for index in indices])}"


def number_ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as text, with runs of three or more as ranges.

    >>> number_ranges([1, 3, 4, 5, 8, 9])
    '1, 3 to 5, 8, 9'
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    texts = [
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in ranges
    ]
    return ", ".join(texts)


def percent(share: float) -> str:
    """A share as a percentage; 0 % and 100 % only if it is exactly that.

    >>> percent(0.1234), percent(0.0081), percent(1e-6), percent(0.9999), percent(1)
    ('12 %', '0.81 %', 'under 0.01 %', 'over 99 %', '100 %')
    """
    if 0 < share < 0.0001:
        return "under 0.01 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def count_noun(count: int, singular: str, plural: str = "") -> str:
    """A number and its noun, in the singular or the plural (by default with an "s").

    >>> count_noun(1, "patch", "patches"), count_noun(1281167, "image")
    ('1 patch', '1,281,167 images')
    """
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def join_facts(*facts: str) -> str:
    """The facts on one line, without the empty ones."""
    return " · ".join(filter(None, facts))


def _layer_line(plate: Plate) -> str:
    layer, field = plate.layer, plate.layer.field
    sides = [axis.size for axis in field.axes(len(layer.size))]
    size = str(field) if field.whole else f"{format_size(sides)} px"
    names = ", ".join(name for name in layer.aliases if name != plate.unit.layer)
    ranking = "" if plate.ranked_by == "sample" else ranking_text(plate)
    return join_facts(layer.kind, names, f"field {size}", ranking)


def _response_line(plate: Plate) -> str:
    stats = plate.stats
    broken = stats.images and stats.non_finite
    alarm = count_noun(broken, "non-finite value") if broken else ""
    scores = _score_range([patch.score for patch in plate.patches])
    shows_best = plate.ranked_by in ("max", "mean") and plate.patches
    closest = "; these patches come closest" if stats.dead and shows_best else ""
    return join_facts(scores, firing_rate(stats) + closest + _position_share(stats), alarm)


def _position_share(stats: ChannelStats) -> str:
    """The share of positions, and the number of images that both shares refer to."""
    if stats.dead or stats.images is None or stats.fired_positions is None:
        return ""
    positions = percent(stats.fired_position_share)
    return f", at {positions} of positions ({count_noun(stats.images, 'image')})"


def _score_range(scores: list[float]) -> str:
    if not scores:
        return ""
    low, high = f"{min(scores):.4g}", f"{max(scores):.4g}"
    return f"score {high}" if low == high else f"scores {low} to {high}"


def _class_line(stats: ChannelStats) -> str:
    strongest = [
        f"{class_stats.label} {class_stats.mean_maximum:.3g}"
        for class_stats in stats.classes[:_MAX_CLASSES]
    ]
    return f"classes by mean maximum: {', '.join(strongest)}" if strongest else ""


def _empty_line(plate: Plate) -> str:
    """Why a ranking other than by maximum or mean has no hit of a channel that was scanned."""
    if plate.patches or not plate.stats.images:
        return ""
    if plate.label is not None:
        return f"no image of class {plate.label} excites it"
    return "no hit: its minimum is zero in every image" if plate.ranked_by == "min" else ""


def _missing_line(plate: Plate) -> str:
    count, images = len(plate.patches), plate.stats.images
    unprojected = sum(patch.projection is None for patch in plate.patches)
    shows_best = plate.label is None and plate.ranked_by != "sample"
    is_few = shows_best and 0 < count < BLOCK_SIZE
    few = f"only {count_noun(count, 'patch', 'patches')}" if is_few else ""
    if few and images == count:
        few = f"only {count_noun(images, 'image')} scanned"
    if not unprojected:
        return few
    share = "" if unprojected == count else f"{unprojected} of {count} "
    return join_facts(few, f"{share}not projected yet")
