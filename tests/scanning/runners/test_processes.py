"""Workers that are processes: what they see, and that none is left."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from retroscope.scanning.runners.dispatch import run
from retroscope.scanning.runners.gpus import assign_gpus, visible_gpus
from retroscope.scanning.runners.processes import Processes
from retroscope.scanning.runners.work import Finished, RunnerError, RunStatus
from tests.scanning.runners.drivers import (
    ROOT,
    is_alive,
    start_driver,
    wait_for_end,
    wait_for_workers,
    worker_ids,
)
from tests.scanning.runners.works import Facts, Sleeper, Square

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="refused there")


def facts(runner: Processes, *names: str) -> set[object]:
    outcomes = run(Facts(names, seconds=0.2), range(2 * runner.workers), runner=runner)
    return {outcome.result for outcome in outcomes if isinstance(outcome, Finished)}


def test_workers_are_other_processes() -> None:
    processes = facts(Processes(2))
    assert len(processes) == 2
    assert (os.getpid(),) not in processes


def test_each_worker_sees_its_own_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5,6,7")
    seen = facts(Processes(2, gpus_per_worker=2, threads=3), "CUDA_VISIBLE_DEVICES")
    assert seen == {("3,5",), ("6,7",)}


def test_a_replacement_gets_the_gpus_of_the_worker_that_was_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with Processes(2, gpus_per_worker=1).open_pool(Facts(("CUDA_VISIBLE_DEVICES",))) as pool:
        first, second = pool.start_worker(), pool.start_worker()
        pool.kill(first)
        third = pool.start_worker()
        reported: list[tuple[int, object]] = []
        while len(reported) < 2:
            reported += pool.wait(1)
        for worker in (second, third):
            pool.send(worker, 0)
        while len(reported) < 4:
            reported += pool.wait(1)
    by_worker = dict(reported[2:])
    assert by_worker[second].result == ("1",)  # type: ignore[attr-defined]
    assert by_worker[third].result == ("0",)  # type: ignore[attr-defined]


def test_threads_of_a_worker() -> None:
    assert facts(Processes(1, threads=3), "OMP_NUM_THREADS") == {("3",)}


@pytest.mark.parametrize(
    ("gpus", "workers", "share", "message"),
    [
        (["0"], 2, 1, "2 workers with 1 GPUs each need 2, and there are 1"),
        (["0"], 3, 0.5, "3 workers with 0.5 GPUs each need 2, and there are 1"),
        (["0", "1"], 1, 1.5, "a worker cannot have 1.5 GPUs"),
        ([], 1, 1, "1 workers with 1 GPUs each need 1, and there are 0"),
    ],
)
def test_more_gpus_than_there_are(
    gpus: list[str], workers: int, share: float, message: str
) -> None:
    with pytest.raises(RunnerError, match=message):
        assign_gpus(gpus, workers, share)


def test_no_gpu_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


class _Local:
    """As what a script defines: its module is named `__main__` in what is pickled."""

    def open(self) -> Callable[[int], int]:
        return abs


def test_work_of_the_script_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "_Local", _Local, raising=False)
    monkeypatch.setattr(_Local, "__module__", "__main__")
    with pytest.raises(RunnerError, match="put it in a module of its own"):
        list(run(_Local(), range(2), runner=Processes(1)))


def test_work_that_cannot_be_pickled_is_refused() -> None:
    class Inner(_Local):
        pass

    with pytest.raises(RunnerError, match="cannot send the work to workers"):
        list(run(Inner(), range(2), runner=Processes(1)))


def test_a_result_that_cannot_be_pickled_is_an_error_of_its_task(tmp_path: Path) -> None:
    from tests.scanning.runners.works import Troubled

    (outcome,) = run(Troubled(tmp_path), ["unpicklable:1"], runner=Processes(1))
    assert "pickle" in outcome.message.lower()  # type: ignore[union-attr]


def test_the_script_of_the_user_needs_no_guard(tmp_path: Path) -> None:
    driver = start_driver("processes", tmp_path, seconds=0.1)
    out, err = driver.communicate(timeout=60)
    assert (driver.returncode, err) == (0, "")
    assert out.count("Finished(") == 2


def test_an_interruption_leaves_no_process(tmp_path: Path) -> None:
    def interrupt(_status: RunStatus) -> None:
        if len(worker_ids(tmp_path)) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run(Sleeper(tmp_path), [1000.0, 1000.0], runner=Processes(2), listener=interrupt))
    wait_for_end(worker_ids(tmp_path))


def test_closing_the_iteration_leaves_no_process(tmp_path: Path) -> None:
    outcomes = run(Sleeper(tmp_path), [0.0, 1000.0], runner=Processes(1))
    next(outcomes)
    workers = worker_ids(tmp_path)
    assert all(map(is_alive, workers))
    outcomes.close()
    wait_for_end(workers)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_workers_end_with_the_driver(tmp_path: Path, number: signal.Signals) -> None:
    driver = start_driver("processes", tmp_path, seconds=1000)
    workers = wait_for_workers(tmp_path, 2)
    os.killpg(driver.pid, number) if number == signal.SIGINT else driver.send_signal(number)
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == -number
    assert err.count("Traceback") == (number == signal.SIGINT), "of the driver's alone"
    wait_for_end(workers)


def test_an_import_of_the_runners_does_not_import_torch_or_ray() -> None:
    code = (
        "import sys, retroscope.scanning.runners.processes, retroscope.scanning.runners.dispatch, "
        "retroscope.scanning.runners.ray_cluster; "
        "print({'torch', 'ray'} & set(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout == "set()\n"


def test_outcomes_can_be_pickled() -> None:
    (outcome,) = run(Square(), [3], runner=Processes(1))
    assert pickle.loads(pickle.dumps(outcome)) == outcome  # noqa: S301
