"""Runs the checks of each network in a process of its own, with limits of time and memory."""

import json
import multiprocessing
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import blake2b
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from tools.coverage.answer_checks import check_crops, check_projections, check_values
from tools.coverage.field_checks import check_fields, check_gradient_support, check_layers
from tools.coverage.heat_checks import check_cam, check_targets
from tools.coverage.report import Report, describe
from tools.coverage.scan_checks import check_scan
from tools.coverage.subject import Case, Subject, build_subject, open_network
from tools.coverage.token_checks import check_tokens

from retroscope import engine

Row = dict[str, Any]
SECONDS = 300
"""The limit for one network, in time of the processor, which others may share."""
WAIT = 6 * SECONDS
"""After so many seconds by the clock it is stopped, whatever it waits for."""
BYTES = 9 << 30

CHECKS: dict[str, Callable[[Subject, Report], None]] = {
    "layers": check_layers,
    "fields": check_fields,
    "gradient support": check_gradient_support,
    "values": check_values,
    "tokens": check_tokens,
    "projections": check_projections,
    "crops": check_crops,
    "cam": check_cam,
    "targets": check_targets,
    "scan": check_scan,
}
_FORK = multiprocessing.get_context("fork")


def check_network(case: Case, report: Report, *, seconds: float = 5.0) -> None:
    """All checks of one network. Where it does not open, that is its only row."""
    report.running = "build"
    report.send(report.state())
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            subject = build_subject(case)
    except NotImplementedError as error:
        report.facts["unusable"] = str(error)
        with report.check("open"):
            open_network(case)
        return
    except Exception as error:  # noqa: BLE001 - a fault of the constructor is what is reported
        report.facts["unusable"] = describe(error)
        report.send(report.state())
        return
    report.expected_warnings |= {f"{w.category.__name__}: {w.message}"[:80] for w in caught}
    subject.seconds = seconds
    report.facts["size"] = "x".join(map(str, subject.net.input_size))
    report.facts["precise"] = int(subject.precise)
    with report.check("open"):
        report.facts["layers"] = len(subject.net.layers)
    if report.refused or report.faults:
        return
    if subject.is_random:
        report.facts["random"] = 1
    for name, check in CHECKS.items():
        if subject.is_random and name not in {"layers", "fields"}:
            continue
        torch.manual_seed(1)
        with report.check(name):
            check(subject, report)
        report.ran.append(name)


def run_all(cases: Sequence[Case], output: Path, *, jobs: int, seconds: float) -> None:
    """Runs the cases that the output does not hold yet, and appends a line for each."""
    source_commit(), engine_digest()  # as they are now, before somebody changes a file
    waiting = list(reversed(cases))
    running: dict[Connection, _Child] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            child = _Child(waiting.pop(), seconds)
            running[child.connection] = child
        for connection in wait(list(running), timeout=1.0):
            assert isinstance(connection, Connection)
            running[connection].receive()
        for connection, child in list(running.items()):
            if child.has_ended():
                del running[connection]
                _append(output, child.row())


class _Child:
    """The process of one network, and the last state of its report."""

    def __init__(self, case: Case, seconds: float) -> None:
        self.case, self.start, self.state, self.end = case, time.monotonic(), Row(), ""
        self.limit = seconds
        self.connection, sender = _FORK.Pipe(duplex=False)
        self.process = _FORK.Process(target=_work, args=(case, sender, seconds))
        self.process.start()
        sender.close()

    def receive(self) -> None:
        """Takes the next state; the end of the stream is the end of the process."""
        try:
            self.state = self.connection.recv()
        except EOFError:
            self.process.join(10)
            self.end = "finished"

    def has_ended(self) -> bool:
        """Whether it has finished, crashed, or run out of time, in which case it is stopped."""
        if not self.end and time.monotonic() - self.start > WAIT:
            self.process.kill()
            self.process.join()
            self.end = f"over {WAIT} seconds"
        return bool(self.end)

    def row(self) -> Row:
        """The line of the results."""
        case = self.case
        row = {"family": case.family, "group": case.group, "name": case.name, **self.state}
        row |= {"engine": engine_digest(), "commit": source_commit(), "limit": self.limit}
        row["seconds"] = round(time.monotonic() - self.start, 1)
        code = self.process.exitcode
        if self.end != "finished" or code:
            text = self.end if self.end != "finished" else f"the process ended with {code}"
            text = f"over {SECONDS} seconds" if code == -signal.SIGXCPU else text
            row.setdefault("faults", []).append(
                {"check": row.get("running", "build"), "text": text}
            )
        return row


def _work(case: Case, sender: Connection, seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 10))
    torch.set_num_threads(1)
    report = Report(sender.send)
    check_network(case, report, seconds=seconds)
    sender.send(report.state())
    sender.close()


@cache
def source_commit() -> str:
    """The commit of the code, with a plus if files have been changed since."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        return run.stdout.strip()

    root = git("rev-parse", "--show-toplevel")
    changed = git("status", "--porcelain", "--", f"{root}/src", f"{root}/tools/coverage")
    return git("rev-parse", "--short=9", "HEAD") + ("+" if changed else "")


@cache
def engine_digest() -> str:
    """A digest of the engine's code: results of equal digests are of one engine."""
    digest = blake2b(digest_size=6)
    for path in sorted(Path(engine.__file__ or "").parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _append(output: Path, row: Row) -> None:
    with output.open("a") as lines:
        lines.write(json.dumps(row) + "\n")
    marks = {name: len(row.get(name, [])) for name in ("wrong", "faults", "refused")}
    words = [f"{count} {name}" for name, count in marks.items() if count]
    if "unusable" in row:
        words.append("unusable")
    print(f"{row['family']}/{row['name']}: {', '.join(words) or 'fine'} ({row['seconds']} s)")
    sys.stdout.flush()


def read_rows(output: Path) -> dict[str, Row]:
    """The last row of each network."""
    if not output.exists():
        return {}
    rows = [json.loads(line) for line in output.read_text().splitlines() if line]
    return {f"{row['family']}/{row['name']}": row for row in rows}
