"""What a scan is expected to take, in words."""

from typing import TYPE_CHECKING

from retroscope.cli.options import add_option
from retroscope.cli.progress_bar import format_duration

if TYPE_CHECKING:
    from retroscope.cli.scan_commands import ScanOptions
    from retroscope.network import Network
    from retroscope.scanning.estimate import ScanEstimate

_MANY_CLASS_BYTES = 100_000_000
"""So much memory for the statistics of classes is worth a line before the scan."""


def describe_estimate(net: "Network", images: str, options: "ScanOptions") -> str:
    """What may surprise in the list of images, and what the scan will take, in a line each."""
    from rich.filesize import decimal

    from retroscope.render.captions import count_noun
    from retroscope.scanning.estimate import estimate_scan
    from retroscope.scanning.illustrate import parse_ranks as ranks_of
    from retroscope.scanning.layer_choice import scan_layers
    from retroscope.scanning.sources import list_images

    layers = scan_layers(net, options.layers or None)
    image_list = list_images(
        images, glob=options.glob, labels=options.labels, class_folder=options.class_folder
    )
    estimate = estimate_scan(
        net,
        layers,
        image_list,
        top=options.top,
        ranks=ranks_of(options.projections),
        precision=options.precision,
        classes=options.classes,
        workers=options.workers,
    )
    counts = (
        count_noun(estimate.images, "image"),
        count_noun(len(layers), "layer"),
        count_noun(estimate.channels, "channel"),
    )
    projecting = describe_projections(estimate)
    remarks = [add_option(note.text, note.parameter) for note in image_list.notes]
    if estimate.class_bytes > _MANY_CLASS_BYTES:
        price = (
            f"the statistics of {count_noun(estimate.classes, 'class', 'classes')} take up to "
            f"{decimal(estimate.class_bytes)} of the memory and can be left out"
        )
        remarks.append(add_option(price, "classes"))
    line = (
        f"{', '.join(counts)}: about {format_duration(estimate.pass_seconds)} for the pass and "
        f"{projecting}, {decimal(estimate.memory_bytes)} of memory for statistics "
        f"and {decimal(estimate.disk_bytes)} on disk"
    )
    return "\n".join([*remarks, line])


def describe_projections(estimate: "ScanEstimate") -> str:
    """How long the projections take, and if they stop earlier, how long all of them would."""
    from retroscope.render.captions import count_noun

    if not estimate.projections:
        return "no projections"
    limit = f"up to {count_noun(estimate.projections, 'projection')}"
    seconds, stops_after = estimate.projection_seconds, estimate.max_projection_seconds
    if seconds <= stops_after:
        return f"{format_duration(seconds)} for {limit}"
    return (
        f"{format_duration(stops_after)} for the best of {limit}, which would all take "
        f"{format_duration(seconds)}"
    )
