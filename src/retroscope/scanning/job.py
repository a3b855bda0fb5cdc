"""The main job: one pass over the pictures, then the winners, all into one atlas."""

from collections.abc import Callable, Sequence
from pathlib import Path

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.schema import Json
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import ImageError
from retroscope.network import Network
from retroscope.progress import Progress, silent
from retroscope.scanning.checkpoints import Pass, resumed, run_pass
from retroscope.scanning.illustrate import illustrate_winners, keep_pictures, ranks_of
from retroscope.scanning.loading import default_workers
from retroscope.scanning.one_pass import Gathered, fitting_batch
from retroscope.scanning.persist import finish
from retroscope.scanning.plan import (
    Plan,
    chosen,
    known_precision,
    named_layers,
    refuse_change,
    refuse_less_than_one,
    refuse_too_many_hits,
)
from retroscope.scanning.precision import candidates, narrowed, to_score_again
from retroscope.scanning.sources import Source, pictures


def scan(
    net: Network,
    images: Source,
    *,
    to: str | Path,
    layers: str | Sequence[str] = ("conv",),
    top: int = 9,
    labels: str | Path | None = None,
    glob: str | None = None,
    illustrate: str | int | bool = "all",
    precision: str = "full",
    batch_size: int | None = None,
    workers: int | None = None,
    restart: bool = False,
    progress: Callable[[Progress], None] = silent,
) -> Atlas:
    """Finds for every channel of the layers the pictures that excite it most.

    `images` is a folder, whose sub-folders are classes, a text file of paths, a list of paths, or
    a data set. `layers` takes names, aliases, globs and kinds; in a string, with commas between.
    `illustrate` is `all`, `max` (the hits by maximum), `none`, or how many hits of each channel
    get a projection. `precision` bf16 sweeps a copy of the network in narrow numbers, and scores
    the candidates again in full. Interrupted, the same call goes on where it was.
    """
    refuse_less_than_one(top=top, batch_size=batch_size, workers=workers)
    listed = pictures(images, glob=glob, labels=labels)
    picked = chosen(net.layers, named_layers(layers), net)
    refuse_too_many_hits(min(top, len(listed.keys)), picked)
    ranks = ranks_of(illustrate)
    size = batch_size or fitting_batch(net, picked)
    plan = Plan(net, listed, picked, top, batch_size=size, precision=known_precision(precision))
    workers = workers or default_workers()
    with AtlasWriter(to, restart=restart) as writer:
        if "state" not in writer.meta:  # new, or left before the scan was put down
            _begin(writer, plan, named=_named(images, glob))
        else:
            refuse_change(writer.meta, plan.facts(), str(to))
        _sweep(writer, plan, workers=workers, progress=progress)
        keep_pictures(writer, net, listed, workers=workers, progress=progress)
        illustrate_winners(writer, plan.net, listed, ranks=ranks, progress=progress)
    return open_atlas(to)


def _named(images: Source, glob: str | None) -> dict[str, Json]:
    """Where the images are, so that they can be found again; a list or a data set is nowhere."""
    return {"source": str(images), "glob": glob} if isinstance(images, str | Path) else {}


def _begin(writer: AtlasWriter, plan: Plan, *, named: dict[str, Json]) -> None:
    with writer.transaction():
        facts = {**plan.facts(), **named, "batch_size": plan.batch_size, "state": "scanning"}
        writer.put_meta({**facts, "next": 0, "readable": 0})
        writer.put_layers(plan.layers)
        writer.put_images(plan.pictures.keys, plan.pictures.labels, plan.pictures.names)


def _sweep(
    writer: AtlasWriter, plan: Plan, *, workers: int, progress: Callable[[Progress], None]
) -> None:
    """All pictures once; where that was in narrow numbers, the candidates once more."""
    state = writer.meta["state"]
    if state not in ("scanning", "scoring"):
        return
    narrow = plan.precision != "full"
    first = _all_pictures(writer, plan, narrow=narrow)
    if state == "scanning":
        running = run_pass(writer, first, workers=workers, progress=progress)
        if running.readable == 0:
            writer.discard()
            why = f"none of the {running.done} images can be read; {running.why}"
            raise ImageError(why)
        gathered = running.gathered
        if narrow:
            with writer.transaction():
                writer.put_meta({"state": "scoring", "next": 0})
    else:
        gathered = resumed(writer, first).gathered
    if narrow:
        again = _candidates(writer, plan, gathered)
        exact = run_pass(writer, again, workers=workers, progress=progress).gathered
        gathered = gathered.with_sweep(gathered.sweep.ranked_by(exact.sweep))
    _finish(writer, plan, gathered)


def _all_pictures(writer: AtlasWriter, plan: Plan, *, narrow: bool) -> Pass:
    top = candidates(plan.most) if narrow else plan.most
    return Pass(
        "scan",
        narrowed(plan.net) if narrow else plan.net,
        plan.layers,
        plan.pictures,
        range(len(plan.pictures.keys)),
        top=min(top, len(plan.pictures.keys)),
        batch_size=int(str(writer.meta["batch_size"])),
        classes=len(plan.pictures.names),
        places=not narrow,
    )


def _candidates(writer: AtlasWriter, plan: Plan, gathered: Gathered) -> Pass:
    return Pass(
        "score again",
        plan.net,
        plan.layers,
        plan.pictures,
        to_score_again(gathered),
        top=plan.most,
        batch_size=int(str(writer.meta["batch_size"])),
    )


def _finish(writer: AtlasWriter, plan: Plan, gathered: Gathered) -> None:
    with writer.transaction():
        for layer in plan.layers:
            finish(writer, layer, gathered.of(layer.index), len(plan.pictures.names))
        writer.clear_state()
        writer.put_meta({"state": "scanned"})
    writer.compact()
