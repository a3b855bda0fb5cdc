"""What a worker process does: it opens the work, then a task after the other."""

import os
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from time import sleep
from types import FrameType
from typing import cast

from retroscope.scanning.freed_memory import keep_freed_memory
from retroscope.scanning.runners.work import Work
from retroscope.scanning.runners.workers import Opened, Report, WorkError, do_task, work_error

_SECONDS_TO_CLEAN_UP = 5.0


def serve(handle: int) -> None:
    """Does tasks until the connection closes, or the process is asked to terminate."""
    os.set_inheritable(handle, False)
    signal.signal(signal.SIGTERM, _exit)
    keep_freed_memory()
    connection = Connection(handle)
    tasks: SimpleQueue[object] = SimpleQueue()
    receiver = Thread(target=_receive, args=(connection, tasks), daemon=True)
    receiver.start()
    with suppress(ConnectionError):
        _work(connection, tasks)


def _work(connection: Connection, tasks: "SimpleQueue[object]") -> None:
    opened = _open(tasks.get())
    if isinstance(opened, WorkError):
        connection.send(opened)
        return
    connection.send(Opened())
    while True:
        task = tasks.get()
        report = task if isinstance(task, WorkError) else do_task(opened, task)
        _report(connection, report)


def _open(work: object) -> Callable[[object], object] | WorkError:
    if isinstance(work, WorkError):
        return work
    try:
        return cast("Work[object, object]", work).open()
    except Exception as error:  # noqa: BLE001 - the driver reports it
        return work_error(error)


def _report(connection: Connection, report: Report) -> None:
    try:
        connection.send(report)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        connection.send(work_error(error))


def _receive(connection: Connection, tasks: "SimpleQueue[object]") -> None:
    """Passes on what comes; when nothing can come any more, ends the process, also at work."""
    while True:
        try:
            tasks.put(connection.recv())
        except (EOFError, OSError):
            break
        except Exception as error:  # noqa: BLE001 - it cannot be imported here
            tasks.put(work_error(error))
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(_SECONDS_TO_CLEAN_UP)
    os._exit(1)


def _exit(_number: int, _frame: FrameType | None) -> None:
    """Leaves the task by an exception, so that its temporary files are deleted."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)
