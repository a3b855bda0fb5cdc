"""What an actor of Ray does. Ray itself is not imported here."""

import pickle
import socket
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version

from retroscope.scanning.freed_memory import keep_freed_memory
from retroscope.scanning.runners.work import RunnerError, Work
from retroscope.scanning.runners.workers import Opened, Report, do_task, work_error


class RayWorker:
    """Opens the work, then does a task after the other.

    The work is pickled: what it imports is looked for where the driver does, in `path`, too.
    `driver_version` is the version of retroscope there.
    """

    def __init__(self, work: bytes, path: Sequence[str], driver_version: str) -> None:
        self._work, self._driver_version = work, driver_version
        sys.path += [folder for folder in path if folder not in sys.path]

    def open(self) -> Report:
        """Prepares for tasks."""
        keep_freed_memory()
        try:
            self._refuse_other_version()
            work: Work[object, object] = pickle.loads(self._work)
            self._do: Callable[[object], object] = work.open()
        except Exception as error:  # noqa: BLE001 - the driver reports it
            return work_error(error)
        return Opened()

    def _refuse_other_version(self) -> None:
        if version("retroscope") != self._driver_version:
            raise RunnerError(
                f"{socket.gethostname()} has retroscope {version('retroscope')}, and this machine "
                f"{self._driver_version}; install the same on all machines"
            )

    def do(self, task: object) -> Report:
        """Does a task."""
        return do_task(self._do, task)
