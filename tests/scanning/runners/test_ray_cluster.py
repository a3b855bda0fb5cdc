"""Actors of Ray: which cluster, and that what was started ends."""

import pickle
import signal
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from retroscope.scanning.runners.dispatch import run
from retroscope.scanning.runners.ray_cluster import RayCluster
from retroscope.scanning.runners.ray_worker import RayWorker
from retroscope.scanning.runners.work import RunnerError
from retroscope.scanning.runners.workers import WorkError
from tests.scanning.conftest import NO_RAY
from tests.scanning.ray_head import (
    RayHead,
    descendants,
    ends_with_its_parent,
    free_port,
)
from tests.scanning.runners.drivers import (
    ROOT,
    start_driver,
    wait_for_end,
    wait_for_workers,
)
from tests.scanning.runners.works import Square

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason=NO_RAY)


def test_without_ray_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunnerError, match=r"pip install 'retroscope\[ray\]'"):
        list(run(Square(), [1], runner=RayCluster(workers=1)))


def test_another_version_of_retroscope_is_refused() -> None:
    report = RayWorker(pickle.dumps(Square()), [], "0.0.1").open()
    assert isinstance(report, WorkError)
    assert "install the same on all machines" in report.message
    assert version("retroscope") in report.message


@needs_ray
def test_a_worker_that_fits_on_no_machine_is_refused(local_ray: RayHead) -> None:
    del local_ray
    for runner in (RayCluster(workers=1, threads=64), RayCluster(gpus_per_worker=1)):
        with pytest.raises(
            RunnerError, match=r"no machine .* has room for a worker of .*64 CPU|1 GPU"
        ):
            list(run(Square(), [1], runner=runner))


@needs_ray
def test_without_a_number_the_workers_fill_the_cluster(local_ray: RayHead) -> None:
    del local_ray
    with RayCluster().open_pool(Square()) as pool:
        assert pool.capacity == 3


@needs_ray
def test_an_address_is_refused_where_ray_is_connected_already(local_ray: RayHead) -> None:
    del local_ray
    with pytest.raises(RunnerError, match="connected to Ray already"):
        list(run(Square(), [1], runner=RayCluster("ray://127.0.0.1:9")))


@needs_ray
def test_a_ray_that_ran_before_goes_on(local_ray: RayHead) -> None:
    del local_ray
    import ray

    assert len(list(run(Square(), [1, 2], runner=RayCluster(workers=1)))) == 2
    assert ray.is_initialized()


@needs_ray
@pytest.mark.parametrize("address", ["ray://127.0.0.1:{port}", "127.0.0.1:{port}"])
def test_an_address_that_nobody_answers_is_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    address = address.format(port=free_port())
    with pytest.raises(RunnerError, match=f"^cannot reach Ray at {address} .*refused.*$"):
        list(run(Square(), [1], runner=RayCluster(address)))


@needs_ray
@pytest.mark.parametrize("number", [None, signal.SIGKILL])
def test_a_local_ray_ends_with_its_driver(tmp_path: Path, number: signal.Signals | None) -> None:
    driver = start_driver("ray", tmp_path, seconds=1000 if number else 0.5)
    workers = wait_for_workers(tmp_path, 2)
    family = [*workers, *filter(ends_with_its_parent, descendants(driver.pid))]
    assert len(family) > 2
    if number:
        driver.send_signal(number)
    out, err = driver.communicate(timeout=90)
    assert driver.returncode == (-number if number else 0), err
    assert number or out.count("Finished(") == 2
    wait_for_end(family)


@needs_ray
@pytest.mark.skipif(find_spec("grpc") is None, reason="Ray's client needs grpcio")
def test_a_cluster_at_an_address(local_ray: RayHead, tmp_path: Path) -> None:
    address = local_ray.client_address
    code = f"""
from retroscope.scanning.runners.dispatch import run
from retroscope.scanning.runners.ray_cluster import RayCluster
from tests.scanning.runners.works import Troubled
from pathlib import Path
tasks = ["fine:1", "kill_once:2", "fine:3"]
work = Troubled(Path({str(tmp_path)!r}))
for outcome in run(work, tasks, runner=RayCluster({address!r})):
    print(outcome.task, outcome.result)
"""
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert sorted(out.stdout.splitlines()) == ["fine:1 1", "fine:3 3", "kill_once:2 2"], out.stderr
