"""How far a sweep is: in images, or in shards where only reading tells how many they have."""

from pathlib import Path

import pytest

from retroscope.progress import Progress
from retroscope.scanning.lots.sweep_part import sweep
from tests.scanning.lots.planning import plan
from tests.scanning.packing import PACKERS, files_of


@pytest.mark.parametrize(("kind", "total"), [("files", 23), ("zip", 23), ("tar", 3)])
def test_progress_ends_at_what_there_is(
    photos: Path, tmp_path: Path, kind: str, total: int
) -> None:
    images, files = photos, list(files_of(photos).items())
    if kind != "files":
        images = tmp_path / "packed"
        for number in range(3):
            members = dict(files[8 * number : 8 * number + 8])
            PACKERS[kind](images / f"{number}.{kind}", members)
    states: list[Progress] = []
    folder = plan(images, tmp_path / "p.plan", lot_images=1)
    sweep(folder.path, part=(1, 3), progress=states.append)
    sweep(folder.path, progress=states.append)
    assert states[-1].total == states[-1].completed == total
    second = [state for state in states if state.total == total]
    assert second[0].completed == second[0].skipped > 0
    assert [state.completed for state in second] == sorted(state.completed for state in second)
