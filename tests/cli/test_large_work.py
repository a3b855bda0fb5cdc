"""Large work is announced, with its time and memory, and shows its progress; little work is not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from retroscope.cli import progress_bar
from retroscope.cli.progress_bar import LargeWork, show_large_work
from retroscope.errors import RetroscopeError
from retroscope.progress import Progress
from tests.cli.nets import CLASSIFIER
from tests.cli.terminal import Retroscope, picture


def run(
    seconds: float, *, items: int = 10, memory_bytes: int = 0
) -> Callable[[Callable[[Progress], None]], None]:
    """Work of so many items that take the same time, reported to a listener."""

    def report(listener: Callable[[Progress], None]) -> None:
        for completed in range(items + 1):
            spent = completed * seconds / items
            state = Progress(
                "work", completed, items, skipped=0, seconds=spent, memory_bytes=memory_bytes
            )
            listener(state)

    return report


def test_little_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_large_work("step") as listener:
        run(9.0, memory_bytes=900_000_000)(listener)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "memory_bytes", "line"),
    [
        (485, 9_400_000_000, "10 steps: about 8 min 5 s and 9.4 GB of memory"),
        (20, 900_000_000, "10 steps: about 20 s"),
        (4, 2_000_000_000, "10 steps: about 4 s and 2.0 GB of memory"),
    ],
)
def test_large_work_says_what_it_takes_and_shows_how_far_it_is(
    capsys: pytest.CaptureFixture[str], seconds: float, memory_bytes: int, line: str
) -> None:
    with show_large_work("step") as listener:
        run(seconds, memory_bytes=memory_bytes)(listener)
    first, *others = capsys.readouterr().err.splitlines()
    assert first == line
    assert others[0].startswith("work ")
    assert others[-1].startswith("work 10/10")


def test_work_that_turns_out_to_be_slow_is_announced_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown: list[Progress] = []
    listener = LargeWork("step", lambda: shown.append)
    listener(Progress("work", 2, 100, skipped=0, seconds=0.1))
    listener(Progress("work", 4, 100, skipped=0, seconds=2.0))
    listener(Progress("work", 6, 100, skipped=0, seconds=3.0))
    assert capsys.readouterr().err == "100 steps: about 50 s\n"
    assert [state.completed for state in shown] == [4, 6]


def test_work_that_is_nearly_over_is_not_announced(capsys: pytest.CaptureFixture[str]) -> None:
    listener = LargeWork("step", lambda: lambda _: None)
    listener(Progress("work", 95, 100, skipped=0, seconds=11.0))
    assert capsys.readouterr().err == ""


def test_a_slow_first_item_makes_no_large_work(capsys: pytest.CaptureFixture[str]) -> None:
    with show_large_work("step") as listener:
        listener(Progress("work", 0, 20, skipped=0, seconds=0.0))
        listener(Progress("work", 1, 20, skipped=0, seconds=2.0))
        listener(Progress("work", 20, 20, skipped=0, seconds=4.0))
    assert capsys.readouterr().err == ""


def test_an_error_of_the_work_passes_through() -> None:
    def fail() -> None:
        with show_large_work("step") as listener:
            run(100)(listener)
            raise RetroscopeError("broken")

    with pytest.raises(RetroscopeError, match="broken"):
        fail()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder: a network and an image."""
    (tmp_path / "nets.py").write_text(CLASSIFIER, "utf-8")
    picture().save(tmp_path / "cat.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "case",
    [
        (["occlusion", "nets.py:tiny", "cat.png", "--size", "4", "--stride", "2"], " positions: "),
        (["explain", "nets.py:tiny", "cat.png"], " projections: "),
        (["synthesize", "nets.py:tiny", "conv2:1", "--steps", "12"], "12 steps: "),
    ],
)
def test_commands_announce_large_work_and_leave_no_half_file(
    desk: Path, monkeypatch: pytest.MonkeyPatch, retroscope: Retroscope, case: tuple[list[str], str]
) -> None:
    words, line = case
    assert "about" not in retroscope(*words, "-o", "little.png").err
    monkeypatch.setattr(progress_bar, "LARGE_SECONDS", 0.0)
    said = retroscope(*words, "-o", "large.png")
    assert said.status == 0
    assert f"{line}about " in said.err
    assert f"\n{words[0]} " in said.err
    files = sorted(path.name for path in desk.iterdir())

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress_bar.ProgressLines, "__call__", stop)
    stopped = retroscope(*words, "-o", "stopped.png")
    assert stopped.status == 130
    assert sorted(path.name for path in desk.iterdir()) == files
