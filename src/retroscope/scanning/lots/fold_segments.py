"""Segments folded into one sweep, in the order of the lots; at most two are in memory."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.scanning.lots.plan_folder import SUFFIXES, LotTask, PlanFolder
from retroscope.scanning.lots.segment import SHARD_BITS, LotStage, SegmentFile
from retroscope.scanning.lots.sweep_plan import SweepPlan
from retroscope.scanning.lots.whole_files import PlanError, write_whole
from retroscope.scanning.sources.class_rules import sort_classes
from retroscope.scanning.statistics.sweep import Array, Sweep
from retroscope.scanning.winners import ranked_images


@dataclass(frozen=True)
class ImageNumbers:
    """The numbers 0, 1, 2, ... of images that lots number by shard and position.

    `starts` are the numbers of the first images of the shards, -1 for a shard that is left out.
    """

    starts: npt.NDArray[np.int64]

    @classmethod
    def of_counts(cls, counts: Mapping[int, int]) -> "ImageNumbers":
        """By how many images there are in each shard."""
        starts = np.full(max(counts, default=-1) + 1, -1, np.int64)
        total = 0
        for shard in sorted(counts):
            starts[shard] = total
            total += counts[shard]
        return cls(starts)

    def renumber(self, images: Array | Sequence[int]) -> Array:
        """The new numbers of images; what is below zero is no image and stays."""
        numbers = np.asarray(images, np.int64)
        shards, positions = numbers >> SHARD_BITS, numbers & (2**SHARD_BITS - 1)
        renumbered: Array = np.where(numbers < 0, numbers, self.starts[shards] + positions)
        return renumbered

    def restore(self, images: Sequence[int]) -> dict[int, int]:
        """These images by their number in a lot."""
        shards = np.flatnonzero(self.starts >= 0)
        starts = self.starts[shards]
        numbers = np.asarray(images, np.int64)
        place = np.searchsorted(starts, numbers, side="right") - 1
        in_lots = (shards[place] << SHARD_BITS) + numbers - starts[place]
        return dict(zip(in_lots.tolist(), images, strict=True))

    def renumber_files(self, files: Sequence[ImageFileRow]) -> list[ImageFileRow]:
        """What is recorded of files, with the new numbers."""
        images = self.renumber([file.image for file in files]).tolist()
        return [file._replace(image=image) for file, image in zip(files, images, strict=True)]


@dataclass(frozen=True, eq=False)
class FoldedLots:
    """What several lots have found together.

    `labels` counts the images of each class, in the order of `class_names`.
    """

    sweep: Sweep
    numbers: ImageNumbers
    class_names: Sequence[str]
    labels: Sequence[int]
    machines: Sequence[str]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The images that a first pass has found, by number in order, and the lots that it has seen."""

    lots: Sequence[int]
    images: Array


def open_segment(folder: PlanFolder, plan: SweepPlan, task: LotTask) -> SegmentFile:
    """A segment. Raises PlanError if it is damaged, or of another plan."""
    path = folder.segment(task)
    segment = SegmentFile(path)
    facts = segment.facts
    if (facts.plan, facts.lot, facts.stage) != (plan.id, *task):
        segment.close()
        raise PlanError(
            f"the segment {str(path)!r} is of another plan; delete the segments, or plan to "
            "another folder"
        )
    return segment


def fold_lots(
    folder: PlanFolder, plan: SweepPlan, lots: Sequence[int], *, report: Callable[[], None]
) -> FoldedLots:
    """The lots of these numbers in order, in all stages; `report` is called after each segment."""
    folds = {stage: _Fold() for stage in plan.stages}
    for stage, fold in folds.items():
        for lot in lots:
            with open_segment(folder, plan, LotTask(lot, stage)) as segment:
                fold.add(segment)
            report()
    first, last = folds[plan.stages[0]], folds[plan.stages[-1]]
    sweep = first.sweep_with(first.class_names)
    if last is not first:
        sweep = sweep.with_exact_rankings(last.sweep_with(first.class_names))
    return first.finish(sweep)


