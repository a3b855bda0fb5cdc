"""Runs of the `retroscope` command in processes of their own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from urllib.request import urlopen

COMMAND = (sys.executable, "-m", "retroscope.cli")


def time_command(*arguments: str, folder: Path) -> float:
    """The seconds of a command from its start to its end; raises if it fails."""
    start = perf_counter()
    subprocess.run([*COMMAND, *arguments], cwd=folder, check=True, capture_output=True)
    return perf_counter() - start


@contextmanager
def serve(atlas: Path) -> Iterator[str]:
    """The address of a server of an atlas, which is stopped at the end."""
    command = [*COMMAND, "serve", str(atlas), "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the server of {atlas} has ended")
            yield line.split()[0]
        finally:
            process.terminate()


def fetch(address: str) -> bytes:
    """The body of an address of a local server; raises if it is not found."""
    with urlopen(address, timeout=60) as response:  # noqa: S310 - a server of our own
        body: bytes = response.read()
    return body


def time_fetch(*addresses: str) -> float:
    """The seconds in which a local server answers these addresses, one after another."""
    start = perf_counter()
    for address in addresses:
        fetch(address)
    return perf_counter() - start
