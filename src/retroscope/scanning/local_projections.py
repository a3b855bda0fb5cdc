"""Projections made in this process: portion after portion, read ahead and written behind."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic, perf_counter
from typing import TypeVar

from retroscope.atlas.queries.table_rows import ProjectionRow
from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.atlas.writer import AtlasWriter, MissingProjection
from retroscope.engine.rules import RuleBook
from retroscope.methods.deconv.deconv import numbered_projections
from retroscope.network import Network
from retroscope.progress import ProgressReporter
from retroscope.results.projections import Projection
from retroscope.scanning.background_writer import BackgroundWriter
from retroscope.scanning.distributed.second_pass import hit_unit
from retroscope.scanning.image_files import refuse_changed_contents
from retroscope.scanning.images_ahead import ImagesAhead
from retroscope.scanning.sources import ImageList

REPORT_SECONDS = 1.0


def project_locally(
    writer: AtlasWriter,
    net: Network,
    image_list: ImageList,
    portions: Iterable[Sequence[MissingProjection]],
    *,
    sequence: Iterable[int],
    rules: str | RuleBook,
    workers: int,
    cached_images: int,
    reporter: ProgressReporter,
) -> None:
    """Projects portions in this process."""

    def check_file(file: ImageFileRow) -> None:
        refuse_changed_contents(writer, image_list, [file])

    with (
        ImagesAhead(
            net, image_list, sequence, check_file=check_file, workers=workers, size=cached_images
        ) as images,
        _projection_store(writer, workers=workers) as store,
    ):
        _project_portions(net, portions, images, store=store, rules=rules, reporter=reporter)


ProjectionStore = BackgroundWriter[tuple[int, Projection], ProjectionRow]
"""Stores projections, each with the number of its image."""


def _projection_store(writer: AtlasWriter, *, workers: int) -> ProjectionStore:
    def encode(projection: tuple[int, Projection]) -> ProjectionRow:
        return writer.encode_projection(*projection)

    return BackgroundWriter(writer, encode, writer.put_projections, workers=workers)


def _project_portions(
    net: Network,
    portions: Iterable[Sequence[MissingProjection]],
    images: ImagesAhead,
    *,
    store: ProjectionStore,
    rules: str | RuleBook,
    reporter: ProgressReporter,
) -> None:
    """Projects portion after portion, while those before are encoded and stored."""
    report = _at_intervals(lambda: reporter.update(store.stored))
    for portion in portions:
        reporter.update(store.stored)
        requests = ((hit_unit(hit), images.read(hit.image)) for hit in portion)
        finished: list[tuple[int, Projection]] = []
        try:
            for number, projection in numbered_projections(
                net, requests, rules=rules, after_pass=report
            ):
                finished.append((portion[number].image, projection))
        finally:  # an interruption keeps what is computed
            store.add(finished)
    reporter.update(store.wait())


Item = TypeVar("Item")


def in_time(items: Iterable[Item], max_seconds: float) -> Iterator[Item]:
    """The items until the time is up, or would be after one that takes as long as the last."""
    end, last = perf_counter() + max_seconds, 0.0
    for item in items:
        start = perf_counter()
        if start + last > end:
            return
        yield item
        last = perf_counter() - start


def _at_intervals(call: Callable[[], object]) -> Callable[[], None]:
    """A function that calls another, but at most every `REPORT_SECONDS`."""
    called_at = monotonic()

    def call_if_due() -> None:
        nonlocal called_at
        if monotonic() - called_at >= REPORT_SECONDS:
            call()
            called_at = monotonic()

    return call_if_due
