"""The job behind `score`: it fills an atlas's tables of numbers and names, layer by layer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retroscope.argument_types import check_arguments
from retroscope.atlas.layer_selection import atlas_layers, split_names
from retroscope.atlas.writer import extend_atlas
from retroscope.errors import RetroscopeError
from retroscope.geometry import INPUTS
from retroscope.methods.atlas_match import rules_of_atlas
from retroscope.network import AnyNetwork, Network, as_network
from retroscope.progress import ProgressListener, ProgressReporter, ignore_progress
from retroscope.results.layers import Layer
from retroscope.results.unit_numbers import (
    GROUPS,
    NUMBERS_BY_NAME,
    NameSource,
    UnitName,
    UnitNumber,
    choose_groups,
)
from retroscope.scanning.illustrate import check_scan_and_images, list_scanned_images
from retroscope.scanning.image_files import refuse_changed_files
from retroscope.scanning.loading import default_workers
from retroscope.scanning.plan import refuse_less_than_one
from retroscope.scanning.scoring.concept_masks import open_masks
from retroscope.scanning.scoring.dissection import BestConcept
from retroscope.scanning.scoring.hit_numbers import Hit, HitNumbers, HitScorer, channel_scores
from retroscope.scanning.scoring.image_numbers import (
    LayerSummary,
    dissect_layer,
    interpretability_scores,
    summarise_layer,
)
from retroscope.scanning.scoring.map_runs import mean_colour
from retroscope.scanning.scoring.request import (
    DISSECTION,
    HIT_GROUPS,
    ScoreRequest,
    number_names,
)
from retroscope.scanning.scoring.similarity_numbers import Score, monosemanticity
from retroscope.scanning.sources import ImageSource
from retroscope.scanning.sources.paired_images import OtherSources, pair_scanned_images
from retroscope.unit import Unit

BEST_HITS = 9
"""How many hits of a channel its numbers are the means of."""
_CHANNELS_PER_TRANSACTION = 4

EstimateListener = Callable[[ScoreRequest, "Sequence[MissingNumbers]"], object]
"""Receives what is to be computed before it starts."""


@dataclass(frozen=True)
class MissingNumbers:
    """The channels of a layer that lack the numbers of a group."""

    group: str
    layer: Layer
    channels: Sequence[int]


@check_arguments
def score(
    atlas: str | Path,
    net: AnyNetwork,
    images: ImageSource | None = None,
    *,
    inputs: OtherSources | None = None,
    layers: str | Sequence[str] = (),
    numbers: Sequence[str] = (),
    masks: str | Path | None = None,
    embedding: AnyNetwork | None = None,
    hits: int = BEST_HITS,
    glob: str | None = None,
    workers: int | None = None,
    before: EstimateListener | None = None,
    progress: ProgressListener = ignore_progress,
) -> None:
    """Adds numbers to the channels of a scanned atlas that say how far to trust what it shows.

    `numbers` are `faithfulness`, `dependence`, `patch`, `mis`, `monosemanticity` and `dissection`;
    by default all of them, and `dissection` if there are `masks`: a folder of label images with a
    CSV file of their concepts. The best concept of a channel becomes its name.

    `inputs` says where the other inputs of a network of several are, as for `scan`; by default,
    where the scan has read them.

    `embedding` is the network that says how similar two images are; by default the scanned one,
    which flatters it. `hits` is how many hits of a channel are looked at. Numbers computed from the
    same are not computed again, so that an interrupted run can be resumed.
    """
    net = as_network(net).for_batches
    embedding = None if embedding is None else as_network(embedding)
    _refuse_another_kind(net, embedding)
    refuse_less_than_one(hits=hits, workers=workers)
    groups = _choose_groups(numbers, has_masks=masks is not None)
    if DISSECTION in groups:
        net.require_images("dissection", instead="leave out the masks")
    with extend_atlas(atlas) as (scanned, writer):
        image_list = list_scanned_images(scanned, images, glob=glob, labels=None)
        image_list = pair_scanned_images(net, image_list, scanned, inputs)
        check_scan_and_images(scanned, net, image_list)
        names = split_names(layers)
        request = ScoreRequest(
            scanned,
            writer,
            net,
            image_list,
            atlas_layers(scanned, names) if names else scanned.layers,
            groups,
            hits,
            workers or default_workers(),
            embedding=embedding,
            masks=None if masks is None else open_masks(masks, image_list.keys),
        )
        refuse_changed_files(writer, image_list, range(len(image_list.keys)))
        work = missing_numbers(request)
        if before is not None and work:
            before(request, work)
        _run(request, work, progress=progress)


def _refuse_another_kind(net: Network, embedding: Network | None) -> None:
    if embedding is not None and embedding.rank != net.rank:
        raise RetroscopeError(
            f"the embedding {embedding.name} takes {INPUTS[embedding.rank]}s, and {net.name} "
            f"{INPUTS[net.rank]}s; give a network of {INPUTS[net.rank]}s",
            parameter="embedding",
        )


def _choose_groups(numbers: Sequence[str], *, has_masks: bool) -> tuple[str, ...]:
    if not numbers:
        return tuple(group for group in GROUPS if group != DISSECTION or has_masks)
    groups = choose_groups(numbers)
    if DISSECTION in groups and not has_masks:
        raise RetroscopeError(
            "dissection needs masks of concepts; name their folder", parameter="masks"
        )
    return choose_groups([*groups, DISSECTION]) if has_masks else groups


def missing_numbers(request: ScoreRequest) -> list[MissingNumbers]:
    """What is to be computed, group by group and layer by layer."""
    missing = (
        MissingNumbers(group, layer, request.missing_channels(group, layer))
        for group in request.groups
        for layer in request.layers
    )
    return [entry for entry in missing if entry.channels]


def _run(
    request: ScoreRequest, work: Sequence[MissingNumbers], *, progress: ProgressListener
) -> None:
    for group in request.groups:
        if group in HIT_GROUPS:
            _score_hits(request, [entry for entry in work if entry.group == group], progress)
    _score_images(request, [entry for entry in work if entry.group not in HIT_GROUPS], progress)


def _score_hits(
    request: ScoreRequest, work: Sequence[MissingNumbers], progress: ProgressListener
) -> None:
    """The numbers of a group from the best hits of each channel."""
    if not work:
        return
    total = sum(len(entry.channels) for entry in work)
    reporter, completed = ProgressReporter(work[0].group, total, progress), 0
    for entry in work:
        scorer = hit_scorer(request, entry.layer)
        for start in range(0, len(entry.channels), _CHANNELS_PER_TRANSACTION):
            channels = entry.channels[start : start + _CHANNELS_PER_TRANSACTION]
            scores = {
                channel: score_channel(request, scorer, entry, channel) for channel in channels
            }
            with request.writer.transaction():
                for channel, by_name in scores.items():
                    request.writer.put_numbers(_numbers(request, entry, channel, by_name))
            completed += len(channels)
            reporter.update(completed)


def hit_scorer(request: ScoreRequest, layer: Layer) -> HitScorer:
    """What computes the numbers of the hits of a layer."""
    return HitScorer(
        request.net,
        request.net.layer(layer.name),
        rules=rules_of_atlas(request.atlas, request.net),
        fill=mean_colour(request.cache, request.images.indices),
    )


def score_channel(
    request: ScoreRequest, scorer: HitScorer, entry: MissingNumbers, channel: int
) -> dict[str, Score]:
    """The numbers of a group of one channel. Without hits they are NaN."""
    rows = request.atlas.hits(Unit(entry.layer.name, channel))[: request.hits]
    inputs = request.cache.read([row.image for row in rows])
    hits = [Hit(row.unit, row.image, inputs[row.image]) for row in rows]
    compute: Mapping[str, Callable[[Sequence[Hit]], list[HitNumbers]]] = {
        "faithfulness": scorer.faithfulness,
        "dependence": scorer.dependence,
        "patch": scorer.patch,
    }
    values = compute[entry.group](hits) if hits else []
    return channel_scores(values, number_names(entry.group))


def _score_images(
    request: ScoreRequest, work: Sequence[MissingNumbers], progress: ProgressListener
) -> None:
    """The numbers from all images, layer by layer."""
    layers = {entry.layer.name: entry.layer for entry in work}
    if not work:
        return
    reporter = ProgressReporter("layers", len(layers), progress)
    for completed, layer in enumerate(layers.values(), start=1):
        summary = summarise_layer(request.images, request.net.layer(layer.name))
        for entry in work:
            if entry.layer is layer:
                _score_layer(request, entry, summary)
        reporter.update(completed)


def _score_layer(request: ScoreRequest, entry: MissingNumbers, summary: LayerSummary) -> None:
    if entry.group == DISSECTION:
        _dissect(request, entry, summary)
        return
    compute = interpretability_scores if entry.group == "mis" else monosemanticity
    scores = compute(summary.maxima, request.embeddings)
    (name,) = number_names(entry.group)
    with request.writer.transaction():
        for channel, channel_score in enumerate(scores):
            numbers = _numbers(request, entry, channel, {name: channel_score})
            request.writer.put_numbers(numbers)


def _dissect(request: ScoreRequest, entry: MissingNumbers, summary: LayerSummary) -> None:
    assert request.masks is not None
    layer = request.net.layer(entry.layer.name)
    concepts = dissect_layer(request.masked_images, layer, request.masks, summary.thresholds)
    names = list(request.masks.names.values())
    with request.writer.transaction():
        request.writer.delete_names(NameSource.DISSECTION, layer.name)
        for channel, best in enumerate(concepts):
            overlap = Score(best.overlap, best.low, best.high, best.chance)
            numbers = _numbers(request, entry, channel, {"concept_iou": overlap})
            request.writer.put_numbers(numbers)
            if best.is_name:
                request.writer.put_names([_concept_name(layer, channel, best, names)])


def _concept_name(layer: Layer, channel: int, best: BestConcept, names: Sequence[str]) -> UnitName:
    unit = Unit(layer.name, channel)
    return UnitName(unit, names[best.concept], best.overlap, NameSource.DISSECTION)


def _numbers(
    request: ScoreRequest, entry: MissingNumbers, channel: int, scores: Mapping[str, Score]
) -> Iterator[UnitNumber]:
    for name, number in scores.items():
        yield UnitNumber(
            Unit(entry.layer.name, channel),
            name,
            value=number.value,
            low=number.low,
            high=number.high,
            chance=number.chance,
            subject=NUMBERS_BY_NAME[name].subject,
            basis=request.basis(entry.group),
        )
