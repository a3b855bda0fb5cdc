"""How long a stage goes on, as a clock shows that only the work moves."""

from collections.abc import Iterable, Iterator

import pytest

from retroscope import progress as progress_module
from retroscope.progress import Progress, ProgressReporter, StagePart


class Clock:
    """Time stands still but for `pass_time`."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    still = Clock()
    monkeypatch.setattr(progress_module, "perf_counter", still)
    return still


def forecasts(
    clock: Clock,
    seconds_of_items: list[float],
    *,
    parts: list[StagePart] | None = None,
    portion: int = 1,
    skipped: int = 0,
) -> Iterator[tuple[float, float]]:
    """After each portion of a run: the time that is left as it was forecast, and as it is."""
    reports: list[Progress] = []
    total = len(seconds_of_items)
    reporter = ProgressReporter("work", total, reports.append, completed=skipped, parts=parts or ())
    for start in range(skipped, total, portion):
        stop = min(start + portion, total)
        clock.seconds += sum(seconds_of_items[start:stop])
        reporter.update(stop)
        yield reports[-1].seconds_left, sum(seconds_of_items[stop:])


def largest_error(pairs: Iterable[tuple[float, float]], *, after: int = 0) -> float:
    """How far forecasts are off at most, as a share of the true time."""
    errors = [abs(told - true) / true for told, true in list(pairs)[after:] if true > 0]
    return max(errors)


RANKS = 4
CHEAP, DEEP = 0.002, 0.4
"""Seconds of a projection from a small crop, and of one from a whole image."""


def second_pass() -> tuple[list[float], list[StagePart]]:
    """A second pass like that of a scan: in each rank first crops, then whole images."""
    parts = [StagePart("conv1", 64, 0.01), StagePart("conv2", 128, 0.1), StagePart("deep", 256, 1)]
    seconds = {"conv1": CHEAP, "conv2": 0.03, "deep": DEEP}
    return [seconds[part.kind] for part in parts for _ in range(part.items)] * RANKS, parts * RANKS


def test_the_time_left_is_exact_once_every_kind_of_item_has_come(clock: Clock) -> None:
    items, parts = second_pass()
    of_one_rank = len(items) // RANKS
    pairs = forecasts(clock, items, parts=parts, portion=32)
    assert largest_error(pairs, after=of_one_rank // 32) < 0.01


def test_the_time_left_does_not_leap_when_items_become_dear(clock: Clock) -> None:
    """Counted by items alone, it would be wrong by a factor of a hundred at first."""
    items, parts = second_pass()
    assert largest_error(forecasts(clock, items, parts=parts, portion=32)) < 1.5
    of_shallow_layers = 192 // 32
    pairs = forecasts(clock, items, parts=parts, portion=32)
    assert largest_error(pairs, after=of_shallow_layers - 1) < 0.35
    naive = forecasts(clock, items, portion=32)
    assert largest_error(naive, after=of_shallow_layers - 1) > 0.8


def test_portions_of_several_kinds_are_divided_by_what_they_cost(clock: Clock) -> None:
    parts = [StagePart("a", 10, 1.0), StagePart("b", 10, 5.0)] * 20
    items = ([0.1] * 10 + [0.5] * 10) * 20
    pairs = forecasts(clock, items, parts=parts, portion=7)
    assert largest_error(pairs, after=3) < 0.02


def test_a_slow_start_is_forgotten(clock: Clock) -> None:
    """A network's first batches take longer than the others."""
    items = [20.0] + [1.0] * 300
    assert largest_error(forecasts(clock, items), after=1) < 0.01
    slower = [20.0] * 2 + [1.0] * 300
    pairs = list(forecasts(clock, slower))
    assert largest_error(pairs[60:]) < 0.1
    mean_of_all = (40 + 58) / 60
    assert mean_of_all / 1.0 > 1.5, "that the mean of all items would show"


def test_the_time_left_follows_a_machine_that_gets_busy(clock: Clock) -> None:
    items = [1.0] * 100 + [2.0] * 200
    pairs = forecasts(clock, items)
    assert largest_error(pairs, after=175) < 0.25


def test_what_an_earlier_run_did_tells_nothing_about_the_time(clock: Clock) -> None:
    items, parts = second_pass()
    skipped = len(items) // RANKS + 64
    pairs = list(forecasts(clock, items, parts=parts, portion=16, skipped=skipped))
    assert largest_error(pairs, after=(128 + 256 + 64) // 16) < 0.01


def test_the_first_report_knows_no_time_and_the_last_says_none(clock: Clock) -> None:
    reports: list[Progress] = []
    reporter = ProgressReporter("work", 2, reports.append)
    clock.seconds += 3
    reporter.update(1)
    reporter.update(1)
    clock.seconds += 3
    reporter.update(2)
    assert [report.seconds_left for report in reports] == [float("inf"), 3.0, 3.0, 0.0]


def test_a_stage_ends_when_its_time_is_up(clock: Clock) -> None:
    reports: list[Progress] = []
    reporter = ProgressReporter("work", 1000, reports.append, max_seconds=20)
    for completed in (5, 10, 15):
        clock.seconds += 5
        reporter.update(completed)
    assert [report.seconds_left for report in reports] == [20.0, 15.0, 10.0, 5.0]


def test_items_that_take_no_time_at_all_are_no_error(clock: Clock) -> None:
    pairs = list(forecasts(clock, [0.0] * 5, parts=[StagePart("a", 2), StagePart("b", 3)]))
    assert [told for told, _ in pairs] == [0.0] * 5
