"""What a scan is expected to take, in words."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from retroscope.cli.options import add_option
from retroscope.cli.progress_bar import format_duration

if TYPE_CHECKING:
    from retroscope.cli.scan_commands import ScanOptions
    from retroscope.network import Network
    from retroscope.results.layers import Layer
    from retroscope.scanning.distributed.worker_options import WorkerOptions
    from retroscope.scanning.estimate import ScanEstimate
    from retroscope.scanning.sources import ImageList
    from retroscope.scanning.sources.paired_images import OtherSources
    from retroscope.scanning.sources.sample import SourceSample

_MANY_CLASS_BYTES = 100_000_000
"""So much memory for the statistics of classes is worth a line before the scan."""


def describe_estimate(
    net: "Network",
    images: str,
    options: "ScanOptions",
    *,
    on: "WorkerOptions | None" = None,
    inputs: "OtherSources | None" = None,
) -> str:
    """What may surprise in the list of images, and what the scan will take, in a line each."""
    from retroscope.render.captions import count_noun
    from retroscope.scanning.layer_choice import scan_layers
    from retroscope.scanning.sources.paired_images import pair_images
    from retroscope.scanning.sources.sample import sample_source
    from retroscope.scanning.sources.scan_source import ScanSource

    layers = scan_layers(net, options.layers or None)
    counts = [
        count_noun(len(layers), "layer"),
        count_noun(sum(layer.channels for layer in layers), "channel"),
    ]
    source = ScanSource(images, options.glob, options.labels, options.class_folder, inputs)
    if on is None:
        image_list = source.list_images(net)
        count = len(image_list.keys)
        counts.insert(0, count_noun(count, "image"))
    else:
        sample = sample_source(source.list_shards(net))
        if sample.images is not None:
            sample = replace(sample, images=pair_images(net, sample.images, inputs))
        counts.insert(0, _count_images(sample))
        if sample.images is None or not sample.count:
            return ", ".join(counts)
        image_list, count = sample.images, sample.count
    estimate = _estimate(net, layers, image_list, options=options, on=on, images=count)
    remarks = [add_option(note.text, note.parameter) for note in image_list.notes]
    remarks += [*_describe_classes(estimate), *_describe_class_rankings(estimate)]
    return "\n".join([*remarks, f"{', '.join(counts)}: {_describe_costs(net, estimate, on)}"])


def _count_images(sample: "SourceSample") -> str:
    from retroscope.render.captions import count_noun

    shards = count_noun(sample.shards, "shard")
    if not sample.count:
        return shards
    images = count_noun(sample.count, "image")
    return images if sample.is_exact else f"about {images}, {shards}"


def _estimate(
    net: "Network",
    layers: "Sequence[Layer]",
    image_list: "ImageList",
    *,
    options: "ScanOptions",
    on: "WorkerOptions | None",
    images: int,
) -> "ScanEstimate":
    """For one process, or for the workers of this machine, with the threads that each has."""
    import torch

    from retroscope.scanning.class_ranking_request import ClassRankingRequest
    from retroscope.scanning.estimate import estimate_scan
    from retroscope.scanning.illustrate import parse_ranks as ranks_of
    from retroscope.scanning.lots.sweep_plan import use_threads

    threads = on.choose_threads(net.device) if on else torch.get_num_threads()
    with use_threads(threads):
        return estimate_scan(
            net,
            layers,
            image_list,
            top=options.top,
            ranks=ranks_of(options.projections),
            precision=options.precision,
            classes=options.classes,
            class_rankings=ClassRankingRequest.parse(
                options.per_class, options.ranked_classes or None, classes=options.classes
            ),
            workers=None if on else options.workers,
            processes=(on.count(net.device, threads) or 1) if on else 1,
            images=images,
        )


def _describe_classes(estimate: "ScanEstimate") -> list[str]:
    """That the statistics of many classes take much memory."""
    from rich.filesize import decimal

    from retroscope.render.captions import count_noun

    sizes = estimate.sizes
    if sizes.class_bytes <= _MANY_CLASS_BYTES:
        return []
    price = (
        f"the statistics of {count_noun(sizes.classes, 'class', 'classes')} take up to "
        f"{decimal(sizes.class_bytes)} of the memory and can be left out"
    )
    return [add_option(price, "classes")]


def _describe_class_rankings(estimate: "ScanEstimate") -> list[str]:
    """What the rankings by class take."""
    from rich.filesize import decimal

    from retroscope.render.captions import count_noun

    sizes = estimate.sizes
    if not sizes.class_hits:
        return []
    hits = count_noun(sizes.class_hits * sizes.channels, "hit")
    memory, disk = decimal(sizes.class_hit_bytes), decimal(sizes.class_hit_disk)
    return [
        f"the rankings by class have up to {hits}, which take {memory} of the memory and {disk} "
        "on disk"
    ]


def _describe_costs(net: "Network", estimate: "ScanEstimate", on: "WorkerOptions | None") -> str:
    from rich.filesize import decimal

    from retroscope.render.captions import count_noun

    workers = in_each = ""
    if on:
        count = on.count(net.device, on.choose_threads(net.device))
        workers = f" with {count_noun(count or 1, 'worker')}"
        in_each = " in each"
    return (
        f"about {format_duration(estimate.pass_seconds)} for the pass{workers} and "
        f"{describe_projections(estimate)}, {decimal(estimate.memory_bytes)} of memory for "
        f"statistics{in_each} and {decimal(estimate.disk_bytes)} on disk"
    )


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
