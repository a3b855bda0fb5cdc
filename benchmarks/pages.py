"""How fast the viewer answers, for an atlas of ResNet-50's 26,560 channels."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import retroscope as rs
from benchmarks.commands import serve, time_fetch
from benchmarks.synthetic_atlas import write_atlas
from benchmarks.timing import at_most, describe_machine, format_milliseconds, markdown_table
from retroscope.results.layers import Layer
from retroscope.scanning.layer_choice import scan_layers
from retroscope.web.site.site import Site, open_site
from retroscope.web.site.urls import url_for

WITH_CLASSES = "page of a unit with eight classes"
ROWS = {
    "first page": None,
    "page of a unit": 10,
    WITH_CLASSES: None,
    "plate of a unit": None,
    "layer": 600,
}
"""Each row, and its target in milliseconds, if it has one."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    model: str = "resnet50"
    images: int = 500
    pixels: int = 224
    units: int = 25
    per_class: int = 9


FULL, TINY = Sizes(), Sizes("demo", images=12, pixels=48, units=2)


def report(sizes: Sizes = FULL) -> str:
    """The table, in Markdown."""
    layers = scan_layers(rs.open_model(sizes.model, random_weights=0, input_size=sizes.pixels))
    largest = max(layer.channels for layer in layers)
    with TemporaryDirectory() as folder:
        plain, ranked = Path(folder) / "plain.atlas", Path(folder) / "ranked.atlas"
        for path, per_class in ((plain, 0), (ranked, sizes.per_class)):
            write_atlas(
                path,
                layers,
                images=sizes.images,
                pixels=sizes.pixels,
                projected_ranks=0,
                per_class=per_class,
            )
        times = _measure(plain, layers, sizes.units)
        times[WITH_CLASSES] = _measure(ranked, layers, sizes.units)["page of a unit"]
    rows = [
        [_describe(row, largest), *_cells(times[row]), _judge(target, times[row])]
        for row, target in ROWS.items()
    ]
    channels = sum(layer.channels for layer in layers)
    header = ("what", "times", "median, ms", "slowest, ms", "target of the median")
    return "\n\n".join(
        (
            f"# The viewer, an atlas of {channels:,} channels",
            describe_machine("starlette", "uvicorn"),
            markdown_table(header, rows),
            "`retroscope serve` in a process of its own, asked over HTTP; a browser takes further "
            "time to draw. The first page is counted from the start of the command. Every unit "
            "and layer is asked for once; a layer is its page and the file of its columns. The "
            "atlas is synthetic. The page of a unit has rows of the middle and the least, as after "
            "a default scan; after `scan --per-class` also of the eight best classes.",
        )
    )


def _describe(row: str, largest: int) -> str:
    return f"layer of {largest:,} channels" if row == "layer" else row


def _cells(times: list[float]) -> list[object]:
    return [len(times), format_milliseconds(times), f"{max(times) * 1e3:.1f}"]


def _judge(target: float | None, times: list[float]) -> str:
    return "" if target is None else at_most(target, median(times) * 1e3, " ms")


def _measure(path: Path, layers: list[Layer], units: int) -> dict[str, list[float]]:
    """The seconds of each kind of answer."""
    start = perf_counter()
    with serve(path) as address, open_site(path) as site:
        time_fetch(address)
        first = perf_counter() - start
        chosen = [layers[number * (len(layers) - 1) // units] for number in range(units)]
        pages = [_unit_url(site, "unit", layer) for layer in chosen]
        plates = [
            _unit_url(site, "plate", layer, ranked_by="max", kind="patches") for layer in chosen
        ]
        largest = max(layer.channels for layer in layers)
        wide = [layer for layer in layers if layer.channels == largest]
        parts = [
            [f"{address}{url_for(site, name, layer=layer.name)}" for name in _LAYER_PARTS]
            for layer in wide
        ]
        return {
            "first page": [first],
            "page of a unit": [time_fetch(f"{address}{page}") for page in pages],
            "plate of a unit": [time_fetch(f"{address}{plate}") for plate in plates],
            "layer": [time_fetch(*addresses) for addresses in parts],
        }


_LAYER_PARTS = ("layer", "layer_columns")


def _unit_url(site: Site, name: str, layer: Layer, **values: str) -> str:
    return url_for(site, name, layer=layer.name, channel=layer.channels // 2, **values)
