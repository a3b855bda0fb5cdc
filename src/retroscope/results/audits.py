"""What an audit of an atlas finds, and what it looked at."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from retroscope.geometry import Box
from retroscope.results.display import ArraySummary
from retroscope.unit import Unit

AuditNumber = int | float


class Severity(StrEnum):
    """How much a finding matters, the most severe first.

    `HIGH`: the network may be right for a wrong reason. `MEDIUM`: what the atlas shows of these
    units is not what it seems, or they are lost to the network. `LOW`: waste.
    """

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True)
class AuditHit:
    """A hit that a finding rests on: the unit with its position, the image and its class."""

    unit: Unit
    score: float
    image: int
    source: str
    label: str | None
    box: Box


@dataclass(frozen=True, repr=False)
class AuditFinding(ArraySummary):
    """One thing that is wrong, or may be, with the units that it concerns.

    `rule` is the name of the rule that raised it, `threshold` the rule itself in words, `disproof`
    what would show that the finding is false. `groups` are those of its `units` that belong
    together, such as duplicates. `label` is the class that a shortcut is about, `place` the box of
    the image in pixels of the network's input, None for the frame. `evidence` are hits on the
    plates of the first units.
    """

    rule: str
    severity: Severity
    sentence: str
    units: tuple[Unit, ...]
    numbers: Mapping[str, AuditNumber]
    threshold: str
    disproof: str
    groups: tuple[tuple[Unit, ...], ...] = ()
    label: str | None = None
    place: Box | None = None
    evidence: tuple[AuditHit, ...] = ()

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True)
class AuditCheck:
    """What one rule looked at: how many channels, and what it could not look at, in sentences."""

    rule: str
    title: str
    severity: Severity
    meaning: str
    threshold: str
    channels: int
    findings: int
    omissions: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class AtlasAudit(ArraySummary):
    """The findings about an atlas, the most severe first, and what each rule looked at.

    `atlas` is the name of the file, `network` that of the scanned network, `with_weights` says
    whether the network itself was looked at.
    """

    atlas: str
    network: str
    images: int
    layers: int
    channels: int
    with_weights: bool
    findings: tuple[AuditFinding, ...]
    checks: tuple[AuditCheck, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "no findings"
