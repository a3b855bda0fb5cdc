"""Files and bytes of the exported site of an atlas of ResNet-50's 26,560 channels."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import retroscope as rs
from benchmarks.synthetic_atlas import write_atlas
from benchmarks.timing import at_most, describe_machine, markdown_table
from retroscope.scanning.layer_choice import scan_layers
from retroscope.web.export import estimate_size
from retroscope.web.site.routes import list_paths
from retroscope.web.site.site import open_site

TARGET = 10_000
MEGABYTE = 1e6


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    model: str = "resnet50"
    images: int = 500
    pixels: int = 224


FULL, TINY = Sizes(), Sizes("demo", images=12, pixels=48)


def report(sizes: Sizes = FULL) -> str:
    """The tables, in Markdown."""
    layers = scan_layers(rs.open_model(sizes.model, random_weights=0, input_size=sizes.pixels))
    channels = sum(layer.channels for layer in layers)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.atlas"
        write_atlas(path, layers, images=sizes.images, pixels=sizes.pixels)
        with open_site(path) as site:
            files, size = estimate_size(site)
            kinds = Counter(entry.partition("/")[0] for entry in list_paths(site))
        atlas_bytes = path.stat().st_size
    row = [
        *(f"{channels:,}", f"{sizes.images:,}", f"{atlas_bytes / MEGABYTE:.0f}"),
        *(f"{files:,}", f"{size / MEGABYTE:.0f}", f"{files / channels:.1f}"),
        at_most(TARGET, files, " files"),
    ]
    header = (
        *("channels", "images", "atlas, MB", "files", "site, MB", "files a channel"),
        "target",
    )
    return "\n\n".join(
        (
            "# The exported site of an atlas",
            describe_machine("pillow"),
            markdown_table(header, [row]),
            f"A synthetic atlas with the layers of {sizes.model}, smooth images of {sizes.pixels} "
            "px, and a projection of the best hits of every channel. The files are counted, their "
            "bytes extrapolated from a sample of each kind, as `retroscope export` announces them.",
            markdown_table(
                ("folder or file", "files"), [[name, f"{n:,}"] for name, n in kinds.most_common(8)]
            ),
        )
    )
