"""A scan on workers, as one call: plan, sweeps, merge and projections."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from time import perf_counter

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.schema import Json, ScanState
from retroscope.atlas.write_lock import WriteLock
from retroscope.atlas.writer import AtlasWriter, extend_atlas
from retroscope.errors import RetroscopeError
from retroscope.network import Network
from retroscope.progress import ProgressListener
from retroscope.scanning.class_ranking_request import ClassRankingRequest
from retroscope.scanning.distributed.first_pass import FirstPass
from retroscope.scanning.distributed.projection_workers import projection_workers
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.illustrate import (
    Ranks,
    check_scan_and_images,
    project_hits,
    time_for_projections,
)
from retroscope.scanning.layer_choice import scan_layers
from retroscope.scanning.lots.make_plan import make_plan
from retroscope.scanning.lots.merge_segments import merge_lots
from retroscope.scanning.lots.plan_folder import PlanFolder, plan_beside
from retroscope.scanning.lots.sweep_plan import SweepPlan
from retroscope.scanning.plan import ScanPlan
from retroscope.scanning.precision import Precision
from retroscope.scanning.runners.work import Limits
from retroscope.scanning.sources.known_images import known_images
from retroscope.scanning.sources.left_out import LeftOutShards
from retroscope.scanning.sources.paired_images import pair_images
from retroscope.scanning.sources.scan_source import ScanSource


@dataclass(frozen=True, eq=False)
class DistributedScan:
    """A scan on workers into the atlas `to`, with a plan beside it until all is done.

    The same scan again goes on where an earlier one ended, however that came.
    """

    net: Network
    source: ScanSource
    to: Path
    on: WorkerOptions
    layers: str | Sequence[str] | None = None
    top: int = 9
    class_rankings: ClassRankingRequest = field(default_factory=ClassRankingRequest)
    classes: bool = True
    precision: str = "full"
    batch_size: int | None = None
    lot_images: int | None = None
    limits: Limits = field(default_factory=Limits)

    def run(self, *, ranks: Ranks, restart: bool, progress: ProgressListener) -> Atlas:
        """Scans, and returns the atlas."""
        folder = PlanFolder(plan_beside(self.to))
        lock = WriteLock(folder.path)
        try:
            meta = {} if restart else _read_meta(self.to)
            _refuse_unfinished_scan(self.to, meta)
            if _is_finished(meta) and not folder.path.exists():
                self._refuse_other_scan(meta)
                self._add_projections(None, ranks=ranks, progress=progress)
            else:
                self._scan(folder, ranks=ranks, restart=restart, progress=progress)
        finally:
            lock.release()
        return open_atlas(self.to)

    def _scan(
        self, folder: PlanFolder, *, ranks: Ranks, restart: bool, progress: ProgressListener
    ) -> None:
        if restart:
            self.to.unlink(missing_ok=True)
        plan = self._plan(folder, restart=restart)
        start = perf_counter()
        device = self.net.device
        FirstPass(
            folder,
            plan,
            self.on.runner(device, plan.threads),
            self.on.reading_threads(device, plan.threads),
            progress,
            self.limits,
        ).run()
        skipped = any(folder.skip_reason(lot) for lot in range(len(plan.lots)))
        merge_lots(folder.path, to=self.to, allow_missing=skipped, progress=progress).close()
        max_seconds = time_for_projections(perf_counter() - start) if ranks.is_timed else inf
        self._add_projections(plan, ranks=ranks, max_seconds=max_seconds, progress=progress)
        shutil.rmtree(folder.path)

    def _plan(self, folder: PlanFolder, *, restart: bool) -> SweepPlan:
        is_new = restart or not folder.plan_file.exists()
        threads = self.on.choose_threads(self.net.device) if is_new else self.on.threads
        return make_plan(
            self.net,
            self.source.images,
            to=folder.path,
            opened=self.on.network,
            inputs=self.source.inputs,
            layers=self.layers,
            top=self.top,
            per_class=self.class_rankings.per_class or None,
            ranked_classes=self.class_rankings.ranked_classes,
            classes=self.classes,
            precision=self.precision,
            batch_size=self.batch_size,
            threads=threads,
            lot_images=self.lot_images,
            restart=restart,
            **self.source.keywords,
        )

    def _add_projections(
        self,
        plan: SweepPlan | None,
        *,
        ranks: Ranks,
        max_seconds: float = inf,
        progress: ProgressListener,
    ) -> None:
        network, threads = (plan.network, plan.threads) if plan else (self.on.network, None)
        source = self.source.list_shards(self.net)
        with (
            projection_workers(
                self.net,
                self.on,
                network=network,
                beside=self.to,
                pickled_in=plan_beside(self.to) if plan else None,
                threads=threads,
            ) as workers,
            extend_atlas(self.to) as (scanned, writer),
        ):
            keys = [image.key for image in scanned.images]
            left_out = LeftOutShards.from_facts(scanned.meta)
            image_list = known_images(left_out.remove_from(source, keys), keys)
            image_list = pair_images(self.net, image_list, self.source.inputs)
            check_scan_and_images(scanned, self.net, image_list)
            project_hits(
                writer,
                self.net,
                image_list,
                ranks=ranks,
                max_seconds=max_seconds,
                on=workers,
                progress=progress,
            )

    def _refuse_other_scan(self, meta: Mapping[str, Json]) -> None:
        """Raises if the finished atlas is of another scan than this one."""
        source = self.source.list_shards(self.net)
        image_list = LeftOutShards.from_facts(meta).remove_from(source).list_images()
        image_list = pair_images(self.net, image_list, self.source.inputs)
        plan = ScanPlan(
            self.net,
            image_list,
            scan_layers(self.net, self.layers),
            self.top,
            batch_size=1,
            precision=Precision.parse(self.precision),
            classes_wanted=self.classes,
            class_rankings=self.class_rankings.resolve(image_list.class_names),
        )
        plan.refuse_change(meta, str(self.to))


def _read_meta(path: Path) -> Mapping[str, Json]:
    """What an atlas says of itself; nothing if there is none yet. Raises if it is no atlas."""
    if not path.exists():
        return {}
    with AtlasWriter(path) as writer:
        return writer.meta


def _is_finished(meta: Mapping[str, Json]) -> bool:
    return "state" in meta and ScanState(str(meta["state"])).is_finished


def _refuse_unfinished_scan(path: Path, meta: Mapping[str, Json]) -> None:
    """Raises if a scan in one process has begun to write this atlas."""
    if "state" in meta and "plan" not in meta and not _is_finished(meta):
        raise RetroscopeError(
            f"{str(path)!r} holds an unfinished scan of one process; resume it without `on`, or "
            "start over with restart",
            parameter="restart",
        )
