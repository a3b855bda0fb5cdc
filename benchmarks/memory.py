"""The peak memory of a scan, and of one of ten times the images."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import retroscope as rs
from benchmarks.noise import NoiseImages
from benchmarks.timing import at_most, describe_machine, markdown_table

TARGET = 5


@dataclass(frozen=True)
class Sizes:
    """How much is measured: a few images, and many."""

    model: str = "squeezenet1_1"
    images: tuple[int, int] = (100, 1000)
    pixels: int = 224


FULL, TINY = Sizes(), Sizes("demo", (4, 8), pixels=48)


def report(sizes: Sizes = FULL) -> str:
    """The table, in Markdown."""
    small, large = (peak_memory(sizes, count) for count in sizes.images)
    growth = 100 * (large / small - 1)
    row = [
        sizes.model,
        f"{small:.0f}",
        f"{large:.0f}",
        f"{growth:+.1f} %",
        at_most(TARGET, growth, " %"),
    ]
    few, many = sizes.images
    header = ("model", f"MB, {few} images", f"MB, {many} images", "growth", "target")
    return "\n\n".join(
        (
            "# Peak memory of a scan",
            describe_machine("torchvision"),
            markdown_table(header, [row]),
            "The peak resident memory of a process that scans noise images, without projections.",
        )
    )


def peak_memory(sizes: Sizes, count: int) -> float:
    """The peak memory of a scan in megabytes, in a separate process."""
    call = f"scan_noise({sizes.model!r}, {count}, {sizes.pixels})"
    program = f"from benchmarks.memory import scan_noise; print({call})"
    process = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return float(process.stdout)


def scan_noise(model: str, count: int, pixels: int) -> float:
    """Scan noise images; return the process's peak memory in megabytes."""
    net = rs.open_model(model, random_weights=0, input_size=pixels)
    images = NoiseImages(count, pixels)
    with TemporaryDirectory() as folder:
        rs.scan(net, images, to=f"{folder}/noise.atlas", projections=False).close()
    return _peak()


def _peak() -> float:
    """In megabytes; `getrusage` would include that of the parent process."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
