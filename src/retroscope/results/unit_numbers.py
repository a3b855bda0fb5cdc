"""Numbers and names of units: what each says, of what, and how large it is by chance.

From `NUMBERS` follow what `retroscope score` and a scan compute, the texts of the viewer, and the
table of `docs/numbers.md`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite, nan

from retroscope.errors import choose
from retroscope.unit import Unit


class Subject(StrEnum):
    """What a number is a property of."""

    UNIT = "unit"
    METHOD = "method"
    PROJECTION = "projection"


class NameSource(StrEnum):
    """Where the name of a unit comes from. A name from a file goes before one by dissection."""

    FILE = "file"
    DISSECTION = "dissection"


@dataclass(frozen=True)
class NumberKind:
    """A number of each channel, that `retroscope score` or a scan computes.

    `group` is computed together. `title` and `doc` describe the number in plain words, `chance`
    what its chance level is.
    """

    name: str
    group: str
    subject: Subject
    title: str
    doc: str
    chance: str


CLASS_CORRELATION = "class_correlation"
SCAN = "scan"
"""The group of numbers that a scan of images with classes computes."""

NUMBERS: tuple[NumberKind, ...] = (
    NumberKind(
        CLASS_CORRELATION,
        SCAN,
        Subject.UNIT,
        "correlation with its best class",
        "how well the maximum in an image tells whether it is of the class that the unit responds "
        "to most, up to 1",
        "the best correlation, of either sign, if the classes were shuffled among the images",
    ),
    NumberKind(
        "faithfulness",
        "faithfulness",
        Subject.PROJECTION,
        "faithfulness",
        "how much more of the activation the brightest pixels of the projection keep than as many "
        "random ones, from -1 to 1",
        "0: the projection is no better than random pixels",
    ),
    NumberKind(
        "faithfulness_over_blob",
        "faithfulness",
        Subject.PROJECTION,
        "faithfulness over a blob",
        "how much more of the activation the brightest pixels of the projection keep than a disc "
        "of the same area in the middle of the field, from -1 to 1",
        "0: the projection is no better than the middle of the field",
    ),
    NumberKind(
        "dependence_on_image",
        "dependence",
        Subject.METHOD,
        "dependence on the image",
        "how different the projections of this unit are in two images, from 0 (the same) to 1",
        "0: the projection does not show the image",
    ),
    NumberKind(
        "dependence_on_unit",
        "dependence",
        Subject.METHOD,
        "dependence on the unit",
        "how different the projection is from that of the strongest other channel at the same "
        "place, from 0 (the same) to 1",
        "0: the projection does not show the unit",
    ),
    NumberKind(
        "dependence_on_weights",
        "dependence",
        Subject.METHOD,
        "dependence on the weights",
        "how different the projection is from that in a network with random weights, from 0 (the "
        "same) to 1",
        "0: the projection does not show what the network has learned",
    ),
    NumberKind(
        "patch_share",
        "patch",
        Subject.UNIT,
        "share kept by the patch",
        "the share of the activation that is left when only the patch is shown and the rest of the "
        "image is its mean colour",
        "the share that the mean colour alone gives",
    ),
    NumberKind(
        "mis",
        "mis",
        Subject.UNIT,
        "machine interpretability score",
        "the share of pairs of a strong and a weak image that are told apart by their similarity "
        "to the strongest and the weakest images",
        "0.5: guessing",
    ),
    NumberKind(
        "monosemanticity",
        "monosemanticity",
        Subject.UNIT,
        "monosemanticity",
        "how similar the images that excite the unit are, weighted by how much they do, up to 1",
        "the similarity of any two images",
    ),
    NumberKind(
        "concept_iou",
        "dissection",
        Subject.UNIT,
        "overlap with its best concept",
        "how well the places where the unit is strong match the masks of its best concept, from 0 "
        "to 1",
        "the best overlap with the masks of other images",
    ),
)

GROUPS = tuple(dict.fromkeys(kind.group for kind in NUMBERS if kind.group != SCAN))
"""What `score` can be asked for, in the order in which it is computed."""
NUMBERS_BY_NAME = {kind.name: kind for kind in NUMBERS}


def choose_groups(names: Iterable[str]) -> tuple[str, ...]:
    """The groups with these names, each once, in the order in which they are computed.

    >>> choose_groups(["mis", "faithfulness"])
    ('faithfulness', 'mis')
    """
    chosen = {choose("number", name, {group: group for group in GROUPS}) for name in names}
    return tuple(group for group in GROUPS if group in chosen)


@dataclass(frozen=True)
class UnitNumber:
    """A number of a channel, with its interval and the level that chance alone reaches.

    `low` and `high` enclose 95 % of bootstrap samples. What is not defined is NaN: a number of a
    channel that never fires, the interval of a single image. `basis` says what it was computed
    from.
    """

    unit: Unit
    name: str
    value: float
    low: float = nan
    high: float = nan
    chance: float = nan
    subject: str = Subject.UNIT
    basis: str = ""

    @property
    def has_interval(self) -> bool:
        return isfinite(self.low) and isfinite(self.high)

    @property
    def is_above_chance(self) -> bool:
        """Whether the whole interval is above the chance level."""
        return self.low > self.chance


@dataclass(frozen=True)
class UnitName:
    """What a unit is called. `score` is the overlap with the concept of this name, if known."""

    unit: Unit
    name: str
    score: float = nan
    source: str = NameSource.FILE
