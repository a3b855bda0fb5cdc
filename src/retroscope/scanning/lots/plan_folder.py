"""The files of a plan: `plan.json`, and for each lot its shards and its segments."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from retroscope.atlas.schema import Json
from retroscope.scanning.lots.segment import LotStage
from retroscope.scanning.lots.whole_files import PlanError, write_whole
from retroscope.scanning.sources import Shard

PLAN_FILE, LOTS, CANDIDATES = "plan.json", "lots", "candidates.npz"
SUFFIXES = {LotStage.SCAN: "seg", LotStage.SCORE_AGAIN: "exact.seg"}


class LotTask(NamedTuple):
    """The pass over a lot that a worker does: its result is one segment."""

    lot: int
    stage: LotStage = LotStage.SCAN


@dataclass(frozen=True)
class PlanFolder:
    """Where the files of a plan are."""

    path: Path

    @property
    def plan_file(self) -> Path:
        return self.path / PLAN_FILE

    @property
    def lots(self) -> Path:
        return self.path / LOTS

    @property
    def candidates(self) -> Path:
        """The images that a pass in bfloat16 has found for the ranking in full precision."""
        return self.path / CANDIDATES

    def segment(self, task: LotTask) -> Path:
        """What a pass over a lot has found; it exists once that is finished."""
        return self.lots / f"{task.lot:05}.{SUFFIXES[task.stage]}"

    def is_finished(self, task: LotTask) -> bool:
        """Whether a lot has been swept in this stage."""
        return self.segment(task).exists()

    def forget_lots(self, lots: Sequence[int]) -> None:
        """Deletes the segments of lots, and all that follows from what they hold.

        What is deleted last is what the rest was made of, so that being killed between changes
        nothing.
        """
        for path in self.lots.glob(f"*.{SUFFIXES[LotStage.SCORE_AGAIN]}"):
            path.unlink()
        self.candidates.unlink(missing_ok=True)
        for lot in lots:
            self.segment(LotTask(lot)).unlink(missing_ok=True)

    def skipped(self, lot: int) -> Path:
        """Why a lot is left out; it exists for a lot that cannot be swept."""
        return self.lots / f"{lot:05}.skipped"

    def skip_lot(self, lot: int, reason: str) -> None:
        """Leaves a lot out: sweeping passes over it, and merging only allows it to be missing."""
        with write_whole(self.skipped(lot)) as file:
            file.write(reason.encode())

    def skip_reason(self, lot: int) -> str | None:
        """Why a lot is left out, or None."""
        try:
            return self.skipped(lot).read_text("utf-8", "replace")
        except FileNotFoundError:
            return None

    def skip_shards(self, lot: int, reasons: dict[int, str]) -> None:
        """Leaves shards of a lot out, by their numbers: the lot is swept without them."""
        skipped: dict[str, Json] = {str(number): reason for number, reason in reasons.items()}
        self._write_json(self._skipped_shards(lot), skipped)

    def skipped_shards(self, lot: int) -> dict[int, str]:
        """The shards of a lot that are left out, and why."""
        if not self._skipped_shards(lot).exists():
            return {}
        reasons = self._read_json(self._skipped_shards(lot))
        return {int(number): str(reason) for number, reason in reasons.items()}

    def _skipped_shards(self, lot: int) -> Path:
        return self.lots / f"{lot:05}.skipped-shards"

    def write_shards(self, lot: int, shards: Sequence[Shard]) -> None:
        """The shards of a lot, so that a worker reads no more than its own."""
        self._write_json(self.lots / f"{lot:05}.json", [shard.to_json() for shard in shards])

    def read_shards(self, lot: int) -> list[Shard]:
        """The shards of a lot in order."""
        return [Shard.from_json(facts) for facts in self._read_json(self.lots / f"{lot:05}.json")]

    def write_plan(self, facts: dict[str, Json]) -> None:
        """Writes `plan.json`."""
        self._write_json(self.plan_file, facts)

    def read_plan(self) -> dict[str, Any]:
        """What `plan.json` says."""
        facts = self._read_json(self.plan_file)
        if not isinstance(facts, dict):
            raise PlanError(f"{str(self.plan_file)!r} is damaged; plan again")
        return facts

    def _write_json(self, path: Path, facts: Json) -> None:
        with write_whole(path) as file:
            file.write(json.dumps(facts, indent=1).encode())

    def _read_json(self, path: Path) -> Any:
        try:
            return json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise self._missing(path) from error
        except OSError as error:
            raise PlanError(f"cannot read {str(path)!r} ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise PlanError(f"{str(path)!r} is damaged ({error}); plan again") from error

    def _missing(self, path: Path) -> PlanError:
        if path != self.plan_file:
            return PlanError(f"the plan {str(self.path)!r} lacks {path.name!r}; plan again")
        return PlanError(
            f"no plan at {str(self.path)!r}; give a folder that `retroscope plan` has made"
        )


def plan_beside(atlas: Path) -> Path:
    """Where a scan on workers has its plan until the atlas is finished.

    >>> str(plan_beside(Path("photos.atlas")))
    'photos.atlas.plan'
    """
    return atlas.with_name(f"{atlas.name}.plan")
