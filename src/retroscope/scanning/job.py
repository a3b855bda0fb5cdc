"""The main job: one pass over the images, then the projections of the hits, all into one atlas."""

from collections.abc import Sequence
from functools import partial
from math import inf
from pathlib import Path
from time import perf_counter

from retroscope.argument_types import check_arguments
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.schema import Json, ScanState
from retroscope.atlas.writer import AtlasWriter
from retroscope.engine.layer_graph import layer_graph
from retroscope.errors import ImageError, RetroscopeError
from retroscope.network import AnyNetwork, as_network
from retroscope.progress import ProgressListener, ignore_progress
from retroscope.scanning.checkpoints import resume_pass, run_pass
from retroscope.scanning.class_ranking_request import ClassRankingRequest
from retroscope.scanning.distributed.scan_on_workers import DistributedScan
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.illustrate import (
    RanksOption,
    parse_ranks,
    project_hits,
    store_winning_images,
    time_for_projections,
)
from retroscope.scanning.image_files import refuse_changed_files
from retroscope.scanning.image_pass import ScanPass
from retroscope.scanning.layer_choice import scan_layers
from retroscope.scanning.loading import default_workers
from retroscope.scanning.one_pass import LayerSweeps, choose_batch_size
from retroscope.scanning.persist import checkpoint_format, write_sweeps
from retroscope.scanning.plan import (
    ScanPlan,
    refuse_less_than_one,
    refuse_unsuitable_network,
    source_facts,
    stored_count,
)
from retroscope.scanning.precision import (
    Precision,
    candidate_count,
    candidate_images,
    refuse_slow_precision,
    to_bfloat16,
)
from retroscope.scanning.sources import ImageSource
from retroscope.scanning.sources.paired_images import OtherSources
from retroscope.scanning.sources.scan_source import ScanSource


@check_arguments
def scan(
    net: AnyNetwork,
    images: ImageSource,
    *,
    to: str | Path,
    inputs: OtherSources | None = None,
    layers: str | Sequence[str] | None = None,
    top: int = 9,
    per_class: int | None = None,
    ranked_classes: str | Sequence[str] | None = None,
    labels: str | Path | None = None,
    class_folder: str | None = None,
    classes: bool = True,
    glob: str | None = None,
    projections: RanksOption = "auto",
    precision: str = "full",
    batch_size: int | None = None,
    workers: int | None = None,
    on: str | WorkerOptions | None = None,
    gpus_per_worker: float | None = None,
    restart: bool = False,
    progress: ProgressListener = ignore_progress,
) -> Atlas:
    """Finds the images that excite each channel of the layers most.

    `images` is a folder, whose sub-folders are classes, a text file of paths, a list of paths, an
    archive (tar, zip or Parquet, several as in `train-{000..146}.tar`), a URL of any of these, a
    data set of the Hub as `hf:NAME:SPLIT`, or a data set of torch. Where the sub-folders have
    sub-folders, `class_folder` is the one that is the class: `first`, `last`, or `all`, which joins
    them; by default `first`. `labels` is a CSV file of paths and classes instead. With
    `classes=False`, the atlas has the classes of the images, but no statistics of them: with
    thousands of classes, these take most of the memory.

    `inputs` says where the other inputs of a network of several are, by their names: in a folder of
    files that are called as the images, or in a CSV file whose first column names the images.

    `layers` takes names, aliases, globs and kinds; a string may list several. By default, each
    convolution is ranked by its output that goes on: after its norm and its rectifier, unless
    something else reads the output in between.

    `per_class` images of each class are ranked for each channel, too; of all classes, or of those
    that `ranked_classes` names, by a label or one of its synonyms; a text may list several. What
    that takes grows with the classes: a large one is refused.

    `projections` selects the hits of each channel that get a projection: `all`, `max` (those by
    maximum), `none`, or how many. `auto` projects the best hit of every channel, then the second,
    and so on, for three times as long as the pass took, but at least for two minutes. With
    `precision` bf16, a copy of the network in bfloat16 finds candidates, which are then scored in
    full; it is refused on a device that has no bf16 instructions. If it is interrupted, the same
    call resumes it.

    `on` scans on several workers: `processes`, `ray`, or the `ray://HOST:PORT` of a cluster. Then
    `workers` is their number and not that of threads, and each has so many `gpus_per_worker`. They
    share the work by a plan, in a folder beside the atlas until that is finished, and give the
    atlas that one process would have given.
    """
    net = as_network(net).for_batches
    pass_precision = Precision.parse(precision)
    refuse_slow_precision(pass_precision, net.device)
    refuse_unsuitable_network(net)
    refuse_less_than_one(top=top, per_class=per_class, batch_size=batch_size, workers=workers)
    class_rankings = ClassRankingRequest.parse(per_class, ranked_classes, classes=classes)
    source = ScanSource(images, glob, labels, class_folder, inputs)
    if on is not None:
        distributed = DistributedScan(
            net,
            source,
            Path(to),
            WorkerOptions.parse(on, workers=workers, gpus_per_worker=gpus_per_worker),
            layers=layers,
            top=top,
            class_rankings=class_rankings,
            classes=classes,
            precision=precision,
            batch_size=batch_size,
        )
        return distributed.run(ranks=parse_ranks(projections), restart=restart, progress=progress)
    image_list = source.list_images(net)
    chosen_layers = scan_layers(net, layers)
    ranks = parse_ranks(projections)
    plan = ScanPlan(
        net,
        image_list,
        chosen_layers,
        top,
        batch_size=batch_size or choose_batch_size(net, chosen_layers),
        precision=pass_precision,
        classes_wanted=classes,
        class_rankings=class_rankings.resolve(image_list.class_names),
    )
    plan.refuse_too_large()
    workers = workers or default_workers()
    with AtlasWriter(to, restart=restart) as writer:
        _start_or_resume(writer, plan, source=source_facts(images, glob, inputs))
        start = perf_counter()
        _run_passes(writer, plan, workers=workers, progress=progress)
        max_seconds = time_for_projections(perf_counter() - start) if ranks.is_timed else inf
        store_winning_images(writer, net, image_list, workers=workers, progress=progress)
        project_hits(
            writer,
            net,
            image_list,
            ranks=ranks,
            max_seconds=max_seconds,
            workers=workers,
            progress=progress,
        )
    return open_atlas(to)


