"""The second pass, over the hits only: it stores their images and their projections."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

from retroscope.argument_types import check_arguments
from retroscope.atlas.layer_selection import split_names
from retroscope.atlas.queries.rankings import HitRanking
from retroscope.atlas.queries.table_rows import StoredImageRow
from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.atlas.ranking_lookup import find_rankings
from retroscope.atlas.reader import Atlas
from retroscope.atlas.row_encoding import stored_image_row
from retroscope.atlas.schema import Ranking, ScanState
from retroscope.atlas.writer import AtlasWriter, extend_atlas
from retroscope.engine.rule_choice import AUTO, choose_rules
from retroscope.errors import RetroscopeError
from retroscope.methods.atlas_match import check_same_scan
from retroscope.network import AnyNetwork, Network, as_network
from retroscope.progress import ProgressListener, ProgressReporter, ignore_progress
from retroscope.results.slice_stacks import volume_size
from retroscope.scanning.background_writer import BackgroundWriter
from retroscope.scanning.distributed.projection_workers import projection_workers
from retroscope.scanning.distributed.second_pass import (
    ProjectionWorkers,
    project_on_workers,
    rules_of_rows,
)
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.hit_order import HitOrder
from retroscope.scanning.image_files import (
    read_input,
    refuse_changed_contents,
    refuse_changed_files,
)
from retroscope.scanning.loading import default_workers
from retroscope.scanning.local_projections import in_time, project_locally
from retroscope.scanning.merging.joined_sources import list_joined_images
from retroscope.scanning.missing_hits import MissingHits, select_units
from retroscope.scanning.sources import ImageList, ImageSource, list_images, list_shards
from retroscope.scanning.sources.known_images import list_known_images
from retroscope.scanning.sources.left_out import LeftOutShards
from retroscope.scanning.sources.paired_images import OtherSources, pair_scanned_images
from retroscope.unit import Unit

CACHED_IMAGES, IMAGES_PER_TRANSACTION = 384, 32

RanksOption = str | int | bool
"""`auto`, `all`, `max`, `none`, or a number of hits; True and False stand for `all` and `none`."""


@dataclass(frozen=True)
class Ranks:
    """Which hits get a projection: the first `limit` of each ranking, or all of them.

    Without `by_mean`, only those of the ranking by maximum. `is_timed`: as many as there is time
    for, which `time_for_projections` says. With `rankings`, the hits of these; otherwise
    those by maximum and by mean.
    """

    limit: int | None = None
    by_mean: bool = True
    is_timed: bool = False
    rankings: tuple[HitRanking, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self.limit == 0


ALL_RANKS, RANKS_BY_MAX, NO_RANKS = Ranks(), Ranks(by_mean=False), Ranks(limit=0)
MOST_HITS = 2**31 - 1
"""No channel has as many: a larger number is all of them."""

_RANKS_BY_NAME = {
    "auto": Ranks(is_timed=True),
    "all": ALL_RANKS,
    "max": RANKS_BY_MAX,
    "none": NO_RANKS,
}
_PASSES, _SHORTEST_SECONDS = 3.0, 120.0


def time_for_projections(pass_seconds: float) -> float:
    """The seconds that a scan spends on projections by default, after a pass of so many.

    >>> time_for_projections(10), time_for_projections(100)
    (120.0, 300.0)
    """
    return max(_PASSES * pass_seconds, _SHORTEST_SECONDS)


def parse_ranks(option: RanksOption) -> Ranks:
    """The hits that an option selects.

    >>> parse_ranks("max"), parse_ranks(False).limit
    (Ranks(limit=None, by_mean=False, is_timed=False, rankings=()), 0)
    """
    if isinstance(option, bool):
        return ALL_RANKS if option else NO_RANKS
    if option in _RANKS_BY_NAME:
        return _RANKS_BY_NAME[str(option)]
    if isinstance(option, int) and option > MOST_HITS:
        return ALL_RANKS
    if not str(option).isdecimal():
        raise RetroscopeError(
            f"cannot project the hits {option!r}; write auto, all, max, none, or a number of hits"
        )
    is_short = len(str(option)) <= len(str(MOST_HITS))
    return Ranks(int(option)) if is_short else ALL_RANKS


@check_arguments
def illustrate(
    atlas: str | Path,
    net: AnyNetwork,
    images: ImageSource | None = None,
    *,
    inputs: OtherSources | None = None,
    layers: str | Sequence[str] = (),
    units: Sequence[str | Unit] | None = None,
    projections: RanksOption = "all",
    rules: str = AUTO,
    ranked_by: str | Sequence[str] | None = None,
    label: str | Sequence[str] | None = None,
    labels: str | Path | None = None,
    glob: str | None = None,
    workers: int | None = None,
    on: str | WorkerOptions | None = None,
    gpus_per_worker: float | None = None,
    progress: ProgressListener = ignore_progress,
) -> None:
    """Projects the hits of a scanned atlas that have no projection by these rules yet.

    `rules` are those of `rs.deconv`. The atlas is shown with those that `auto` chooses, or with the
    first that are asked for.

    `layers` (names, aliases, globs and kinds) and `units` (channels, or single positions) select
    a part of the atlas. `projections` is `all`, `max` (the hits by maximum), how many hits of each
    channel, or `auto`: as many as two minutes are enough for. They are the hits by maximum and by
    mean; with `ranked_by`, those of one ranking or of several (`max`, `mean`, `min`, `sample`);
    with `label`, the best images of that class or of these. `images` are those of the scan; by
    default, those that the atlas records. The images stored in the atlas would not do: the little
    that WebP loses changes switches, and with them the projections of deep layers. `inputs` says
    where the other inputs of a network of several are, as for `scan`; by default, where the scan
    has read them.

    `on` does it on several workers: `processes`, `ray`, or the `ray://HOST:PORT` of a cluster. Then
    `workers` is their number, and each has so many `gpus_per_worker`.
    """
    net = as_network(net).for_batches
    ranks = parse_ranks(projections)
    options = None
    if on is not None:
        options = WorkerOptions.parse(on, workers=workers, gpus_per_worker=gpus_per_worker)
    with extend_atlas(atlas) as (scanned, writer):
        image_list = list_scanned_images(scanned, images, glob=glob, labels=labels)
        image_list = pair_scanned_images(net, image_list, scanned, inputs)
        check_scan_and_images(scanned, net, image_list)
        selection = select_units(scanned, split_names(layers), units)
        if ranked_by is not None or label is not None:
            rankings = find_rankings(
                scanned, Ranking.MAX if ranked_by is None else ranked_by, label
            )
            ranks = replace(ranks, by_mean=True, rankings=rankings)
        threads = default_workers() if options else workers or default_workers()
        store_winning_images(writer, net, image_list, workers=threads, progress=progress)
        with _projection_workers(net, options, writer.path) as projecting:
            project_hits(
                writer,
                net,
                image_list,
                ranks=ranks,
                selection=selection,
                rules=rules,
                max_seconds=time_for_projections(0) if ranks.is_timed else inf,
                workers=threads,
                on=projecting,
                progress=progress,
            )


@contextmanager
def _projection_workers(
    net: Network, options: WorkerOptions | None, atlas: Path
) -> Iterator[ProjectionWorkers | None]:
    """The workers that are asked for; None for this process."""
    if options is None:
        yield None
        return
    with projection_workers(net, options, network=options.network, beside=atlas) as workers:
        yield workers


def list_scanned_images(
    atlas: Atlas,
    images: ImageSource | None,
    *,
    glob: str | None,
    labels: str | Path | None,
) -> ImageList:
    """The given images, or those that the atlas records, without those that it leaves out."""
    meta = atlas.meta
    takes_volumes = volume_size(meta.get("preprocessing")) is not None
    left_out = LeftOutShards.from_facts(meta)
    if images is not None and not left_out.numbers:
        return list_images(images, glob=glob, labels=labels, takes_volumes=takes_volumes)
    keys = [image.key for image in atlas.images]
    if images is not None:
        shards = list_shards(images, glob=glob, labels=labels, takes_volumes=takes_volumes)
        return left_out.remove_from(shards, keys).list_images()
    sources = meta.get("sources")
    if isinstance(sources, list):
        if glob:
            raise RetroscopeError(
                f"{str(atlas.path)!r} records the pattern of each of its parts; leave glob out",
                parameter="glob",
            )
        name = repr(str(atlas.path))
        return list_joined_images(sources, keys, name, takes_volumes=takes_volumes)
    source, recorded_glob = meta.get("source"), meta.get("glob")
    if not isinstance(source, str):
        raise RetroscopeError(
            f"{str(atlas.path)!r} does not record where its images are; give them as for the scan"
        )
    glob = glob or (str(recorded_glob) if recorded_glob else None)
    return list_known_images(
        source, keys, glob=glob, left_out=left_out, takes_volumes=takes_volumes
    )


def check_scan_and_images(atlas: Atlas, net: Network, image_list: ImageList) -> None:
    """Raises if the scan is not finished, or is of another network or of other images."""
    meta, name = atlas.meta, repr(str(atlas.path))
    if "state" not in meta or not ScanState(str(meta["state"])).is_finished:
        raise RetroscopeError(f"the scan of {name} is not finished; run the same scan again")
    check_same_scan(atlas, net, name)
    _check_is_same_list(atlas, image_list)


def _check_is_same_list(atlas: Atlas, image_list: ImageList) -> None:
    count, name = len(atlas.images), repr(str(atlas.path))
    if len(image_list.keys) != count:
        raise RetroscopeError(
            f"{name} is a scan of {count} images, not of {len(image_list.keys)}; give the same "
            "images"
        )
    for image, key in zip(atlas.images, image_list.keys, strict=True):
        is_numbered = (
            image.key == str(image.id) and image_list.files is None
        )  # as data sets once were
        if image.key != key and not is_numbered:
            raise RetroscopeError(
                f"image {image.id} of {name} is {image.key!r}, not {key!r}; give the same images"
            )


def store_winning_images(
    writer: AtlasWriter,
    net: Network,
    image_list: ImageList,
    *,
    workers: int,
    progress: ProgressListener,
) -> None:
    """Stores the images among the hits that are missing; those of a scan are there already."""
    missing = writer.images_without_pixels()
    if not missing:
        return
    refuse_changed_files(writer, image_list, missing)

    def encode(index: int) -> tuple[StoredImageRow, ImageFileRow | None]:
        image, file = read_input(net, image_list, index)
        return stored_image_row(index, image.rgb), file

    def put(images: Sequence[tuple[StoredImageRow, ImageFileRow | None]]) -> None:
        files = [file for _, file in images if file is not None]
        refuse_changed_contents(writer, image_list, files)
        writer.put_stored_images(row for row, _ in images)

    reporter = ProgressReporter("store images", len(missing), progress)
    with BackgroundWriter(writer, encode, put, workers=workers) as background:
        for start in range(0, len(missing), IMAGES_PER_TRANSACTION):
            reporter.update(background.stored)
            background.add(missing[start : start + IMAGES_PER_TRANSACTION])
        reporter.update(background.wait())


def project_hits(
    writer: AtlasWriter,
    net: Network,
    image_list: ImageList,
    *,
    ranks: Ranks,
    selection: frozenset[Unit] | None = None,
    rules: str = AUTO,
    max_seconds: float = inf,
    workers: int | None = None,
    on: ProjectionWorkers | None = None,
    progress: ProgressListener = ignore_progress,
) -> None:
    """Stores the projections of the hits that have none, the best hits of every channel first.

    It stops after `max_seconds`, and leaves the others for later. Portions are those of all hits,
    so that work which goes on later, or elsewhere, projects the same hits together.
    """
    choice = choose_rules(rules, net.survey(net.input_size))
    if rules == AUTO or "rules" not in writer.meta:
        with writer.transaction():
            writer.put_meta({"rules": choice.book.name, "rules_reason": choice.reason})
    order = HitOrder(net, choice.book)
    missing = MissingHits(writer, selection, ranks.rankings, ranks.limit, ranks.by_mean)
    hits = order.sort(missing.find(choice.book.name))
    refuse_changed_files(writer, image_list, sorted({hit.image for hit in hits}))
    reporter = ProgressReporter(
        "illustrate", len(hits), progress, max_seconds=max_seconds, parts=order.parts(hits)
    )
    portions = in_time(missing.portions_left(order, hits), max_seconds)
    if on is not None and hits:
        work = on.work(writer, net, rules)
        project_on_workers(
            on, work, portions, writer=writer, image_list=image_list, reporter=reporter
        )
    elif hits:
        project_locally(
            writer,
            net,
            image_list,
            portions,
            sequence=[hit.image for hit in hits],
            rules=rules_of_rows(net, rules),
            workers=workers or default_workers(),
            cached_images=CACHED_IMAGES,
            reporter=reporter,
        )
    covers_layers = selection is None or any(unit.channel is None for unit in selection)
    if covers_layers and not ranks.rankings:
        with writer.transaction():
            state = ScanState.SCANNED if ranks.is_empty else ScanState.ILLUSTRATED
            writer.put_meta({"state": state})
