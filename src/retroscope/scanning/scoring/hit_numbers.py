"""Numbers of a channel from its best hits: faithfulness, dependence, and what the patch keeps."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import starmap
from typing import NamedTuple

import numpy as np
import torch

from retroscope.atlas.row_decoding import HitRow
from retroscope.engine.batching import NetworkInput
from retroscope.geometry import Box
from retroscope.methods.deconv.deconv import project_requests
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.results.projections import Projection
from retroscope.results.slice_stacks import to_stack
from retroscope.scanning.scoring.dependence import dependence, random_twin, strongest_other
from retroscope.scanning.scoring.faithfulness import (
    SHARES,
    PixelMask,
    Values,
    area_under,
    blob_strength,
    faithfulness_numbers,
    kept_share,
    largest_mask,
    projection_strength,
    random_strength,
)
from retroscope.scanning.scoring.intervals import finite_mean, mean_interval
from retroscope.scanning.scoring.map_runs import run_layer, unit_activations
from retroscope.scanning.scoring.similarity_numbers import Score
from retroscope.unit import Unit


class HitNumber(NamedTuple):
    """A number of one hit, and the level that chance reaches for it."""

    value: float
    chance: float = 0.0


_TWINS = 3

HitNumbers = dict[str, HitNumber]
"""The numbers of one hit, by name."""


@dataclass(frozen=True, eq=False)
class Hit:
    """A hit: its unit with a position, the number of its image, and the image."""

    unit: Unit
    number: int
    image: NetworkInput

    @classmethod
    def of_row(cls, row: HitRow, inputs: Mapping[int, NetworkInput]) -> "Hit":
        return cls(row.unit, row.image, inputs[row.image])


class HitScorer:
    """Computes the numbers of hits of one layer. `fill` is the mean colour of the images."""

    def __init__(self, net: Network, layer: Layer, *, rules: str, fill: torch.Tensor) -> None:
        self._net, self._layer, self._rules = net, layer, rules
        self._fill = fill.to(net.dtype)
        self._twins: list[Network] = []
        self._blank_maps: torch.Tensor | None = None

    def faithfulness(self, hits: Sequence[Hit]) -> list[HitNumbers]:
        """The areas under the curves of each hit's projection, against those of other masks."""
        return list(starmap(self._faithfulness, zip(hits, self._project(hits), strict=True)))

    def _faithfulness(self, hit: Hit, projection: Projection) -> HitNumbers:
        strengths = self._strengths(hit, projection)
        masks = [largest_mask(values, share) for values in strengths.values() for share in SHARES]
        full, *activations = self._activations(hit, projection.box, masks)
        shares = kept_share(activations, full).reshape(len(strengths), len(SHARES))
        areas = dict(zip(strengths, map(area_under, shares), strict=True))
        return {name: HitNumber(area) for name, area in faithfulness_numbers(areas).items()}

    def _strengths(self, hit: Hit, projection: Projection) -> dict[str, Values]:
        """What the pixels are ranked by: the projection, chance, and the distance from the middle.

        Chance is seeded by the hit, so an interrupted run gives the same numbers.
        """
        assert hit.unit.position is not None
        box, rank = projection.box, len(hit.unit.position)
        y, x = to_stack(hit.unit.position, self._layer.size)
        random = np.random.default_rng([hit.unit.channel or 0, hit.number, y, x])
        return {
            "projection": projection_strength(projection.pixels),
            "random": random_strength(box, random, rank),
            "blob": blob_strength(self._layer.field.box(*hit.unit.position), box, rank),
        }

    def patch(self, hits: Sequence[Hit]) -> list[HitNumbers]:
        """The share of the activation that the patch alone keeps, and the mean colour alone."""
        return [self._patch(hit) for hit in hits]

    def _patch(self, hit: Hit) -> HitNumbers:
        assert hit.unit.position is not None
        assert hit.unit.channel is not None
        size = hit.image.size
        box = self._layer.field.box(*hit.unit.position).clip_to(size)
        full, alone = self._activations(hit, box, [np.ones(box.size(len(size)), np.bool_)])
        blank = float(self._run_blank(hit.image)[(hit.unit.channel, *hit.unit.position)])
        return {"patch_share": HitNumber(*kept_share([alone, blank], full).tolist())}

    def _run_blank(self, image: NetworkInput) -> torch.Tensor:
        """The maps for the mean colour, in place of an image alone: what comes with it stays."""
        if self._blank_maps is None or image.others:
            blank = replace(image, tensor=self._fill.expand_as(image.tensor))
            self._blank_maps = run_layer(self._net, self._layer, [blank])[0]
        return self._blank_maps

    def dependence(self, hits: Sequence[Hit]) -> list[HitNumbers]:
        """How much each hit's projection differs from those of another image, unit and network."""
        numbers: list[HitNumbers] = [{} for _ in hits]
        projections = self._project(hits)
        for name, others in self._other_hits(hits).items():
            present = [(order, hit) for order, hit in enumerate(others) if hit is not None]
            compared = self._project([hit for _, hit in present])
            for (order, _), other in zip(present, compared, strict=True):
                numbers[order][name] = _difference(projections[order], other)
        for order, other in enumerate(self._project_in_twins(hits)):
            numbers[order]["dependence_on_weights"] = _difference(projections[order], other)
        return numbers

    def _other_hits(self, hits: Sequence[Hit]) -> dict[str, list[Hit | None]]:
        """What each hit is compared with; None if there is nothing to compare with."""
        next_images = _next_images(hits)
        return {
            "dependence_on_image": [
                None if other is None else Hit(hit.unit, other.number, other.image)
                for hit, other in zip(hits, next_images, strict=True)
            ],
            "dependence_on_unit": self._other_units(hits),
        }

    def _other_units(self, hits: Sequence[Hit]) -> list[Hit | None]:
        others: list[Hit | None] = []
        for hit in hits:
            assert hit.unit.position is not None
            position = hit.unit.position
            maps = run_layer(self._net, self._layer, [hit.image])[0]
            index: tuple[slice | int, ...] = (slice(None), *position)
            channel = strongest_other(maps[index], hit.unit.channel or 0)
            if channel is None:
                others.append(None)
                continue
            unit = Unit(self._layer.name, channel, position)
            others.append(Hit(unit, hit.number, hit.image))
        return others

    def _project_in_twins(self, hits: Sequence[Hit]) -> list[Projection]:
        """Each hit in one of a few random networks in turn: in a single one, a unit may be dead."""
        self._twins = self._twins or [random_twin(self._net, seed) for seed in range(_TWINS)]
        projections: dict[int, Projection] = {}
        for number, twin in enumerate(self._twins):
            orders = range(number, len(hits), _TWINS)
            shown = self._project([hits[order] for order in orders], twin)
            projections |= zip(orders, shown, strict=True)
        return [projections[order] for order in range(len(hits))]

    def _project(self, hits: Sequence[Hit], net: Network | None = None) -> list[Projection]:
        requests = [(hit.unit, hit.image) for hit in hits]
        return list(project_requests(net or self._net, requests, rules=self._rules))

    def _activations(self, hit: Hit, box: Box, masks: Sequence[PixelMask]) -> list[float]:
        """The activation for the whole image, then for the pixels of each mask alone."""
        tensors = [self._keep(hit.image.tensor, box, mask) for mask in masks]
        requests = [(tensor, hit.unit) for tensor in (hit.image.tensor, *tensors)]
        return unit_activations(self._net.for_images([hit.image]), self._layer, requests)

    def _keep(self, image: torch.Tensor, box: Box, mask: PixelMask) -> torch.Tensor:
        masked = self._fill.expand_as(image).clone()
        pixels = torch.from_numpy(mask).expand(image.shape[0], *mask.shape)
        inside = (slice(None), *box.slices(mask.ndim))
        masked[inside][pixels] = image[inside][pixels]
        return masked


