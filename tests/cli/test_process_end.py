"""How the console script's process ends: soon, with its status, and with nothing lost."""

import subprocess
import sys
from pathlib import Path

RUN = "import sys; from retroscope.cli import run; sys.argv = ['retroscope', *sys.argv[1:]]; run()"


def end_of(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_status_is_that_of_the_command() -> None:
    assert (end_of(RUN, "--version").returncode, end_of(RUN, "nosuch").returncode) == (0, 2)


def test_all_output_arrives_in_a_pipe() -> None:
    code = "import sys; sys.stdout.write('x' * 1_000_000);" + RUN
    result = end_of(code, "--version")
    assert result.stdout.startswith("x" * 1_000_000 + "retroscope")


def code_instead_of_command(statement: str) -> str:
    """The console script, with a statement in place of its commands."""
    return f"""
import atexit, sys, tempfile
import retroscope.cli

cli = sys.modules["retroscope.cli.main"]

class Object:
    def __del__(self):
        print("freed")

def command(**_options):
    {statement}

cli.main = command
cli.run()
"""


def run_instead_of_command(statement: str) -> subprocess.CompletedProcess[str]:
    return end_of(code_instead_of_command(statement))


def test_exit_handlers_run() -> None:
    result = run_instead_of_command("atexit.register(print, 'handled')")
    assert (result.stdout, result.returncode) == ("handled\n", 0)


def test_temporary_folders_are_removed(tmp_path: Path) -> None:
    """A folder that is still open, which only its exit handler removes."""
    statement = f"cli.folder = tempfile.TemporaryDirectory(dir={str(tmp_path)!r})"
    assert run_instead_of_command(statement).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_threads_end_first() -> None:
    statement = "from threading import Timer; Timer(0.3, print, ['ended']).start()"
    assert run_instead_of_command(statement).stdout == "ended\n"


def test_objects_are_not_freed_one_by_one() -> None:
    assert run_instead_of_command("cli.object = Object()").stdout == ""


def test_exit_handlers_from_before_run_too() -> None:
    """As those of a debugger: the end is an ordinary one, since ours would not come last."""
    code = "import atexit; atexit.register(print, 'handled');" + RUN
    assert end_of(code, "--version").stdout.endswith("handled\n")


def test_an_error_of_ours_shows_its_traceback() -> None:
    result = run_instead_of_command("1 / 0")
    assert result.returncode == 1
    assert "ZeroDivisionError" in result.stderr


def test_a_closed_pipe_is_no_error() -> None:
    """As in `retroscope layers vgg16 | head -1`."""
    code = code_instead_of_command("print('x' * 1_000_000)")
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
