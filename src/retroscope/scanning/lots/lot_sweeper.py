"""What a worker does with a plan: it opens the network once, and sweeps lot after lot."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from retroscope.network import Network
from retroscope.scanning.lots.fold_segments import find_candidates, open_segment
from retroscope.scanning.lots.machine_kind import describe_machine
from retroscope.scanning.lots.plan_folder import LotTask, PlanFolder
from retroscope.scanning.lots.segment import LotStage, write_segment
from retroscope.scanning.lots.sweep_lot import LotInput, ignore_count, sweep_lot
from retroscope.scanning.lots.sweep_plan import SweepPlan, open_network, open_plan, use_threads
from retroscope.scanning.precision import refuse_slow_precision, to_bfloat16


@dataclass(frozen=True)
class LotReport:
    """What became of a lot: how many images were read, and how many of them could not be."""

    images: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class LotWork:
    """Sweeping the lots of a plan, as a runner does it: a task is one pass over a lot."""

    folder: str
    workers: int | None = None

    def open(self) -> Callable[[LotTask], LotReport]:
        """Opens the network; returns the function that sweeps a lot and writes its segment."""
        return LotSweeper(PlanFolder(Path(self.folder)), workers=self.workers).sweep


class LotSweeper:
    """The plan and the network of a worker."""

    def __init__(self, folder: PlanFolder, *, workers: int | None = None) -> None:
        self.folder, self._workers = folder, workers
        self.plan = open_plan(folder)
        with use_threads(self.plan.threads):
            self._net = open_network(folder, self.plan)
        refuse_slow_precision(self.plan.precision, self._net.device)
        self._copy: Network | None = None
        _warn_of_machine(self.plan, self._net)

    def sweep(self, task: LotTask, report: Callable[[int], None] = ignore_count) -> LotReport:
        """Sweeps a lot and writes its segment, unless that is there."""
        task = LotTask(*task)
        if self.folder.is_finished(task):
            return LotReport()
        net, lot = self._network(task.stage), self._input(task)
        segment = sweep_lot(net, self.plan, task, lot=lot, workers=self._workers, report=report)
        write_segment(self.folder.segment(task), segment)
        return LotReport(len(segment.images.numbers), len(segment.images.errors))

    def try_shard(self, task: LotTask, shard: int) -> None:
        """Sweeps one shard of a lot, and writes nothing."""
        lot = self._input(task)
        lot = replace(lot, shards=[own for own in lot.shards if own.number == shard])
        sweep_lot(self._network(task.stage), self.plan, task, lot=lot, workers=self._workers)

    def _network(self, stage: LotStage) -> Network:
        """The network in the precision of a stage: all but the last run in bfloat16."""
        if stage == self.plan.stages[-1]:
            return self._net
        if self._copy is None:
            self._copy = to_bfloat16(self._net)
        return self._copy

    def _input(self, task: LotTask) -> LotInput:
        skipped = self.folder.skipped_shards(task.lot)
        shards = [
            shard for shard in self.folder.read_shards(task.lot) if shard.number not in skipped
        ]
        if task.stage == self.plan.stages[0]:
            return LotInput(shards)
        with open_segment(self.folder, self.plan, LotTask(task.lot)) as segment:
            files = segment.read_images().files
        return LotInput(shards, find_candidates(self.folder, self.plan).images, files)


def _warn_of_machine(plan: SweepPlan, net: Network) -> None:
    machine = describe_machine(net.device)
    if machine != plan.machine:
        warnings.warn(
            f"this machine ({machine}) is not of the kind that the plan was made on "
            f"({plan.machine}); its numbers may differ in the last digits, and rankings where two "
            "images are as good as equal",
            stacklevel=4,
        )