def _start_or_resume(writer: AtlasWriter, plan: ScanPlan, *, source: dict[str, Json]) -> None:
    meta = writer.meta
    if "state" not in meta:  # a new file, or one left before the scan was recorded
        _record_plan(writer, plan, source=source)
        return
    plan.refuse_change(meta, str(writer.path))
    unfinished = not ScanState(str(meta["state"])).is_finished
    if unfinished and meta.get("checkpoint") != checkpoint_format():
        raise RetroscopeError(
            f"{str(writer.path)!r} holds an unfinished scan of another version of retroscope "
            f"({meta.get('version')}), which this version cannot resume; scan to another file, or "
            "start over with restart",
            parameter="restart",
        )
    refuse_changed_files(writer, plan.image_list, range(len(plan.image_list.keys)))


def _record_plan(writer: AtlasWriter, plan: ScanPlan, *, source: dict[str, Json]) -> None:
    with writer.transaction():
        facts = {
            **plan.facts(),
            **source,
            "batch_size": plan.batch_size,
            "checkpoint": checkpoint_format(),
        }
        writer.put_meta({**facts, "state": ScanState.SCANNING, "next": 0, "readable": 0})
        writer.put_layers(plan.layers)
        writer.put_graph(layer_graph(plan.net.survey(), plan.layers))
        images = plan.image_list
        writer.put_images(images.keys, images.labels, images.class_names)


def _run_passes(
    writer: AtlasWriter, plan: ScanPlan, *, workers: int, progress: ProgressListener
) -> None:
    """All images once; after a pass in bfloat16, the candidates again in full precision."""
    state = ScanState(str(writer.meta["state"]))
    if state.is_finished:
        return
    run = partial(run_pass, workers=workers, progress=progress)
    finish = partial(_put_results, writer, plan)
    first_pass, is_full = _first_pass(writer, plan), plan.precision == Precision.FULL
    if state == ScanState.SCANNING:
        pass_state = run(writer, first_pass, finish=finish if is_full else None)
        _refuse_no_image(writer, pass_state.readable, pass_state.first_error)
        if not is_full:
            with writer.transaction():
                writer.put_meta({"state": ScanState.SCORING, "next": 0})
    else:
        pass_state = resume_pass(writer, first_pass)
    if not is_full:
        sweeps = pass_state.sweeps

        def finish_with_exact_rankings(exact: LayerSweeps) -> None:
            finish(sweeps.with_sweep(sweeps.sweep.with_exact_rankings(exact.sweep)))

        run(writer, _exact_pass(writer, plan, sweeps), finish=finish_with_exact_rankings)
    writer.compact()


def _refuse_no_image(writer: AtlasWriter, readable: int, reason: str) -> None:
    """A scan that could read no image leaves no file."""
    if readable == 0:
        writer.discard()
        raise ImageError(f"none of the images can be read; {reason}")


def _first_pass(writer: AtlasWriter, plan: ScanPlan) -> ScanPass:
    is_full, count = plan.precision == Precision.FULL, len(plan.image_list.keys)
    top, per_class = plan.max_hits, plan.class_rankings.per_class
    if not is_full:
        top, per_class = min(candidate_count(top), count), candidate_count(per_class)
    return ScanPass(
        "scan",
        plan.net if is_full else to_bfloat16(plan.net),
        plan.layers,
        plan.image_list,
        range(count),
        top=top,
        batch_size=stored_count(writer.meta, "batch_size"),
        with_classes=plan.with_classes,
        per_class=per_class,
        ranked_labels=plan.ranked_labels,
        track_positions=is_full,
    )


def _exact_pass(writer: AtlasWriter, plan: ScanPlan, sweeps: LayerSweeps) -> ScanPass:
    return ScanPass(
        "score again",
        plan.net,
        plan.layers,
        plan.image_list,
        candidate_images(sweeps),
        top=plan.max_hits,
        batch_size=stored_count(writer.meta, "batch_size"),
        per_class=plan.class_rankings.per_class,
        ranked_labels=plan.ranked_labels,
        is_second=True,
    )


def _put_results(writer: AtlasWriter, plan: ScanPlan, sweeps: LayerSweeps) -> None:
    """Puts what readers look for in place of what only a resumed scan needs."""
    class_names = plan.image_list.class_names if plan.with_classes else ()
    write_sweeps(
        writer,
        plan.layers,
        sweeps,
        class_names=class_names,
        ranked_labels=plan.ranked_labels,
    )
    writer.delete_images_without_hits()
    writer.clear_state()
    writer.delete_meta("checkpoint", "next")
    writer.put_meta({"state": ScanState.SCANNED})
