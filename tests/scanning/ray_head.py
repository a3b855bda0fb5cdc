"""A Ray that runs by itself, as on a cluster, for all tests of a process."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from tests.scanning.runners.drivers import ROOT, is_alive, wait_for_end

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
_NO_FORK_HANDLERS = {"GRPC_ENABLE_FORK_SUPPORT": "0"}
"""Ray's server for clients forks while gRPC is at work, whose handlers now and then end the child.
"""


@dataclass(frozen=True)
class RayHead:
    """Where a Ray listens: to its own workers, and to clients."""

    port: int
    client_port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def client_address(self) -> str:
        return f"ray://127.0.0.1:{self.client_port}"


@contextmanager
def start_head(*, cpus: int) -> Iterator[RayHead]:
    """Starts one, and ends it; fails if a process of it is left."""
    head = RayHead(free_port(), free_port())
    ray = str(Path(sys.executable).with_name("ray"))
    process = subprocess.Popen(
        [ray, "start", "--head", "--block", f"--port={head.port}", f"--num-cpus={cpus}",
         f"--ray-client-server-port={head.client_port}", "--include-dashboard=false",
         "--object-store-memory=100000000"],
        env={**os.environ, **QUIET, **_NO_FORK_HANDLERS},
        stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "--block" in line:
            break
    wait_for_port(head.client_port)
    family = [process.pid, *filter(ends_with_its_parent, descendants(process.pid))]
    try:
        yield head
    finally:
        process.terminate()
        process.communicate(timeout=30)
        wait_for_end(family)


def ends_with_its_parent(process: int) -> bool:
    """Ray's agents take a minute to notice that their parent is gone; they end then."""
    return b"Agent" not in Path(f"/proc/{process}/cmdline").read_bytes()


def descendants(process: int) -> list[int]:
    """The processes that it has started, and those that they have."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    numbers = [int(child) for child in children]
    return numbers + [
        grandchild for child in numbers if is_alive(child) for grandchild in descendants(child)
    ]


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Waits until somebody listens."""
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        sleep(0.1)
