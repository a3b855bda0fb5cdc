"""The first pass on workers: lots, and what becomes of those that cannot be swept."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from retroscope.errors import RetroscopeError
from retroscope.progress import ProgressListener, ProgressReporter
from retroscope.scanning.lots.fold_segments import find_candidates
from retroscope.scanning.lots.lot_sweeper import LotSweeper, LotWork
from retroscope.scanning.lots.plan_folder import LotTask, PlanFolder
from retroscope.scanning.lots.segment import LotStage
from retroscope.scanning.lots.sweep_part import missing_tasks
from retroscope.scanning.lots.sweep_plan import SweepPlan
from retroscope.scanning.runners.dispatch import run
from retroscope.scanning.runners.work import Deadly, Failed, Limits, RunStatus
from retroscope.scanning.runners.workers import Runner


class SweepError(RetroscopeError):
    """Lots that could not be swept, after all others have been.

    `reasons` are a line for each.
    """

    def __init__(self, message: str, reasons: Sequence[str]) -> None:
        super().__init__(message)
        self.reasons = reasons


@dataclass(frozen=True)
class ShardTask:
    """A shard of a lot, swept alone to see whether that is what ends workers."""

    task: LotTask
    shard: int


@dataclass(frozen=True)
class ShardWork:
    """Sweeps shards alone; what they give is thrown away, since segments are of lots."""

    folder: str
    workers: int | None = None

    def open(self) -> Callable[[ShardTask], None]:
        """Opens the network; returns the function that tries a shard."""
        sweeper = LotSweeper(PlanFolder(Path(self.folder)), workers=self.workers)
        return lambda task: sweeper.try_shard(task.task, task.shard)


@dataclass(eq=False)
class FirstPass:
    """The sweeps of a plan on the workers of a runner; `workers` are their reading threads."""

    folder: PlanFolder
    plan: SweepPlan
    runner: Runner
    workers: int
    progress: ProgressListener
    limits: Limits = field(default_factory=Limits)

    def run(self) -> None:
        """Sweeps what is missing. Raises SweepError at the end if some of it cannot be swept."""
        for stage in self.plan.stages:
            is_first = stage == self.plan.stages[0]
            if not is_first:
                find_candidates(self.folder, self.plan)
            reasons, deadly = self._sweep(stage)
            if deadly and not is_first:  # their images are counted, and are candidates
                self.folder.forget_lots(list(deadly))
            for lot, shards in deadly.items():
                self._skip_shards(lot, shards)
                reasons += self._sweep_again(LotTask(lot)) if is_first else []
            if reasons:
                raise self._describe(reasons)
            if deadly and not is_first:
                self.run()

    def _sweep(self, stage: LotStage) -> tuple[list[str], dict[int, dict[int, str]]]:
        """Sweeps what a stage lacks; why lots cannot be swept, and shards that end workers."""
        missing = missing_tasks(self.folder, self.plan, stage)
        if not missing:
            return [], {}
        reasons, deadly = list[str](), list[Deadly[LotTask]]()
        outcomes = _StageProgress(self.plan, stage, missing, self.progress)
        work = LotWork(str(self.folder.path), self.workers)
        with closing(
            run(
                work,
                missing,
                runner=self.runner,
                limits=self.limits,
                listener=outcomes.show_status,
            )
        ) as swept:
            for outcome in swept:
                match outcome:
                    case Deadly():
                        deadly.append(outcome)
                        continue
                    case Failed():
                        reasons.append(f"lot {outcome.task.lot}: {outcome.message}")
                outcomes.add(outcome.task)
        shards_by_lot: dict[int, dict[int, str]] = {}
        for lost in deadly:
            lot, shards = lost.task.lot, self._find_deadly_shards(lost.task)
            if shards:
                shards_by_lot[lot] = shards
            else:
                reasons.append(
                    f"lot {lot}: its workers died ({lost.deaths[-1]}), but not of a single shard"
                )
            outcomes.add(lost.task)
        return reasons, shards_by_lot

    def _find_deadly_shards(self, task: LotTask) -> dict[int, str]:
        """The shards of a lot that end workers when they are swept alone, and how."""
        skipped = self.folder.skipped_shards(task.lot)
        shards = [
            shard.number
            for shard in self.folder.read_shards(task.lot)
            if shard.number not in skipped
        ]
        trials = run(
            ShardWork(str(self.folder.path), self.workers),
            [ShardTask(task, shard) for shard in shards],
            runner=self.runner,
            limits=self.limits,
        )
        with closing(trials):
            return {
                outcome.task.shard: f"its workers died: {outcome.deaths[-1]}"
                for outcome in trials
                if isinstance(outcome, Deadly)
            }

    def _skip_shards(self, lot: int, deadly: dict[int, str]) -> None:
        """Leaves shards of a lot out, and the lot if no other is left."""
        skipped = self.folder.skipped_shards(lot) | deadly
        if len(skipped) == len(self.plan.lots[lot]):
            self.folder.skip_lot(lot, next(iter(deadly.values())))
        else:
            self.folder.skip_shards(lot, skipped)

    def _sweep_again(self, task: LotTask) -> list[str]:
        if self.folder.skip_reason(task.lot) is not None:
            return []
        work = LotWork(str(self.folder.path), self.workers)
        with closing(run(work, [task], runner=self.runner, limits=self.limits)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome, Deadly):
                    return [f"lot {task.lot}: its workers died ({outcome.deaths[-1]})"]
                if isinstance(outcome, Failed):
                    return [f"lot {task.lot}: {outcome.message}"]
        return []

    def _describe(self, reasons: Sequence[str]) -> SweepError:
        return SweepError(
            f"{len(reasons)} of {len(self.plan.lots)} lots could not be swept; what was swept is "
            "saved; run the same again to go on",
            reasons,
        )


class _StageProgress:
    """How many images of the lots of a stage are swept, or how many shards."""

    def __init__(
        self,
        plan: SweepPlan,
        stage: LotStage,
        missing: Sequence[LotTask],
        listener: ProgressListener,
    ) -> None:
        self._sizes, self._lots = plan.lot_sizes, len(plan.lots)
        self._is_in_shards = plan.images is None
        left = sum(self._sizes[task.lot] for task in missing)
        self._completed = sum(self._sizes) - left
        self._lots_done = self._lots - len(missing)
        self._status = RunStatus(0, 0, 0)
        self._reporter = ProgressReporter(
            stage, sum(self._sizes), listener, completed=self._completed
        )

    def add(self, task: LotTask) -> None:
        """A lot has its outcome."""
        self._completed += self._sizes[task.lot]
        self._lots_done += 1
        self._update()

    def show_status(self, status: RunStatus) -> None:
        """Workers have come or gone."""
        if status != self._status:
            self._status = status
            self._update()

    def _update(self) -> None:
        workers = self._status.workers
        counts = [f"{self._lots_done}/{self._lots} lots"]
        counts += [f"{workers} {'worker' if workers == 1 else 'workers'}"]
        if self._is_in_shards:
            counts.insert(0, f"{self._completed}/{sum(self._sizes)} shards")
        self._reporter.update(self._completed, note=", ".join(counts))