def _difference(first: Projection, second: Projection) -> HitNumber:
    return HitNumber(dependence(first.pixels, second.pixels))


def _next_images(hits: Sequence[Hit]) -> list[Hit | None]:
    """For each hit, the next of the same channel, after the last the first; None if it is alone."""
    by_channel: dict[int | None, list[int]] = defaultdict(list)
    for order, hit in enumerate(hits):
        by_channel[hit.unit.channel].append(order)
    following: dict[int, Hit | None] = {}
    for orders in by_channel.values():
        for order, successor in zip(orders, [*orders[1:], orders[0]], strict=True):
            following[order] = None if order == successor else hits[successor]
    return [following[order] for order in range(len(hits))]


def channel_scores(numbers: Sequence[HitNumbers], names: Sequence[str]) -> dict[str, Score]:
    """The numbers of a channel: the means over its hits, with their intervals.

    A number that no hit has is NaN.
    """
    return {name: _mean_score([hit[name] for hit in numbers if name in hit]) for name in names}


def _mean_score(numbers: Sequence[HitNumber]) -> Score:
    values, levels = np.array(numbers, np.float64).reshape(-1, 2).T
    chance = finite_mean(levels) if len(levels) else 0.0
    return Score(finite_mean(values), *mean_interval(values), chance=chance)
