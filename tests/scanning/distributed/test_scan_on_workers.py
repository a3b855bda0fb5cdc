"""A scan on workers gives the atlas of one process, whoever is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest
import torch

from retroscope.atlas.reader import open_atlas
from retroscope.errors import RetroscopeError
from retroscope.progress import Progress
from retroscope.scanning.distributed.first_pass import SweepError
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.illustrate import illustrate
from retroscope.scanning.job import scan
from tests.scanning.distributed.driver import IMAGES_PER_SHARD, run_scan, scan_at_once, scan_on
from tests.scanning.runners.drivers import ROOT
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.scans import tiny, write_images

KILLS = int(os.environ.get("RETROSCOPE_KILLS", "2"))
START = "import sys; from tests.scanning.distributed.driver import main; main(*sys.argv[1:])"


def test_workers_give_the_atlas_of_one_process(photos: Path, scanned: Path, tmp_path: Path) -> None:
    """On Ray, the test with kills says so."""
    to = tmp_path / "a.atlas"
    scan_on(WorkerOptions("processes", 2, threads=1), photos, to)
    assert_same_atlas(scanned, to)
    assert [path.name for path in tmp_path.iterdir()] == ["a.atlas"], "nothing else is left"
    scan_on(WorkerOptions("processes", 2, threads=1), photos, to)
    assert_same_atlas(scanned, to)


def test_a_shard_that_ends_workers_is_skipped_by_name(photos: Path, tmp_path: Path) -> None:
    """A lot of it and others keeps the others; the atlas says what is left out."""
    to = tmp_path / "a.atlas"
    run_scan(to, photos, lot_images=3 * IMAGES_PER_SHARD, deadly="ant/07.png")
    with open_atlas(to) as atlas:
        left_out = atlas.meta["left_out"]
        keys = [image.key for image in atlas.images]
    assert isinstance(left_out, list)
    assert [entry["shards"] for entry in left_out] == [["ant/05.png to ant/09.png"]]  # type: ignore[index, call-overload]
    assert "killed by SIGKILL" in str(left_out)
    assert len(keys) == 34 - IMAGES_PER_SHARD
    assert "ant/07.png" not in keys


def test_a_lot_that_cannot_be_swept_is_reported_and_the_rest_is_kept(tmp_path: Path) -> None:
    photos = write_images(tmp_path / "photos", 20)
    to = tmp_path / "a.atlas"
    with pytest.raises(SweepError, match="1 of 4 lots could not be swept") as caught:
        run_scan(to, photos, lot_images=IMAGES_PER_SHARD, unsweepable="07.png")
    assert [reason for reason in caught.value.reasons if "shard 1" in reason]
    assert len(list((tmp_path / "a.atlas.plan" / "lots").glob("*.seg"))) == 3
    run_scan(to, photos, lot_images=IMAGES_PER_SHARD)
    whole = tmp_path / "whole.atlas"
    scan_at_once(photos, whole, projections="none")
    assert_same_atlas(whole, to)


def test_an_unfinished_scan_of_one_process_is_not_overwritten(tmp_path: Path) -> None:
    to, photos = tmp_path / "a.atlas", write_images(tmp_path / "photos", 20)
    stop = Stopped()
    with pytest.raises(Stopped):
        scan(tiny(), photos, to=to, batch_size=2, progress=stop)
    with pytest.raises(RetroscopeError, match="unfinished scan of one process"):
        scan(tiny(), photos, to=to, on="processes", workers=1)


def test_an_unknown_runner_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match="cannot run on 'dask'; choose from processes, ray"):
        scan(tiny(), tmp_path, to=tmp_path / "a.atlas", on="dask")


def test_a_changed_image_ends_projections_as_in_one_process(tmp_path: Path) -> None:
    photos, to = write_images(tmp_path / "photos", 8), tmp_path / "a.atlas"
    scan(tiny(torch.float32), photos, to=to, projections="none").close()
    before = (photos / "03.png").stat()
    data = (photos / "04.png").read_bytes()
    (photos / "03.png").write_bytes(data)
    lines = []
    for on in (None, "processes"):
        with pytest.raises(RetroscopeError) as caught:
            illustrate(to, tiny(torch.float32), on=on, workers=1)
        lines.append(str(caught.value))
    assert lines[0] == lines[1]
    assert before.st_size


class Stopped(Exception):  # noqa: N818 - a listener that stops a scan in its middle
    def __call__(self, progress: Progress) -> None:
        if progress.completed > 4:
            raise self


@pytest.mark.parametrize(
    ("on", "driver_ends"),
    [("ray", "second pass"), ("processes", "first pass")],
)
def test_killed_workers_and_drivers_change_nothing(
    on: str,
    driver_ends: str,
    *,
    photos: Path,
    scanned: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Workers are killed at random moments of both passes, and a driver in one of them."""
    if on == "ray":
        request.getfixturevalue("local_ray")
    to, tokens = tmp_path / "a.atlas", tmp_path / "tokens"
    tokens.mkdir()
    for number in range(KILLS):
        (tokens / f"token{number}").touch()
    lots = tmp_path / "a.atlas.plan" / "lots"

    def is_in_first_pass() -> bool:
        return len(list(lots.glob("*.seg"))) >= 3

    is_time = is_in_first_pass if driver_ends == "first pass" else to.exists
    driver = start_scan(on, photos, to, tokens=tokens)
    while driver.poll() is None and not is_time():
        sleep(0.02)
    sleep(0.1)
    driver.kill()
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == -signal.SIGKILL, err
    driver = start_scan(on, photos, to, tokens=tokens)
    _, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, err
    assert_same_atlas(scanned, to)
    assert len(list(tokens.glob("token*"))) == 0, "not all kills took place"
    assert {path.name for path in tmp_path.iterdir()} == {"a.atlas", "tokens"}


def start_scan(on: str, photos: Path, to: Path, *, tokens: Path) -> subprocess.Popen[str]:
    """On Ray, the cluster of this process."""
    cluster = {}
    if on == "ray":
        import ray

        cluster = {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    return subprocess.Popen(
        [sys.executable, "-c", START, on, "2", photos, to, tokens],
        cwd=ROOT,
        text=True,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", **cluster},
    )
