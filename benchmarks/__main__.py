"""Runs a benchmark: `python -m benchmarks NAME` prints a table and writes `results/NAME.md`."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch

from benchmarks.timing import CLOCK_VARIABLE, share_of_other_work

RESULTS = Path(__file__).parent / "results"
ALL = "all"
QUIET = 0.05
"""Up to this share of the processors busy with other work, times are taken to be undisturbed."""


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark measures, and about how long it takes on two processors with AVX2."""

    summary: str
    minutes: float
    needs_gpu: bool = False


BENCHMARKS = {
    "cam": Benchmark("Grad-CAM of a batch of eight; pytorch-grad-cam and the bare forward", 1.5),
    "deconv": Benchmark("projections of units of VGG16; captum and the limit of the machine", 1),
    "decoding": Benchmark("image files read and decoded a second; the rate of networks", 2),
    "deep": Benchmark("projections of deep units of ResNet-50; the bare forward", 3),
    "export": Benchmark("files and bytes of the exported site of 26,560 channels", 6),
    "gpu": Benchmark("equality with the processor, sweeps, projections, reading", 8, True),
    "illustrate": Benchmark("second pass of an atlas of ResNet-50, default settings; its sweep", 3),
    "memory": Benchmark("peak memory of a scan of ten times the images", 1),
    "occlusion": Benchmark("occlusion map of VGG16; captum", 8),
    "pages": Benchmark("pages of the viewer for an atlas of 26,560 channels", 1),
    "scale": Benchmark("scans on workers, with kills; a driver's memory; a simulation", 9),
    "scan": Benchmark("sweep of every convolution; the bare forward, bfloat16, zennit-crp", 4),
    "startup": Benchmark("commands from their start, and the demo to its first page", 4),
    "synthesis": Benchmark("steps of patterns of VGG16; torch-lucent; a whole pattern", 3),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks named on the command line; without a name, list them."""
    options = _parser().parse_args(arguments)
    if options.process_time:
        os.environ[CLOCK_VARIABLE] = "process"
    match options.name:
        case None:
            print(list_benchmarks())
        case "all":
            _run_all(sys.argv[1:] if arguments is None else arguments)
        case name:
            _run(name, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument(
        "name", nargs="?", choices=[*BENCHMARKS, ALL], metavar="NAME", help="default: list them"
    )
    parser.add_argument(
        "--tiny", action="store_true", help="check that it runs, on sizes that measure nothing"
    )
    parser.add_argument(
        "--process-time",
        action="store_true",
        help="measure processor time, for a machine with other work; writes no result",
    )
    parser.add_argument(
        "--device", default="cuda", help="of gpu alone: cuda, or cpu to check that it runs"
    )
    return parser


def list_benchmarks() -> str:
    """A line for each benchmark: its name, about how long it takes, and what it measures."""
    lines = [
        f"{name:11}{entry.minutes:>4g} min  {'on a GPU: ' * entry.needs_gpu}{entry.summary}"
        for name, entry in BENCHMARKS.items()
    ]
    total = sum(entry.minutes for entry in BENCHMARKS.values())
    return "\n".join([*lines, f"{ALL:11}{total:>4g} min  one after another"])


def _run(name: str, options: argparse.Namespace) -> None:
    load = share_of_other_work()
    if load is not None and load > QUIET:
        print(f"other programs take {load:.0%} of the processors: times are noise", file=sys.stderr)
    module = import_module(f"benchmarks.{name}")
    is_trial = options.tiny or (name == "gpu" and options.device == "cpu")
    if is_trial and not hasattr(module, "TINY"):
        sys.exit(f"{name} has no tiny sizes; run it without --tiny")
    sizes = (module.TINY,) if is_trial else ()
    device = {"device": options.device} if name == "gpu" else {}
    note = "unknown" if load is None else f"{load:.0%} of the processors"
    report = f"{module.report(*sizes, **device)}\nOther work on the machine before: {note}.\n"
    if is_trial or options.process_time:
        why = "tiny sizes measure nothing" if is_trial else "processor time"
        print(f"{report}\nNo result is written: {why}.")
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(report)
    print(report)


def _run_all(arguments: Sequence[str]) -> None:
    """Each benchmark in a process of its own: memory and threads are those of a fresh start."""
    options = [argument for argument in arguments if argument != ALL]
    failed = []
    for name, entry in BENCHMARKS.items():
        if entry.needs_gpu and not torch.cuda.is_available():
            print(f"== {name}: left out, torch finds no CUDA device", flush=True)
            continue
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", "benchmarks", name, *options]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
