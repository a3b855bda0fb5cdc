"""Each task has one outcome, whatever becomes of the workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from retroscope.scanning.runners import dispatch
from retroscope.scanning.runners.dispatch import run
from retroscope.scanning.runners.in_process import InProcess
from retroscope.scanning.runners.work import (
    Deadly,
    Failed,
    Finished,
    Limits,
    RunnerError,
    RunStatus,
)
from retroscope.scanning.runners.workers import Runner
from tests.scanning.runners.works import RandomDeath, Square, Troubled, Unopened, attempts


def results(outcomes: object) -> list[tuple[object, object]]:
    assert isinstance(outcomes, Iterator)
    found = []
    for outcome in outcomes:
        assert isinstance(outcome, Finished), outcome
        found.append((outcome.task, outcome.result))
    return sorted(found)


def test_each_task_is_done_once(runner: Runner) -> None:
    squares = [(number, number**2) for number in range(40)]
    assert results(run(Square(), range(40), runner=runner)) == squares


def test_in_this_process_too() -> None:
    outcomes = list(run(Square(), iter(range(5)), runner=InProcess()))
    assert [outcome.task for outcome in outcomes] == [0, 1, 2, 3, 4]
    assert results(iter(outcomes)) == [(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)]


def test_without_tasks_there_is_no_worker(runner: Runner) -> None:
    seen: list[RunStatus] = []
    assert list(run(Unopened(), [], runner=runner, listener=seen.append)) == []
    assert seen == [RunStatus(0, 0, 0)]


def test_tasks_may_be_an_endless_iterator(runner: Runner) -> None:
    pulled: list[int] = []

    def tasks() -> Iterator[int]:
        while True:
            pulled.append(len(pulled))
            yield pulled[-1]

    outcomes = run(Square(), tasks(), runner=runner)
    for _ in range(10):
        next(outcomes)
    outcomes.close()
    assert len(pulled) <= 10 + 2 * 2 + 1, "few tasks are in flight"


def test_an_error_of_a_task_is_not_retried(runner: Runner, tmp_path: Path) -> None:
    tasks = ["refuse:1", "bug:2", "fine:3"]
    by_task = {outcome.task: outcome for outcome in run(Troubled(tmp_path), tasks, runner=runner)}
    assert by_task["refuse:1"] == Failed("refuse:1", "1 is no good")
    bug = by_task["bug:2"]
    assert isinstance(bug, Failed)
    assert bug.message == "ZeroDivisionError: 2"
    assert "in _do" in bug.trace
    assert isinstance(by_task["fine:3"], Finished)
    assert [attempts(tmp_path, task) for task in tasks] == [1, 1, 1]


def test_a_task_whose_workers_die_is_given_back(runner: Runner, tmp_path: Path) -> None:
    tasks = ["fine:1", "kill:2", "fine:3", "exit:4", "kill_once:5", "fine:6"]
    seen: list[RunStatus] = []
    limits = Limits(straggler_share=1e9)
    outcomes = run(Troubled(tmp_path), tasks, runner=runner, limits=limits, listener=seen.append)
    by_task = {outcome.task: outcome for outcome in outcomes}
    assert sorted(by_task) == sorted(tasks)
    for task in ("kill:2", "exit:4"):
        deadly = by_task.pop(task)
        assert isinstance(deadly, Deadly)
        assert len(deadly.deaths) == attempts(tmp_path, task) == 3
    assert results(iter(by_task.values())) == [
        ("fine:1", 1),
        ("fine:3", 3),
        ("fine:6", 6),
        ("kill_once:5", 5),
    ]
    assert attempts(tmp_path, "kill_once:5") == 2
    assert seen[-1].tasks == 6
    assert seen[-1].lost_workers == 3 + 3 + 1


def test_random_deaths_lose_nothing(runner: Runner, tmp_path: Path) -> None:
    outcomes = run(RandomDeath(tmp_path, seed=0), range(8), runner=runner)
    assert results(outcomes) == [(number, number**2) for number in range(8)]


def test_a_worker_that_hangs_is_replaced(runner: Runner, tmp_path: Path) -> None:
    limits = Limits(first_hang=20, shortest_hang=0.5, hang_share=2, straggler_share=1e9)
    tasks = ["fine:0", "hang_once:1", "fine:2"]
    assert results(run(Troubled(tmp_path), tasks, runner=runner, limits=limits)) == [
        ("fine:0", 0),
        ("fine:2", 2),
        ("hang_once:1", 1),
    ]
    assert attempts(tmp_path, "hang_once:1") == 2


def test_an_idle_worker_helps_out_with_the_last_task(runner: Runner, tmp_path: Path) -> None:
    tasks = ["fine:0", "slow_once:1", "fine:2"]
    assert results(run(Troubled(tmp_path), tasks, runner=runner)) == [
        ("fine:0", 0),
        ("fine:2", 2),
        ("slow_once:1", 1),
    ]
    assert attempts(tmp_path, "slow_once:1") == 2


def test_work_that_cannot_be_opened_ends_the_run(runner: Runner) -> None:
    with pytest.raises(RunnerError, match=r"^a worker cannot start: no network 'alxnet'$"):
        list(run(Unopened(), range(3), runner=runner))


def test_workers_that_die_at_once_end_the_run(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause, which saves a cluster from a start in each moment."""
    monkeypatch.setattr(dispatch, "_DEATHS_WITHOUT_PAUSE", 1)
    monkeypatch.setattr(dispatch, "_DEATHS_WHILE_OPENING", 3)
    with pytest.raises(RunnerError, match="ended before they were ready"):
        list(run(Unopened(exit_code=9), range(3), runner=runner))
