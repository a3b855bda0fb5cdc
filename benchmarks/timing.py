"""Time programs in alternation, and describe the machine."""

import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from statistics import median
from time import perf_counter

import torch

Program = Callable[[], object]


def seconds(program: Program) -> float:
    """The seconds of one run, with the GPU synchronised."""
    start = perf_counter()
    program()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter() - start


def time_alternating(*programs: Program, rounds: int = 5) -> list[list[float]]:
    """The seconds of each run, in the order A B A B ..., after a warm-up run of each program."""
    for program in programs:
        seconds(program)
    times: list[list[float]] = [[] for _ in programs]
    for _ in range(rounds):
        for program_times, program in zip(times, programs, strict=True):
            program_times.append(seconds(program))
    return times


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """The median ratio of adjacent runs."""
    return median(a / b for a, b in zip(numerator, denominator, strict=True))


def describe_machine(*packages: str) -> str:
    """The machine and package versions, in one line."""
    device = "cpu"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *packages))
    return (
        f"{platform.machine()}, {device}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, {versions}"
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
