"""What is found out about a network: facts, refusals, faults and wrong answers."""

import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from retroscope.errors import RetroscopeError

Fact = int | float | str | list[str] | dict[str, int]
Send = Callable[[dict[str, object]], object]


@dataclass
class Finding:
    """A refusal, a fault or a wrong answer, and the check that met it."""

    check: str
    text: str


@dataclass
class Report:
    """Grows check by check; each state is sent, so a crash loses only the check that crashed."""

    send: Send
    facts: dict[str, Fact] = field(default_factory=dict)
    refused: list[Finding] = field(default_factory=list)
    faults: list[Finding] = field(default_factory=list)
    wrong: list[Finding] = field(default_factory=list)
    not_comparable: list[Finding] = field(default_factory=list)
    expected_warnings: set[str] = field(default_factory=set)
    running: str = ""
    ran: list[str] = field(default_factory=list)

    def state(self) -> dict[str, object]:
        """The report as JSON can hold it."""
        findings = {
            name: [asdict(finding) for finding in getattr(self, name)]
            for name in ("refused", "faults", "wrong", "not_comparable")
        }
        return {**self.facts, **findings, "running": self.running, "ran": list(self.ran)}

    def add(self, name: str, count: int = 1) -> None:
        """Adds to a number among the facts."""
        before = self.facts.get(name, 0)
        assert isinstance(before, int)
        self.facts[name] = before + count

    def answer_is_wrong(self, text: str) -> None:
        """Records an answer that a definition contradicts."""
        if len(self.wrong) < 40:
            self.wrong.append(Finding(self.running, text))

    @contextmanager
    def check(self, name: str) -> Iterator[None]:
        """Runs a check. Our own errors are refusals; any other error or warning is a fault."""
        self.running = name
        self.send(self.state())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                yield
            except RetroscopeError as error:
                self.refused.append(Finding(name, str(error)))
            except Exception as error:  # noqa: BLE001 - the fault is what the tool reports
                findings = self.faults if _passed_our_code(error) else self.not_comparable
                findings.append(Finding(name, describe(error)))
        for warning in caught:
            self._judge_warning(name, f"{warning.category.__name__}: {warning.message}")
        self.running = ""
        self.send(self.state())

    def _judge_warning(self, check: str, text: str) -> None:
        if text[:80] not in self.expected_warnings:
            self.expected_warnings.add(text[:80])
            self.faults.append(Finding(check, f"warning: {text[:300]}"))


def _passed_our_code(error: BaseException) -> bool:
    """Whether the error came through retroscope, and not from a plain definition alone."""
    frames = traceback.extract_tb(error.__traceback__)
    return any("/src/retroscope/" in frame.filename for frame in frames)


def describe(error: BaseException) -> str:
    """An error and the last places that it passed."""
    frames = list(reversed(traceback.extract_tb(error.__traceback__)))
    shown = frames[:2] + [frame for frame in frames[2:] if "/retroscope/" in frame.filename][:3]
    places = " < ".join(
        f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}" for frame in shown
    )
    return f"{type(error).__name__}: {str(error)[:300]} ({places})"
