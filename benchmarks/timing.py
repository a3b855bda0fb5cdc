"""Times programs in alternation, describes the machine, and compares numbers with targets."""

import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep

import torch

from retroscope import __version__
from retroscope.scanning.precision import has_bf16_instructions

Program = Callable[[], object]

NOT_INSTALLED, NOT_MEASURED = "not installed", "not measured"
CLOCK_VARIABLE = "RETROSCOPE_BENCHMARK_CLOCK"
"""Set to `process`, it makes `seconds` read processor time; `--process-time` sets it."""
_EXTENSIONS = ("avx512_bf16", "avx512_fp16", "avx512_vnni", "amx_bf16", "amx_fp16")
"""Of the processor, beyond what torch's name for its kernels says."""


def uses_process_time() -> bool:
    """Whether processor time of all threads is measured, in place of elapsed time."""
    return os.environ.get(CLOCK_VARIABLE) == "process"


def synchronize() -> None:
    """Waits for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(program: Program) -> float:
    """The seconds of one run, with the GPU synchronised before and after."""
    clock = process_time if uses_process_time() else perf_counter
    synchronize()
    start = clock()
    program()
    synchronize()
    return clock() - start


def time_alternating(*programs: Program | None, rounds: int = 5) -> list[list[float]]:
    """The seconds of each run, in the order A B A B ..., after a warm-up run of each program.

    A program that is None, because it is not installed, has no times.
    """
    for program in programs:
        if program is not None:
            seconds(program)
    times: list[list[float]] = [[] for _ in programs]
    for _ in range(rounds):
        for program_times, program in zip(times, programs, strict=True):
            if program is not None:
                program_times.append(seconds(program))
    return times


def if_installed(module: str, program: Program) -> Program | None:
    """The program, or None if the module that it imports is not installed."""
    return program if find_spec(module) is not None else None


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """The median ratio of adjacent runs."""
    return median(a / b for a, b in zip(numerator, denominator, strict=True))


def ratio_if_timed(numerator: Sequence[float], denominator: Sequence[float]) -> float | None:
    """The median ratio of adjacent runs; None if one of the programs is not installed."""
    return median_ratio(numerator, denominator) if numerator and denominator else None


def format_milliseconds(times: Sequence[float], digits: int = 1) -> str:
    """The median of some seconds in milliseconds; `not installed` if there is none."""
    return f"{median(times) * 1e3:.{digits}f}" if times else NOT_INSTALLED


def format_factor(factor: float | None) -> str:
    """A factor with three digits or so; `not installed` if there is none.

    >>> format_factor(6546.2), format_factor(11.73), format_factor(1.1249), format_factor(None)
    ('6546', '11.7', '1.12', 'not installed')
    """
    if factor is None:
        return NOT_INSTALLED
    return f"{factor:.{0 if factor >= 100 else 1 if factor >= 10 else 2}f}"


def at_most(limit: float, value: float | None, unit: str = "") -> str:
    """The cell of a target that a number should not exceed.

    >>> at_most(1.12, 1.08), at_most(3, 3.2, " s"), at_most(1.12, None)
    ('at most 1.12: met', 'at most 3 s: missed', 'at most 1.12: not measured')
    """
    verdict = NOT_MEASURED if value is None else "met" if value <= limit else "missed"
    return f"at most {limit:,g}{unit}: {verdict}"


def at_least(limit: float, value: float | None, unit: str = "") -> str:
    """The cell of a target that a number should reach.

    >>> at_least(4, 4.3), at_least(99.9, 99.5, " %")
    ('at least 4: met', 'at least 99.9 %: missed')
    """
    verdict = NOT_MEASURED if value is None else "met" if value >= limit else "missed"
    return f"at least {limit:,g}{unit}: {verdict}"


def instruction_set() -> str:
    """The instructions that torch uses on this processor, and whether it computes in bfloat16."""
    name = torch.backends.cpu.get_cpu_capability()
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    names = [name, *(extension for extension in _EXTENSIONS if flags.get(extension))]
    has_bf16 = has_bf16_instructions(torch.device("cpu"))
    return f"{' '.join(names)} ({'' if has_bf16 else 'no '}bf16 instructions)"


def share_of_other_work(seconds: float = 1.0) -> float | None:
    """The share of the processors that other programs keep busy; None where Linux does not say."""
    statistics = Path("/proc/stat")
    if not statistics.exists():
        return None

    def read() -> list[int]:
        return [int(ticks) for ticks in statistics.read_text().split("\n", 1)[0].split()[1:9]]

    before = read()
    sleep(seconds)
    ticks = [end - start for start, end in zip(before, read(), strict=True)]
    idle = ticks[3] + ticks[4]  # idle, and waiting for a disk
    return 1 - idle / max(sum(ticks), 1)


def version(package: str) -> str:
    """The version of a package that may not be installed."""
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return NOT_INSTALLED


def describe_machine(*packages: str) -> str:
    """The machine, its instructions and threads, and package versions, in one line."""
    device = "no GPU"
    if torch.cuda.is_available():
        device = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *packages))
    clock = "; processor time of all threads" if uses_process_time() else ""
    processors = f"threads of torch: {torch.get_num_threads()}, processors: {os.cpu_count()}"
    return (
        f"{platform.machine()}, {instruction_set()}, {device}, {processors}, "
        f"Python {platform.python_version()}, retroscope {__version__}, {versions}{clock}"
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format a table in Markdown."""
    assert all(len(row) == len(header) for row in rows), "each row has a cell for each column"
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
