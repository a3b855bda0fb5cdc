"""The second pass of a whole atlas with default settings, against the sweep of the same images.

By default a scan projects for three times as long as its sweep took, at least for two minutes, the
best hit of every channel first.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import retroscope as rs
from benchmarks.noise import NoiseImages
from benchmarks.timing import at_most, describe_machine, markdown_table
from retroscope.atlas.writer import AtlasWriter
from retroscope.progress import Progress
from retroscope.scanning.freed_memory import keep_freed_memory
from retroscope.scanning.illustrate import time_for_projections

SWEEP = "scan"


@dataclass(frozen=True)
class Sizes:
    """How much is measured. `projections` is the option of a scan."""

    model: str = "resnet50"
    images: int = 64
    pixels: int = 224
    projections: str = "auto"


FULL, TINY = Sizes(), Sizes("demo", images=3, pixels=48, projections="1")


class StageTimes:
    """A progress listener that notes when each stage of a scan starts and how far it comes."""

    def __init__(self) -> None:
        self._starts: dict[str, float] = {}
        self.last: dict[str, Progress] = {}

    def __call__(self, progress: Progress) -> None:
        self._starts.setdefault(progress.stage, perf_counter())
        self.last[progress.stage] = progress

    def seconds_from(self, stage: str, end: float) -> float:
        """The seconds from the start of a stage to a time."""
        return end - self._starts[stage]


def report(sizes: Sizes = FULL) -> str:
    """The tables, in Markdown."""
    keep_freed_memory()
    net = rs.open_model(sizes.model, random_weights=0, input_size=sizes.pixels)
    images, stages = NoiseImages(sizes.images, sizes.pixels), StageTimes()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "noise.atlas"
        options = {"projections": sizes.projections, "progress": stages}
        rs.scan(net, images, to=path, **options).close()  # type: ignore[arg-type]
        end = perf_counter()
        coverage = _report_coverage(path)
    first_of_second = next(stage for stage in stages.last if stage != SWEEP)
    second = stages.seconds_from(first_of_second, end)
    sweep = stages.seconds_from(SWEEP, end) - second
    limit = time_for_projections(sweep)
    projected = stages.last["illustrate"]
    row = [
        *(net.name, sizes.images, f"{sweep:.1f}", f"{second:.1f}"),
        f"{projected.completed:,} of {projected.total:,}",
        f"{projected.completed / second:.1f}",
        at_most(round(limit, 1), second, " s"),
    ]
    header = (
        *("model", "images", "sweep, s", "second pass, s"),
        *("projections", "projections/s", "target"),
    )
    return "\n\n".join(
        (
            "# The second pass of a scan, default settings, float32",
            describe_machine("torchvision"),
            markdown_table(header, [row]),
            "One run, of noise images. The target is three times the sweep or two minutes, "
            "whichever is longer. The sweep includes writing its results.",
            coverage,
        )
    )


def _report_coverage(path: Path) -> str:
    """How many hits of each rank have a projection: the best of every channel come first."""
    with rs.open_atlas(path) as atlas:
        channels = [len(atlas.hits(unit)) for unit in atlas]
        rules = atlas.rules
    with AtlasWriter(path) as writer:
        missing = list(writer.missing_projections(rules=rules))
    rows = []
    for rank in range(max(channels, default=0)):
        total = sum(count > rank for count in channels)
        left = sum(hit.score is not None and hit.rank == rank for hit in missing)
        rows.append([rank + 1, f"{total - left:,} of {total:,}", f"{1 - left / total:.1%}"])
    return markdown_table(("rank by maximum", "hits with a projection", "share"), rows)
