"""What a rule says about an atlas."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retroscope.auditing.layer_evidence import AtlasEvidence, Integers, LayerEvidence
from retroscope.geometry import Box
from retroscope.render.captions import count_noun
from retroscope.results.audits import AuditHit, AuditNumber
from retroscope.results.layers import Layer
from retroscope.unit import Unit

Mask = npt.NDArray[np.bool_]

_NAMED_LAYERS = 3


@dataclass(frozen=True)
class Suspicion:
    """A finding without the texts of its rule."""

    sentence: str
    units: tuple[Unit, ...]
    numbers: Mapping[str, AuditNumber]
    groups: tuple[tuple[Unit, ...], ...] = ()
    label: str | None = None
    place: Box | None = None
    evidence: tuple[AuditHit, ...] = ()


@dataclass(frozen=True)
class RuleOutcome:
    """What a rule suspects, how many channels it looked at, and what it could not look at."""

    channels: int = 0
    suspicions: tuple[Suspicion, ...] = ()
    omissions: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LayerChannels:
    """Some channels of a layer."""

    layer: LayerEvidence
    channels: Integers

    @property
    def units(self) -> tuple[Unit, ...]:
        return tuple(Unit(self.layer.layer.name, int(channel)) for channel in self.channels)

    @property
    def count(self) -> int:
        return len(self.channels)

    def lowest(self, statistic: str) -> int:
        """The lowest value of a count among the channels."""
        return int(self.layer.statistics[statistic][self.channels].min())

    def highest(self, statistic: str) -> int:
        """The highest value of a count among the channels."""
        return int(self.layer.statistics[statistic][self.channels].max())


def select_channels(
    layers: Iterable[LayerEvidence], select: Callable[[LayerEvidence], Mask]
) -> list[LayerChannels]:
    """The channels of each layer for which `select` is true, and only layers that have some."""
    rows = [LayerChannels(layer, np.flatnonzero(select(layer))) for layer in layers]
    return [row for row in rows if row.count]


def describe_channels(rows: Sequence[LayerChannels], evidence: AtlasEvidence) -> str:
    """How many channels, and where: a phrase for the beginning of a sentence."""
    worst = max(rows, key=lambda row: row.count / row.layer.layer.channels)
    layer = worst.layer.layer
    in_worst = f"{worst.count} of {layer.channels:,}"
    if len(rows) == 1:
        return f"{in_worst} channels of {layer.name}"
    total = sum(row.count for row in rows)
    return (
        f"{total:,} of {evidence.channels:,} channels in {len(rows)} of "
        f"{count_noun(len(evidence.layers), 'layer')} ({in_worst} in {layer.name})"
    )


def count_channels(rows: Sequence[LayerChannels]) -> dict[str, AuditNumber]:
    """The numbers of channels and layers of a finding."""
    return {"channels": sum(row.count for row in rows), "layers": len(rows)}


def join_units(rows: Iterable[LayerChannels]) -> tuple[Unit, ...]:
    """The channels of all layers as units."""
    return tuple(unit for row in rows for unit in row.units)


def name_layers(layers: Iterable[Layer]) -> str:
    """How many layers, and the first of their names.

    >>> from retroscope.geometry import Field, ReceptiveField
    >>> name_layers([Layer("conv1", "conv", 8, (9, 9), ReceptiveField(Field(), Field()))])
    '1 layer (conv1)'
    """
    names = [layer.name for layer in layers]
    more = ", ..." if len(names) > _NAMED_LAYERS else ""
    return f"{count_noun(len(names), 'layer')} ({', '.join(names[:_NAMED_LAYERS])}{more})"
