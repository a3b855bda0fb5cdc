"""The lots of a plan, swept in this process: all of them, or the share of one of several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from retroscope.argument_types import check_arguments
from retroscope.errors import RetroscopeError
from retroscope.progress import ProgressListener, ProgressReporter, ignore_progress
from retroscope.scanning.lots.lot_sweeper import LotSweeper
from retroscope.scanning.lots.plan_folder import LotTask, PlanFolder
from retroscope.scanning.lots.segment import LotStage
from retroscope.scanning.lots.sweep_lot import UnsweptShardError
from retroscope.scanning.lots.sweep_plan import SweepPlan, open_plan
from retroscope.scanning.plan import refuse_less_than_one

WHOLE = (1, 1)
"""All lots."""


@dataclass
class SweepSummary:
    """What a sweep has done, and what is missing.

    `failures` are the lots that could not be swept, and why. `missing` are all lots of the plan
    that no process has finished, but for those that are skipped, with the reason; `is_waiting` if
    candidates are to be scored once all others are there.
    """

    lots: int
    swept: int = 0
    images: int = 0
    unreadable: int = 0
    failures: dict[LotTask, str] = field(default_factory=dict)
    missing: Sequence[LotTask] = ()
    skipped: dict[int, str] = field(default_factory=dict)
    is_waiting: bool = False


@check_arguments
def sweep(
    plan_folder: str | Path,
    *,
    part: tuple[int, int] = WHOLE,
    workers: int | None = None,
    progress: ProgressListener = ignore_progress,
) -> SweepSummary:
    """Sweeps the lots of a plan that have not been swept; of n parts, the k-th is (k, n).

    Several processes, on any machines that see the folder, sweep a part each, at any time and in
    any order. A lot that cannot be swept is reported at the end; the others go on. If it is
    interrupted, the same call resumes it.
    """
    folder = PlanFolder(Path(plan_folder))
    plan = open_plan(folder)
    numbers = lots_of_part(plan, part)
    refuse_less_than_one(workers=workers)
    summary = SweepSummary(len(plan.lots))
    sweepers: list[LotSweeper] = []

    def open_once() -> LotSweeper:
        if not sweepers:
            sweepers.append(LotSweeper(folder, workers=workers))
        return sweepers[0]

    for stage in plan.stages:
        if stage != LotStage.SCAN and missing_tasks(folder, plan, LotStage.SCAN):
            summary.is_waiting = True
            break
        tasks = [LotTask(lot, stage) for lot in numbers]
        _sweep_tasks(
            folder, plan, tasks, open_sweeper=open_once, summary=summary, progress=progress
        )
    reasons = ((lot, folder.skip_reason(lot)) for lot in range(len(plan.lots)))
    summary.skipped = {lot: reason for lot, reason in reasons if reason is not None}
    summary.missing = [task for stage in plan.stages for task in missing_tasks(folder, plan, stage)]
    return summary


def lots_of_part(plan: SweepPlan, part: tuple[int, int]) -> range:
    """The lots of part (k, n): every n-th, from the k-th on."""
    number, parts = part
    if not 1 <= number <= parts:
        raise RetroscopeError(
            f"there is no part {number} of {parts}; parts are numbered from 1 to {max(parts, 1)}",
            parameter="part",
        )
    return range(number - 1, len(plan.lots), parts)


def missing_tasks(folder: PlanFolder, plan: SweepPlan, stage: LotStage) -> list[LotTask]:
    """The lots that have no segment of this stage, but for those that are skipped."""
    return [
        task
        for task in plan.tasks(stage)
        if not folder.is_finished(task) and folder.skip_reason(task.lot) is None
    ]


def _sweep_tasks(
    folder: PlanFolder,
    plan: SweepPlan,
    tasks: Sequence[LotTask],
    *,
    open_sweeper: Callable[[], LotSweeper],
    summary: SweepSummary,
    progress: ProgressListener,
) -> None:
    """Sweeps those of the lots that are missing when their turn comes."""
    if not tasks:
        return
    counts = [plan.lot_sizes[task.lot] for task in tasks]
    missing = set(missing_tasks(folder, plan, tasks[0].stage))
    completed = sum(n for n, task in zip(counts, tasks, strict=True) if task not in missing)
    if not missing.intersection(tasks):
        return
    reporter = ProgressReporter(tasks[0].stage, sum(counts), progress, completed=completed)
    for task, count in zip(tasks, counts, strict=True):
        if task not in missing:
            continue
        if not folder.is_finished(task):

            def report(images: int, *, before: int = completed, count: int = count) -> None:
                if plan.images is not None:
                    reporter.update(before + min(images, count))

            _sweep_task(open_sweeper(), task, report=report, summary=summary)
        completed += count
        reporter.update(completed)


def _sweep_task(
    sweeper: LotSweeper,
    task: LotTask,
    *,
    report: Callable[[int], None],
    summary: SweepSummary,
) -> None:
    try:
        outcome = sweeper.sweep(task, report)
    except UnsweptShardError as error:
        summary.failures[task] = str(error)
        return
    summary.swept += 1
    if task.stage == LotStage.SCAN:
        summary.images += outcome.images
        summary.unreadable += outcome.unreadable
