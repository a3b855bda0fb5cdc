"""The segments of a plan, merged into the atlas that one scan of all images would have made."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from retroscope.argument_types import check_arguments
from retroscope.atlas.queries.table_rows import StoredImageRow
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.schema import Json, ScanState
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import ImageError, RetroscopeError
from retroscope.progress import ProgressListener, ProgressReporter, ignore_progress
from retroscope.scanning.lots.fold_segments import (
    FoldedLots,
    ImageNumbers,
    find_candidates,
    fold_lots,
    open_segment,
    swept_lots,
)
from retroscope.scanning.lots.plan_folder import LotTask, PlanFolder
from retroscope.scanning.lots.sweep_plan import SweepPlan, open_plan
from retroscope.scanning.lots.whole_files import PlanError, delete_unfinished
from retroscope.scanning.one_pass import LayerSweeps, channel_ranges
from retroscope.scanning.persist import write_sweeps
from retroscope.scanning.sources import Shard
from retroscope.scanning.sources.image_list import ListFingerprint
from retroscope.scanning.sources.left_out import LeftOutShards


@check_arguments
def merge_lots(
    plan_folder: str | Path,
    *,
    to: str | Path,
    allow_missing: bool = False,
    restart: bool = False,
    progress: ProgressListener = ignore_progress,
) -> Atlas:
    """Merges what the sweeps of a plan have found into an atlas; it needs no images.

    The atlas is that of `scan` over the same images, without projections, which `illustrate` adds.
    With `allow_missing`, lots that have not been swept are left out, and the atlas says so.
    """
    folder = PlanFolder(Path(plan_folder))
    plan = open_plan(folder)
    lots = _mergeable_lots(folder, plan, allow_missing=allow_missing)
    with _open_target(Path(to), plan, restart=restart) as writer:
        if writer is not None:
            _Merger(folder, plan, lots, writer).run(progress)
            delete_unfinished(folder.lots)
    return open_atlas(to)


def _mergeable_lots(folder: PlanFolder, plan: SweepPlan, *, allow_missing: bool) -> list[int]:
    """The lots that are merged. Raises PlanError if others are missing, unless that is allowed."""
    swept = swept_lots(folder, plan)
    missing = sorted(set(range(len(plan.lots))).difference(swept))
    name = str(folder.path)
    if missing and not allow_missing:
        raise PlanError(
            f"{len(missing)} of {len(plan.lots)} lots of {name!r} are missing, the first is "
            f"{missing[0]}{_skip_note(folder, missing)}; 'retroscope sweep {name}' sweeps them, "
            "and allow_missing leaves them out",
            parameter="allow_missing",
        )
    if not swept:
        raise PlanError(f"no lot of {name!r} has been swept; 'retroscope sweep {name}' does it")
    for stage in plan.stages[1:]:
        later = [lot for lot in swept if not folder.is_finished(LotTask(lot, stage))]
        if later or list(find_candidates(folder, plan).lots) != swept:
            raise PlanError(
                f"the candidates of {len(later)} of {len(swept)} lots of {name!r} have not been "
                f"scored in full precision, the first are those of lot {later[0]}; 'retroscope "
                f"sweep {name}' does it"
            )
    return swept


def _skip_note(folder: PlanFolder, missing: Sequence[int]) -> str:
    reason = folder.skip_reason(missing[0])
    return f", which is skipped ({reason})" if reason else ""


@contextmanager
def _open_target(path: Path, plan: SweepPlan, *, restart: bool) -> Iterator[AtlasWriter | None]:
    """The atlas to write, emptied if an earlier merge was interrupted; None if it is complete."""
    with AtlasWriter(path, restart=restart) as writer:
        meta = writer.meta
        if "state" not in meta:
            yield writer
            return
        is_merge, is_unfinished = "plan" in meta, meta.get("state") == _MERGING
        if not is_merge or not (is_unfinished or meta["plan"] == plan.id):
            raise RetroscopeError(
                f"{str(path)!r} holds {_describe_scan(meta)}; merge to another file, or start over "
                "with restart",
                parameter="restart",
            )
        if not is_unfinished:
            yield None
            return
    with AtlasWriter(path, restart=True) as writer:
        yield writer


_MERGING = ScanState.SCANNING


def _describe_scan(meta: Mapping[str, Json]) -> str:
    if ScanState(str(meta["state"])).is_finished:
        return "another scan"
    return (
        f"an unfinished scan of {meta.get('model')} by one process ({meta.get('next')} of "
        f"{meta.get('images')} images), which the same scan resumes"
    )


@dataclass(frozen=True, eq=False)
class _Merger:
    """A merge into an atlas that is empty."""

    folder: PlanFolder
    plan: SweepPlan
    lots: Sequence[int]
    writer: AtlasWriter

    def run(self, progress: ProgressListener) -> None:
        """Folds the segments, and writes all tables."""
        total = (len(self.plan.stages) + 2) * len(self.lots)
        reporter = ProgressReporter("merge", total, progress)
        steps = iter(range(1, total + 1))

        def report() -> None:
            reporter.update(next(steps))

        folded = fold_lots(self.folder, self.plan, self.lots, report=report)
        with self.writer.transaction():
            self.writer.put_meta({"plan": self.plan.id, "state": _MERGING})
            self.writer.put_layers(self.plan.layers)
            self.writer.put_graph(self.plan.graph)
            self.writer.put_labels(folded.class_names, folded.labels)
        _warn_of_missing_classes(self.plan, folded.class_names)
        images = self._write_images(folded, report)
        self._write_results(folded)
        self._write_pixels(folded, report)
        with self.writer.transaction():
            self.writer.put_meta({**self._facts(folded), **images, "state": ScanState.SCANNED})
        self.writer.compact()

    def _write_images(self, folded: FoldedLots, report: Callable[[], None]) -> dict[str, Json]:
        """The images in order, and what became of each; returns the facts about their list."""
        numbers = {name: label for label, name in enumerate(folded.class_names)}
        fingerprint, count, readable, errors = ListFingerprint(), 0, 0, dict[int, str]()
        for lot in self.lots:
            with open_segment(self.folder, self.plan, LotTask(lot)) as segment:
                images = segment.read_images()
            own = [numbers[name] for name in images.class_names]
            labels = [own[label] if label >= 0 else -1 for label in images.labels]
            fingerprint.add(images.keys, labels, folded.class_names)
            errors = self._read_errors(lot, folded.numbers)
            with self.writer.transaction():
                self.writer.put_images(images.keys, labels, first=count)
                self._write_statuses(range(count, count + len(images.keys)), errors)
                self.writer.put_image_files(folded.numbers.renumber_files(images.files))
            count, readable = (
                count + len(images.keys),
                readable + len(images.keys) - len(images.errors),
            )
            report()
        if readable == 0:
            self.writer.discard()
            raise ImageError(f"none of the images can be read; {next(iter(errors.values()), '')}")
        self._add_others(fingerprint)
        return {"images": count, "image_list": fingerprint.digest, "readable": readable}

    def _add_others(self, fingerprint: ListFingerprint) -> None:
        """Adds what comes with each image to the digest of the list."""
        names = dict[str, list[str]]()
        for lot in self.lots if self.plan.inputs else ():
            skipped = self.folder.skipped_shards(lot)
            for shard in self.folder.read_shards(lot):
                for name, other in shard.others.items() if shard.number not in skipped else ():
                    names.setdefault(name, []).extend(other.names)
        fingerprint.add_others(names)

    def _read_errors(self, lot: int, numbers: ImageNumbers) -> dict[int, str]:
        """Why images of a lot could not be read, in either stage."""
        errors: dict[int, str] = {}
        for stage in self.plan.stages:
            with open_segment(self.folder, self.plan, LotTask(lot, stage)) as segment:
                errors |= segment.errors
        return dict(zip(numbers.renumber(list(errors)).tolist(), errors.values(), strict=True))

    def _write_statuses(self, images: range, errors: Mapping[int, str]) -> None:
        self.writer.mark_read(image for image in images if image not in errors)
        for image, reason in errors.items():
            self.writer.mark_unreadable(image, reason)

    def _write_results(self, folded: FoldedLots) -> None:
        plan = self.plan
        sweeps = LayerSweeps(folded.sweep, channel_ranges(plan.layers))
        class_names = folded.class_names if plan.with_classes else ()
        with self.writer.transaction():
            write_sweeps(
                self.writer,
                plan.layers,
                sweeps,
                class_names=class_names,
                ranked_labels=plan.class_rankings.labels(class_names),
            )

    def _write_pixels(self, folded: FoldedLots, report: Callable[[], None]) -> None:
        """The images among the hits, each from the segment of its lot."""
        numbers = folded.numbers.restore(self.writer.images_without_pixels())
        for lot in self.lots:
            task = LotTask(lot, self.plan.stages[-1])
            with (
                open_segment(self.folder, self.plan, task) as segment,
                self.writer.transaction(),
            ):
                rows = segment.read_pixels(numbers)
                self.writer.put_stored_images(
                    StoredImageRow(numbers[row.image], row.blob) for row in rows
                )
            report()

    def _facts(self, folded: FoldedLots) -> dict[str, Json]:
        """What `scan` records, and what only a scan in lots has to say."""
        plan = self.plan
        facts: dict[str, Json] = {
            "model": plan.model,
            "weights": plan.weights,
            "preprocessing": dict(plan.preprocessing),
            **({} if plan.inputs is None else {"inputs": dict(plan.inputs)}),
            "layers": [layer.name for layer in plan.layers],
            "top": plan.top,
            "precision": plan.precision,
            "with_classes": plan.with_classes and bool(folded.class_names),
            **plan.class_rankings.with_labels(folded.class_names).facts,
            "version": version("retroscope"),
            "batch_size": plan.batch_size,
            **plan.source,
        }
        if len(folded.machines) > 1:
            facts["machines"] = list(folded.machines)
        left_out = self._describe_left_out()
        if left_out:
            shards = frozenset(left_out_shards(self.folder, plan, self.lots))
            facts |= {"left_out": left_out, **LeftOutShards(plan.lot_starts[-1], shards).facts}
        return facts

    def _describe_left_out(self) -> list[Json]:
        """The shards of the lots that are missing, and those that lots leave out; and why."""
        left_out: list[Json] = []
        for lot in range(len(self.plan.lots)):
            skipped = self.folder.skipped_shards(lot)
            if lot in self.lots and not skipped:
                continue
            shards = {shard.number: describe_shard(shard) for shard in self.folder.read_shards(lot)}
            reasons = (
                skipped
                if lot in self.lots
                else dict.fromkeys(shards, self.folder.skip_reason(lot) or "not swept")
            )
            left_out.append(
                {
                    "lot": lot,
                    "shards": [shards[number] for number in reasons],
                    "reason": next(iter(reasons.values())),
                }
            )
        return left_out


def _warn_of_missing_classes(plan: SweepPlan, class_names: Sequence[str]) -> None:
    """Says which classes cannot be ranked, since no image is of them."""
    missing = plan.class_rankings.missing_names(class_names)
    if plan.per_class and (missing or not class_names):
        classes = f"class {missing[0]!r}" if missing else "any class"
        warnings.warn(
            f"no image is of {classes}, so there are no rankings of it; the atlas is complete "
            "otherwise",
            stacklevel=2,
        )


def left_out_shards(folder: PlanFolder, plan: SweepPlan, lots: Sequence[int]) -> set[int]:
    """The shards that an atlas of these lots leaves out."""
    left_out: set[int] = set()
    for lot, shards in enumerate(plan.lots):
        left_out.update(folder.skipped_shards(lot) if lot in lots else shards)
    return left_out


def describe_shard(shard: Shard) -> str:
    """A shard in words: its archive, or its first and last image."""
    if shard.paths:
        return f"{shard.paths[0]} to {shard.paths[-1]}"
    part = "" if shard.stop is None else f" (images {shard.start} to {shard.stop - 1})"
    return f"{shard.name or shard.location}{part}"
