"""Work of every kind, also that of workers that die or hang. Workers import this module."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import sleep, time_ns

from retroscope.errors import RetroscopeError


@dataclass(frozen=True)
class Square:
    """Squares numbers."""

    def open(self) -> Callable[[int], int]:
        return lambda number: number * number


@dataclass(frozen=True)
class Troubled:
    """Does what the task says; `folder` remembers across workers who tried what.

    A task is `word:number`. The result is the number.
    """

    folder: Path

    def open(self) -> Callable[[str], int]:
        return self._do

    def _do(self, task: str) -> int:
        word, number = task.split(":")
        attempt = record(self.folder, task)
        match word:
            case "refuse":
                raise RetroscopeError(f"{number} is no good")
            case "bug":
                raise ZeroDivisionError(number)
            case "exit":
                os._exit(7)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "kill_once" if not attempt:
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang_once" if not attempt:
                sleep(1000)
            case "slow_once":
                sleep(0.05 if attempt else 1000)
            case "unpicklable":
                return lambda: 0  # type: ignore[return-value]
        return int(number)


@dataclass(frozen=True)
class RandomDeath:
    """Squares numbers, and dies in one of three attempts."""

    folder: Path
    seed: int

    def open(self) -> Callable[[int], int]:
        return self._do

    def _do(self, number: int) -> int:
        attempt = record(self.folder, str(number))
        if Random(f"{self.seed} {number} {attempt}").random() < 1 / 3 and attempt < 2:  # noqa: S311
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number


@dataclass(frozen=True)
class Unopened:
    """Cannot be opened: it raises, or the worker ends."""

    exit_code: int = 0

    def open(self) -> Callable[[int], int]:
        if self.exit_code:
            os._exit(self.exit_code)
        raise RetroscopeError("no network 'alxnet'")


@dataclass(frozen=True)
class Facts:
    """Says where a task runs: the process, and variables of its environment."""

    names: tuple[str, ...] = ()
    seconds: float = 0.0

    def open(self) -> Callable[[int], tuple[int, ...] | tuple[str | None, ...]]:
        return self._do

    def _do(self, _task: int) -> tuple[int, ...] | tuple[str | None, ...]:
        sleep(self.seconds)
        return tuple(map(os.environ.get, self.names)) if self.names else (os.getpid(),)


@dataclass(frozen=True)
class Sleeper:
    """Notes the process that does a task, then sleeps."""

    folder: Path

    def open(self) -> Callable[[float], float]:
        return self._do

    def _do(self, seconds: float) -> float:
        (self.folder / str(os.getpid())).touch()
        sleep(seconds)
        return seconds


def record(folder: Path, task: str) -> int:
    """Notes an attempt; how many there were before."""
    name = task.replace(":", "-")
    before = len(list(folder.glob(f"{name}@*")))
    (folder / f"{name}@{before}-{os.getpid()}-{time_ns()}").touch()
    return before


def attempts(folder: Path, task: str) -> int:
    """How often a task was begun."""
    return len(list(folder.glob(f"{task.replace(':', '-')}@*")))