class _Fold:
    """The segments so far."""

    def __init__(self) -> None:
        self._sweep: Sweep | None = None
        self._classes: dict[str, int] = {}
        self._class_images: Counter[int] = Counter()
        self._shard_images: Counter[int] = Counter()
        self._machines: dict[str, None] = {}

    @property
    def sweep(self) -> Sweep:
        assert self._sweep is not None, "no segment"
        return self._sweep

    def add(self, segment: SegmentFile) -> None:
        """Adds what a segment says of the channels, and counts its images."""
        numbers = self._number_classes(segment.class_names)
        sweep = segment.read_channels()
        merged = sweep if self._sweep is None else self._sweep.merge(sweep)
        for sums in segment.read_class_sums():
            class_sums = merged.class_sums.merge(sums.renumber(numbers))
            merged = replace(merged, class_sums=class_sums)
        for rankings in segment.read_class_rankings():
            class_rankings = merged.class_rankings.merge(rankings.renumber_classes(numbers))
            merged = replace(merged, class_rankings=class_rankings)
        self._sweep = merged
        self._shard_images.update(segment.count_shard_images())
        for label, count in segment.count_class_images().items():
            self._class_images[numbers[label]] += count
        self._machines[segment.facts.machine] = None

    def _number_classes(self, names: Sequence[str]) -> dict[int, int]:
        """The numbers of a segment's classes among those of all segments so far."""
        classes = self._classes
        return {label: classes.setdefault(name, len(classes)) for label, name in enumerate(names)}

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of an atlas."""
        return sort_classes(list(self._classes))

    def sweep_with(self, class_names: Sequence[str]) -> Sweep:
        """The sweep with classes that are numbered like these."""
        labels = {self._classes[name]: label for label, name in enumerate(class_names)}
        return replace(
            self.sweep,
            class_sums=self.sweep.class_sums.renumber(labels),
            class_rankings=self.sweep.class_rankings.renumber_classes(labels),
        )

    def finish(self, sweep: Sweep) -> FoldedLots:
        """The sweep, whose classes are those of `class_names`, with the numbers of an atlas."""
        numbers, names = ImageNumbers.of_counts(self._shard_images), self.class_names
        return FoldedLots(
            sweep.renumber(numbers.renumber),
            numbers,
            names,
            [self._class_images[self._classes[name]] for name in names],
            list(self._machines),
        )


def swept_lots(folder: PlanFolder, plan: SweepPlan) -> list[int]:
    """The lots that the first pass has finished."""
    return [task.lot for task in plan.tasks(LotStage.SCAN) if folder.is_finished(task)]


def find_candidates(folder: PlanFolder, plan: SweepPlan) -> Candidates:
    """The images that any channel may rank, after a first pass in bfloat16.

    They are written to the folder: whoever finds them finds the same.
    """
    lots = swept_lots(folder, plan)
    if folder.candidates.exists():
        candidates = _read_candidates(folder)
        if list(candidates.lots) != lots:
            raise PlanError(
                f"{str(folder.candidates)!r} was found before other lots were swept; delete it and "
                f"the files lots/*.{SUFFIXES[LotStage.SCORE_AGAIN]}, and sweep again"
            )
        return candidates
    fold = _Fold()
    for lot in lots:
        with open_segment(folder, plan, LotTask(lot)) as segment:
            fold.add(segment)
    images = np.array(sorted(ranked_images(fold.sweep)), np.int64)
    with write_whole(folder.candidates) as file:
        np.savez(file, lots=np.array(lots), images=images)
    return _read_candidates(folder)


def _read_candidates(folder: PlanFolder) -> Candidates:
    try:
        with np.load(folder.candidates, allow_pickle=False) as arrays:
            return Candidates(arrays["lots"].tolist(), arrays["images"])
    except (OSError, BadZipFile, KeyError, ValueError) as error:
        raise PlanError(
            f"{str(folder.candidates)!r} is damaged ({error}); delete it and sweep again"
        ) from error
