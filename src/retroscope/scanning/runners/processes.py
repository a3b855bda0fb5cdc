"""Workers that are processes of this machine.

Each is a fresh interpreter, since torch and CUDA do not survive a fork, and it does not import the
user's script. It hears of its tasks on a socket, and ends when the socket closes: then this process
has ended, however that came.
"""

import os
import pickle
import pickletools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection, Pipe, wait
from signal import SIG_BLOCK, SIG_SETMASK, SIGINT, Signals, pthread_sigmask
from typing import Any

from retroscope.scanning.runners.gpus import divide_gpus
from retroscope.scanning.runners.work import RunnerError, Work
from retroscope.scanning.runners.workers import Died, Report, WorkerPool

_START = (
    "import sys; sys.path[:] = {path!r}; "
    "from retroscope.scanning.runners.process_worker import serve; serve({handle})"
)
_SECONDS_TO_END = 5.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Processes:
    """So many processes. With `gpus_per_worker`, each sees only its own GPUs.

    Several share a GPU if it is a fraction. `threads` is what each has for its computations.
    """

    workers: int
    gpus_per_worker: float = 0.0
    threads: int | None = None
    python: Sequence[str] = field(default=(sys.executable,), repr=False)

    @contextmanager
    def open_pool(self, work: Work[Any, Any]) -> Iterator[WorkerPool]:
        """Processes for this work."""
        if sys.platform == "win32":
            raise RunnerError(
                "workers that are processes need Linux or macOS; leave out `on`, or use ray",
                parameter="on",
            )
        pool = _ProcessPool(self, pickle_work(work))
        try:
            yield pool
        finally:
            pool.close()


def pickle_work(work: Work[Any, Any]) -> bytes:
    """The work as bytes. What only the script that runs defines, no worker can import."""
    try:
        data = pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise RunnerError(f"cannot send the work to workers: {error}") from error
    if any(argument == "__main__" for _, argument, _ in pickletools.genops(data)):
        raise RunnerError(
            "the script that runs defines something that workers need, and they do not run the "
            "script; put it in a module of its own and import it"
        )
    return data


@dataclass(frozen=True, eq=False)
class _WorkerProcess:
    process: subprocess.Popen[bytes]
    connection: Connection
    slot: int

    def end(self) -> str:
        """Ends it if it has not ended; how it ended."""
        self.connection.close()
        self.process.terminate()
        try:
            code = self.process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return _describe_exit(code)


class _ProcessPool:
    def __init__(self, runner: Processes, work: bytes) -> None:
        self._work, self._numbers, self._python = work, count(), runner.python
        self._environments = [
            _environment(gpus, runner.threads)
            for gpus in divide_gpus(runner.workers, runner.gpus_per_worker)
        ]
        self._workers: dict[int, _WorkerProcess] = {}
        self.capacity = runner.workers

    def start_worker(self) -> int:
        taken = {worker.slot for worker in self._workers.values()}
        slot = next(slot for slot in range(len(self._environments)) if slot not in taken)
        connection, remote = Pipe()
        start = _START.format(path=sys.path, handle=remote.fileno())
        with remote, _hold_interrupts():
            process = subprocess.Popen(  # noqa: S603
                [*self._python, "-c", start],
                env=self._environments[slot],
                pass_fds=[remote.fileno()],
                stdin=subprocess.DEVNULL,
            )
        number = next(self._numbers)
        self._workers[number] = _WorkerProcess(process, connection, slot)
        with suppress(OSError):  # it has ended already, which `wait` reports
            connection.send_bytes(self._work)
        return number

    def send(self, worker: int, task: object) -> None:
        with suppress(ConnectionError):  # likewise
            self._workers[worker].connection.send(task)

    def wait(self, seconds: float) -> Sequence[tuple[int, Report]]:
        numbers = {worker.connection: number for number, worker in self._workers.items()}
        reports = [
            (numbers[connection], self._receive(numbers[connection]))
            for connection in wait(list(numbers), seconds)
            if isinstance(connection, Connection)
        ]
        for number, worker in list(self._workers.items()):
            is_heard = any(number == reported for reported, _ in reports)
            if not is_heard and worker.process.poll() is not None:
                reports.append((number, Died(self._workers.pop(number).end())))
        return reports

    def _receive(self, number: int) -> Report:
        try:
            report: Report = self._workers[number].connection.recv()
        except (EOFError, OSError):
            return Died(self._workers.pop(number).end())
        return report

    def kill(self, worker: int) -> None:
        self._workers.pop(worker).end()

    def close(self) -> None:
        """Ends all, at the same time."""
        for worker in self._workers.values():
            worker.process.terminate()
        while self._workers:
            self._workers.popitem()[1].end()


@contextmanager
def _hold_interrupts() -> Iterator[None]:
    """A process that starts inside does not hear Ctrl-C: the one that started it ends it."""
    mask = pthread_sigmask(SIG_BLOCK, {SIGINT})
    try:
        yield
    finally:
        pthread_sigmask(SIG_SETMASK, mask)


def _environment(gpus: str | None, threads: int | None) -> dict[str, str]:
    environment = dict(os.environ)
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpus
    if threads is not None:
        environment |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return environment


def _describe_exit(code: int) -> str:
    """`killed by SIGKILL`, which the system sends where memory ends, or `exit status 3`."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
