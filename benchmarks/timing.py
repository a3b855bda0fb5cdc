"""Two programs timed in turn, and the machine that they ran on."""

import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from statistics import median
from time import perf_counter

import torch

Program = Callable[[], object]


def seconds(program: Program) -> float:
    """How long one run takes, the device's queue emptied."""
    start = perf_counter()
    program()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter() - start


def in_turn(*programs: Program, rounds: int = 5) -> list[list[float]]:
    """The times of each program: A B A B ..., after a warm-up of each."""
    for program in programs:
        seconds(program)
    times: list[list[float]] = [[] for _ in programs]
    for _ in range(rounds):
        for own, program in zip(times, programs, strict=True):
            own.append(seconds(program))
    return times


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """The median of the ratios of runs that stood side by side."""
    return median(a / b for a, b in zip(numerator, denominator, strict=True))


def machine(*packages: str) -> str:
    """The machine and the versions, in one line."""
    where = "cpu"
    if torch.cuda.is_available():
        where = torch.cuda.get_device_name()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *packages))
    return (
        f"{platform.machine()}, {where}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, {versions}"
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
