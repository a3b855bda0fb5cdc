"""The pass over a lot: pure, so that whoever repeats it gets the same segment."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.errors import ImageError, ModelError, RetroscopeError
from retroscope.network import Network
from retroscope.scanning.image_pass import ScanPass, run_batches
from retroscope.scanning.loading import LoadedBatch, default_workers
from retroscope.scanning.lots.lot_pixels import LotPixels
from retroscope.scanning.lots.machine_kind import describe_machine
from retroscope.scanning.lots.plan_folder import LotTask
from retroscope.scanning.lots.segment import SHARD_BITS, LotImages, Segment, SegmentFacts
from retroscope.scanning.lots.sweep_plan import SweepPlan, use_threads
from retroscope.scanning.lots.whole_files import PlanError
from retroscope.scanning.one_pass import LayerSweeps
from retroscope.scanning.precision import candidate_count
from retroscope.scanning.sources import ImageFiles, ImageList, Shard
from retroscope.scanning.statistics.sweep import Array


class UnsweptShardError(PlanError):
    """A shard that cannot be swept: it is missing, cut off, or changed since the plan."""


@dataclass(frozen=True, eq=False)
class LotInput:
    """What a pass over a lot reads.

    A second pass scores the `candidates` alone, which are numbers of images in order; their files
    must be those of the first pass.
    """

    shards: Sequence[Shard]
    candidates: Array | None = None
    first_files: Sequence[ImageFileRow] = ()


def ignore_count(_images: int) -> None:
    """A listener that does nothing."""


def sweep_lot(
    net: Network,
    plan: SweepPlan,
    task: LotTask,
    *,
    lot: LotInput,
    workers: int | None = None,
    report: Callable[[int], None] = ignore_count,
) -> Segment:
    """The segment of a lot: the same on each machine of a kind.

    `net` computes in the precision of the stage. `report` is called with how many images of the lot
    have been read.
    """
    workers = workers or default_workers()
    with use_threads(plan.threads), LotPixels(workers) as pixels:
        lot_pass = _LotPass(net, plan, task, lot, pixels, workers)
        for shard, image_list in list_ahead(lot.shards):
            with name_shard(shard):
                for images in lot_pass.sweep_shard(shard, image_list):
                    report(images)
        webps = pixels.finish(lot_pass.sweeps.sweep)
    facts = SegmentFacts(plan.id, task.lot, task.stage, describe_machine(net.device))
    return Segment(facts, lot_pass.sweeps.sweep, lot_pass.images, webps)


def list_ahead(shards: Sequence[Shard]) -> Iterator[tuple[Shard, ImageList]]:
    """Each shard with its images, listed while the one before is swept."""
    with ThreadPoolExecutor(1, thread_name_prefix="retroscope-list") as pool:
        try:
            ahead = [pool.submit(list_shard, shard) for shard in shards[:1]]
            for number, shard in enumerate(shards):
                image_list = ahead.pop().result()
                ahead = [pool.submit(list_shard, after) for after in shards[number + 1 :][:1]]
                yield shard, image_list
        finally:
            pool.shutdown(cancel_futures=True)


def list_shard(shard: Shard) -> ImageList:
    """The images of a shard."""
    with name_shard(shard):
        return shard.list_images()


@contextmanager
def name_shard(shard: Shard) -> Iterator[None]:
    """Turns an error about the images into an UnsweptShardError that names the shard."""
    try:
        yield
    except (PlanError, ModelError):
        raise
    except RetroscopeError as error:
        raise UnsweptShardError(f"shard {shard.number} cannot be swept: {error}") from error


def refuse_missing_files(image_list: ImageList, indices: Sequence[int]) -> None:
    """Raises if all of these files are gone, as on a machine that does not see the disk."""
    files = image_list.files
    if files is not None and len(indices) and not any(_exists(files, index) for index in indices):
        raise ImageError(
            f"none of its {len(indices)} images is there, such as {files.name(indices[0])}; mount "
            "the disk or restore them"
        )


def _exists(files: ImageFiles, index: int) -> bool:
    try:
        files.status(index)
    except OSError:
        return False
    return True


@dataclass(eq=False)
class _LotPass:
    """What a pass over a lot has found in the shards so far."""

    net: Network
    plan: SweepPlan
    task: LotTask
    lot: LotInput
    pixels: LotPixels
    workers: int
    sweeps: LayerSweeps = field(init=False)
    images: LotImages = field(default_factory=LotImages)
    labels: dict[str, int] = field(default_factory=dict)
    processed: int = 0

    def __post_init__(self) -> None:
        self.sweeps = empty_sweeps(self.plan, self.task, self.net)
        self.digests = {file.image: file.digest for file in self.lot.first_files}

    @property
    def is_last(self) -> bool:
        return self.task.stage == self.plan.stages[-1]

    @property
    def is_first(self) -> bool:
        return self.task.stage == self.plan.stages[0]

    def sweep_shard(self, shard: Shard, image_list: ImageList) -> Iterator[int]:
        """Adds the images of a shard; yields how many images of the lot have been read."""
        first, count = shard.number << SHARD_BITS, len(image_list.keys)
        labels = self._number_classes(image_list)
        if self.is_first:
            self.images.add_list(first, image_list.keys, labels)
        scan_pass = ScanPass(
            self.task.stage,
            self.net,
            self.plan.layers,
            replace(image_list, labels=labels),
            self._indices(first, count),
            top=self.sweeps.sweep.by_max.score.shape[1],
            per_class=self.sweeps.sweep.class_rankings.count,
            ranked_labels=self._ranked_labels(),
            batch_size=self.plan.batch_size,
            with_classes=self.plan.with_classes and self.is_first,
            track_positions=self.is_last,
            first_number=first,
        )
        with closing(run_batches(scan_pass, self.sweeps, workers=self.workers)) as batches:
            for batch, self.sweeps in batches:
                ranked = scan_pass.ranked_labels_of(batch)
                self._add_batch(batch, range(first, first + count), image_list, ranked)
                yield self.processed
        if all(first + index in self.images.errors for index in scan_pass.indices):
            refuse_missing_files(image_list, scan_pass.indices)

    def _number_classes(self, image_list: ImageList) -> list[int]:
        """The labels of a list as indices of the lot's classes."""
        numbers = [
            self.labels.setdefault(name, len(self.labels)) for name in image_list.class_names
        ]
        self.images.class_names[:] = self.labels
        return [numbers[label] if label >= 0 else -1 for label in image_list.labels]

    def _ranked_labels(self) -> frozenset[int]:
        """The classes of the lot so far whose images are ranked."""
        return self.plan.class_rankings.labels(self.images.class_names)

    def _indices(self, first: int, count: int) -> Sequence[int]:
        """All images of a shard, or the candidates among them."""
        if self.lot.candidates is None:
            return range(count)
        start, stop = np.searchsorted(self.lot.candidates, [first, first + count])
        indices: list[int] = (self.lot.candidates[start:stop] - first).tolist()
        return indices

    def _add_batch(
        self, batch: LoadedBatch, numbers: range, image_list: ImageList, ranked: set[int]
    ) -> None:
        self.images.errors.update((numbers[index], reason) for index, reason in batch.failures)
        files = [file._replace(image=numbers[file.image]) for file in batch.files]
        for file in files:
            if self.digests.get(file.image, file.digest) != file.digest:
                key = image_list.keys[file.image - numbers.start]
                raise UnsweptShardError(
                    f"{key!r} has changed since the first pass over it; restore it, or plan to "
                    "another folder"
                )
        if self.is_first:
            self.images.files.extend(files)
        if self.is_last:
            self.pixels.add(batch, self.sweeps.sweep, numbers, labels=ranked)
        self.processed += len(batch.indices) + len(batch.failures)


def empty_sweeps(plan: SweepPlan, task: LotTask, net: Network) -> LayerSweeps:
    """The sweeps of a lot before its first image. A first pass of two keeps candidates."""
    is_last = task.stage == plan.stages[-1]
    top, per_class = plan.top, plan.per_class
    if not is_last:
        top, per_class = candidate_count(top), candidate_count(per_class)
    return LayerSweeps.empty(
        net,
        plan.layers,
        top=top,
        per_class=per_class,
        track_positions=is_last,
    )
