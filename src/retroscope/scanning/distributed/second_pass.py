"""The second pass on workers: a task is a portion of hits, with where their images are."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from retroscope.atlas.queries.table_rows import ProjectionRow
from retroscope.atlas.queries.writer_queries import ImageFileRow, layer_numbers
from retroscope.atlas.reader import open_atlas
from retroscope.atlas.row_encoding import projection_row
from retroscope.atlas.writer import AtlasWriter, MissingProjection
from retroscope.engine.rule_choice import choose_rules
from retroscope.engine.rules import RELEVANCE, RuleBook
from retroscope.errors import RetroscopeError
from retroscope.methods.atlas_match import fingerprint
from retroscope.methods.deconv.deconv import project_requests
from retroscope.network import Network
from retroscope.progress import ProgressReporter
from retroscope.scanning.distributed.selected_files import select_files
from retroscope.scanning.image_files import refuse_changed_contents
from retroscope.scanning.images_ahead import ImagesAhead
from retroscope.scanning.lots.network_source import NetworkSource
from retroscope.scanning.lots.sweep_plan import use_threads
from retroscope.scanning.runners.dispatch import run
from retroscope.scanning.runners.work import Deadly, Failed, RunStatus
from retroscope.scanning.runners.workers import Runner
from retroscope.scanning.sources import ImageFiles, ImageList
from retroscope.scanning.sources.image_list import OtherList
from retroscope.unit import Unit

CACHED_IMAGES = 128


@dataclass(frozen=True)
class PortionTask:
    """Hits that are projected together, and their images by place: numbers, keys, and files.

    `others` come with the images, for a network of several inputs.
    """

    hits: Sequence[MissingProjection]
    images: Sequence[int]
    keys: Sequence[str]
    files: ImageFiles
    others: Mapping[str, OtherList] = field(default_factory=dict)


@dataclass(frozen=True)
class PortionResult:
    """The rows of a portion, and the files of its images as they were read."""

    rows: Sequence[ProjectionRow]
    files: Sequence[ImageFileRow]


@dataclass(frozen=True)
class ProjectionWork:
    """How workers project: the network and the rules of `illustrate`.

    `folder` is where a network without a name is pickled, `layer_ids` are those of the atlas, and
    `workers` are threads that read and encode images.
    """

    network: NetworkSource
    folder: str
    weights: str
    rules: str
    layer_ids: Mapping[str, int]
    threads: int
    workers: int

    def open(self) -> Callable[[PortionTask], PortionResult]:
        """Opens the network; returns the function that projects a portion."""
        with use_threads(self.threads):
            net = self.network.open(Path(self.folder))
            net.survey(net.input_size)
        if fingerprint(net.module) != self.weights:
            raise RetroscopeError(
                f"{net.name} has other weights here than where the scan was started; restore them"
            )
        return lambda task: self._project(net, task)

    def _project(self, net: Network, task: PortionTask) -> PortionResult:
        place_by_image = {image: place for place, image in enumerate(task.images)}
        labels = [-1] * len(task.images)
        image_list = ImageList(
            task.keys, labels, [], task.files.name, task.files, others=task.others
        )
        files: list[ImageFileRow] = []
        sequence = [place_by_image[hit.image] for hit in task.hits]
        with (
            use_threads(self.threads),
            ImagesAhead(
                net,
                image_list,
                sequence,
                check_file=files.append,
                workers=self.workers,
                size=CACHED_IMAGES,
            ) as images,
            ThreadPoolExecutor(self.workers, thread_name_prefix="retroscope-encode") as encoders,
        ):
            requests = (
                (hit_unit(hit), images.read(place))
                for hit, place in zip(task.hits, sequence, strict=True)
            )
            projections = project_requests(net, requests, rules=rules_of_rows(net, self.rules))
            rows = [
                encoders.submit(
                    projection_row,
                    *(self.layer_ids[hit.layer], hit.image, projection),
                    map_size=hit.map_size,
                )
                for hit, projection in zip(task.hits, projections, strict=True)
            ]
            return PortionResult(
                [row.result() for row in rows],
                [file._replace(image=task.images[file.image]) for file in files],
            )


@dataclass(frozen=True)
class ProjectionWorkers:
    """Where and how projections are made; the fields are those of `ProjectionWork`."""

    runner: Runner
    network: NetworkSource
    folder: Path
    threads: int
    workers: int

    def work(self, writer: AtlasWriter, net: Network, rules: str) -> ProjectionWork:
        """The work for the atlas of a writer."""
        with open_atlas(writer.path) as atlas:
            layer_ids = {name: row.id for name, row in layer_numbers(atlas).items()}
        return ProjectionWork(
            self.network,
            str(self.folder),
            fingerprint(net.module),
            rules,
            layer_ids,
            self.threads,
            self.workers,
        )


def project_on_workers(
    workers: ProjectionWorkers,
    work: ProjectionWork,
    portions: Iterable[Sequence[MissingProjection]],
    *,
    writer: AtlasWriter,
    image_list: ImageList,
    reporter: ProgressReporter,
) -> None:
    """Projects portions on workers; this process writes them, each in one transaction.

    An image that has changed or is missing ends it, as it does in one process.
    """
    stored, lost = 0, []
    note = ""

    def show_status(status: RunStatus) -> None:
        nonlocal note
        note = f"{status.workers} {'worker' if status.workers == 1 else 'workers'}"
        reporter.update(stored, note=note)

    tasks = _tasks(portions, image_list)
    with closing(run(work, tasks, runner=workers.runner, listener=show_status)) as outcomes:
        for outcome in outcomes:
            match outcome:
                case Failed():
                    raise RetroscopeError(outcome.message)
                case Deadly():
                    lost.append(outcome)
                case _:
                    refuse_changed_contents(writer, image_list, outcome.result.files)
                    with writer.transaction():
                        writer.put_projections(outcome.result.rows)
                    stored += len(outcome.result.rows)
            reporter.update(stored, note=note)
    if lost:
        raise _describe_lost(lost)


def _tasks(
    portions: Iterable[Sequence[MissingProjection]], image_list: ImageList
) -> Iterator[PortionTask]:
    assert image_list.files is not None, "data sets have no shards"
    for hits in portions:
        images = sorted({hit.image for hit in hits})
        keys = [image_list.keys[image] for image in images]
        others = {name: other.select(images) for name, other in image_list.others.items()}
        yield PortionTask(hits, images, keys, select_files(image_list.files, images), others)


def _describe_lost(lost: Sequence[Deadly[PortionTask]]) -> RetroscopeError:
    count, first = sum(len(outcome.task.hits) for outcome in lost), lost[0]
    return RetroscopeError(
        f"{count} projections are missing, the first {hit_unit(first.task.hits[0])} in "
        f"{first.task.keys[0]!r}: their workers died ({first.deaths[-1]}); run the same again to "
        "try them, with fewer workers if memory is short"
    )


def hit_unit(hit: MissingProjection) -> Unit:
    """The unit that a hit is a hit of."""
    return Unit(hit.layer, hit.channel, hit.position)


def rules_of_rows(net: Network, rules: str) -> str | RuleBook:
    """The rules that rows name: by name, relevance comes without a note that the atlas has once."""
    book = choose_rules(rules, net.survey(net.input_size)).book
    return book if book is RELEVANCE else rules
