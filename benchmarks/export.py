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
from retroscope.web.site.export_files import FileForm, file_content, list_files
from retroscope.web.site.site import Site, open_site, pack_site
from retroscope.web.site.urls import url_for

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
            folders = _count_folders(site)
            opening = _bytes_of_unit(site)
        atlas_bytes = path.stat().st_size
    row = [
        *(f"{channels:,}", f"{sizes.images:,}", f"{atlas_bytes / MEGABYTE:.0f}"),
        *(f"{files:,}", f"{size / MEGABYTE:.0f}", f"{files / channels:.2f}"),
        f"{opening / MEGABYTE:.1f}",
        at_most(TARGET, files, " files"),
    ]
    header = (
        *("channels", "images", "atlas, MB", "files", "site, MB", "files a channel"),
        "page of a unit, MB",
        "target",
    )
    return "\n\n".join(
        (
            "# The exported site of an atlas",
            describe_machine("pillow"),
            markdown_table(header, [row]),
            f"A synthetic atlas with the layers of {sizes.model}, smooth images of {sizes.pixels} "
            "px, and a projection of the best hits of every channel. The files are counted, their "
            "bytes extrapolated from a sample of each kind, as `retroscope export` says. "
            "The page of a unit, in the widest layer, reads the packs that have the page, its "
            "projections and its lit patches, and nine images besides.",
            markdown_table(
                ("folder or file", "files"),
                [[name, f"{n:,}"] for name, n in folders.most_common(8)],
            ),
        )
    )


def _count_folders(site: Site) -> Counter[str]:
    """The files of each folder of the exported site."""
    return Counter(file.location.partition("/")[0] for file in list_files(pack_site(site)))


def _bytes_of_unit(site: Site) -> int:
    """What a browser reads of packs for the page of the first unit of the widest layer."""
    layer = max(site.atlas.layers, key=lambda layer: layer.channels)
    unit: dict[str, object] = {"layer": layer.name, "channel": 0}
    plates = (
        url_for(site, "plate", ranked_by="max", kind=kind, **unit)
        for kind in ("projections", "lit")
    )
    wanted = {url_for(site, "unit", **unit), *plates}
    return sum(
        len(file_content(file))
        for file in list_files(pack_site(site))
        if file.form is not FileForm.FACTS and not wanted.isdisjoint(file.members.values())
    )
