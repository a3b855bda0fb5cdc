"""What a merge finds in the file that it is to write."""

from pathlib import Path

import pytest
import torch

from retroscope.errors import RetroscopeError
from retroscope.progress import Progress
from retroscope.scanning.job import scan
from retroscope.scanning.lots.merge_segments import merge_lots
from retroscope.scanning.lots.sweep_part import sweep
from tests.scanning.lots.planning import plan, scanned
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.scans import tiny


class Stopped(Exception):  # noqa: N818 - a listener that stops a scan in its middle
    def __call__(self, progress: Progress) -> None:
        if progress.completed > 4:
            raise self


@pytest.mark.usefixtures("bf16_on_any_device")
@pytest.mark.parametrize("precision", ["full", "bf16"])
def test_an_unfinished_scan_is_not_overwritten(
    photos: Path, tmp_path: Path, precision: str
) -> None:
    folder, to = plan(photos, tmp_path / "p.plan"), tmp_path / "a.atlas"
    sweep(folder.path)
    stop = Stopped()
    with pytest.raises(Stopped):
        scan(tiny(torch.float32), photos, to=to, batch_size=3, precision=precision, progress=stop)
    before = to.read_bytes()
    with pytest.raises(RetroscopeError) as caught:
        merge_lots(folder.path, to=to)
    assert str(caught.value).startswith(f"{str(to)!r} holds an unfinished scan of tiny by one ")
    assert " of 23 images), which the same scan resumes; merge to another file, or" in str(
        caught.value
    )
    assert caught.value.parameter == "restart"
    assert to.read_bytes() == before
    merge_lots(folder.path, to=to, restart=True).close()
    assert_same_atlas(scanned(photos, tmp_path / "scan.atlas"), to)
