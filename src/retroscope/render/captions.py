"""What is said under a plate: counts, shares and reasons, in words."""

from collections.abc import Sequence

from retroscope.render.mosaics import PLACES
from retroscope.results.values import ChannelStats, Plate

RARE = 0.01
"""A channel that fires in a smaller share of the images is one that hardly fires."""
_CLASSES = 5


def plate_lines(plate: Plate) -> list[str]:
    """What a plate shows, how its channel responds, and what is missing, a line each."""
    lines = [_layer(plate), _response(plate), _classes(plate.stats), _missing(plate)]
    return [each for each in lines if each]


def fires(stats: ChannelStats) -> str:
    """How often a channel fires."""
    if not stats.images:
        return "no value is finite" if stats.non_finite else "nothing scanned yet"
    if stats.dead:
        return f"never fires in {counted(stats.images, 'image')}"
    return f"fires in {percent(stats.fired_image_share)} of images"


def is_quiet(stats: ChannelStats) -> bool:
    """Whether a channel never fires, or in hardly any image."""
    return stats.fired_image_share < RARE and stats.images > 0


def quiet_line(channels: Sequence[ChannelStats]) -> str:
    """How many of some channels never fire, and how many hardly ever."""
    dead = sum(stats.dead and is_quiet(stats) for stats in channels)
    rare = sum(map(is_quiet, channels)) - dead
    return joined(
        f"{dead} {'never fires' if dead == 1 else 'never fire'}" if dead else "",
        f"{rare} {'fires' if rare == 1 else 'fire'} in under {percent(RARE)} of images"
        if rare
        else "",
    )


def remarks(plate: Plate) -> dict[str, list[int]]:
    """Each note of the projections, with the patches that it is of, counted from 0."""
    found: dict[str, list[int]] = {}
    for n, patch in enumerate(plate.patches):
        for note in patch.projection.notes if patch.projection else ():
            found.setdefault(note, []).append(n)
    return found


def every(plate: Plate) -> list[int]:
    """The patches that have a projection, counted from 0."""
    return [n for n, patch in enumerate(plate.patches) if patch.projection]


def remark_lines(plate: Plate) -> list[str]:
    """The notes; what does not hold for all patches says for which, as they are counted below."""
    return [
        note if places == every(plate) else f"{_which(places)}, with a folded corner: {note}"
        for note, places in remarks(plate).items()
    ]


def _which(places: Sequence[int]) -> str:
    return f"{'patch' if len(places) == 1 else 'patches'} {runs([n + 1 for n in places])}"


def runs(numbers: Sequence[int]) -> str:
    """Rising numbers in words.

    >>> runs([1, 3, 4, 5, 8, 9])
    '1, 3 to 5, 8, 9'
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    texts = [
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in found
    ]
    return ", ".join(texts)


def percent(share: float) -> str:
    """A share for reading: never 0 or 100 % where it is not exactly that.

    >>> percent(0.1234), percent(0.0081), percent(1e-6), percent(0.9999), percent(1)
    ('12 %', '0.81 %', 'under 0.01 %', 'over 99 %', '100 %')
    """
    if 0 < share < 0.0001:
        return "under 0.01 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def counted(count: int, one: str, many: str = "") -> str:
    """A number of things.

    >>> counted(1, "patch", "patches"), counted(1281167, "image")
    ('1 patch', '1,281,167 images')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def joined(*facts: str) -> str:
    """The facts that are not empty, on one line."""
    return " · ".join(filter(None, facts))


def _layer(plate: Plate) -> str:
    layer, field = plate.layer, plate.layer.field
    seen = "the whole image" if field.whole else f"{field.y.size}x{field.x.size} px"
    names = ", ".join(name for name in layer.aliases if name != plate.unit.layer)
    return joined(layer.kind, names, f"sees {seen}", f"ranked by {plate.ranked_by}")


def _response(plate: Plate) -> str:
    stats = plate.stats
    broken = stats.non_finite if stats.images else 0
    alarm = f"{counted(broken, 'value')} not finite" if broken else ""
    scores = _scores([patch.score for patch in plate.patches])
    nearest = "; these patches come nearest" if stats.dead and plate.patches else ""
    return joined(scores, fires(stats) + nearest + _where(stats), alarm)


def _where(stats: ChannelStats) -> str:
    """The share of positions, and how many images all shares are of."""
    if stats.dead:
        return ""
    positions = percent(stats.fired_position_share)
    return f", at {positions} of positions ({counted(stats.images, 'image')})"


def _scores(scores: list[float]) -> str:
    if not scores:
        return ""
    low, high = f"{min(scores):.4g}", f"{max(scores):.4g}"
    return f"score {high}" if low == high else f"scores {low} to {high}"


def _classes(stats: ChannelStats) -> str:
    strongest = [f"{each.label} {each.mean_maximum:.3g}" for each in stats.classes[:_CLASSES]]
    return f"classes by mean maximum: {', '.join(strongest)}" if strongest else ""


def _missing(plate: Plate) -> str:
    shown, images = len(plate.patches), plate.stats.images
    dark = sum(patch.projection is None for patch in plate.patches)
    few = f"only {counted(shown, 'patch', 'patches')}" if 0 < shown < PLACES else ""
    if few and images == shown:
        few = f"only {counted(images, 'image')} scanned"
    unlit = f"{dark} of {shown} not illustrated yet" if dark else ""
    return joined(few, "not illustrated yet" if dark and dark == shown else unlit)
