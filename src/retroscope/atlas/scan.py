"""The main job: one pass over the pictures, then the winners, all into one atlas."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from retroscope.atlas.illustrate import illustrate_winners, keep_pictures, ranks_of
from retroscope.atlas.keeping import finish, kept_sweeps, sweep_state
from retroscope.atlas.loading import Loaded, default_workers, load
from retroscope.atlas.passing import empty_sweeps, fitting_batch, swept
from retroscope.atlas.plan import Plan, chosen, refuse_change, refuse_less_than_one
from retroscope.atlas.progress import Progress, Watch, silent
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.sources import Dataset, pictures
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import ImageError
from retroscope.network import Network
from retroscope.sweep.summary import Scratch
from retroscope.sweep.sweep import Sweep

CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 20.0, 0.01


def scan(
    net: Network,
    images: str | Path | Dataset,
    *,
    to: str | Path,
    layers: Sequence[str] = ("conv",),
    top: int = 9,
    labels: str | Path | None = None,
    glob: str | None = None,
    illustrate: str | int | bool = "all",
    batch_size: int | None = None,
    workers: int | None = None,
    restart: bool = False,
    progress: Callable[[Progress], None] = silent,
) -> Atlas:
    """Finds for every channel of the layers the pictures that excite it most.

    `images` is a folder, whose sub-folders are classes, a text file of paths, or a data set.
    `layers` takes names, aliases, globs and kinds. `illustrate` is `all`, `none`, or how many hits
    of each channel get a projection. Interrupted, the same call goes on where it was.
    """
    refuse_less_than_one(top=top, batch_size=batch_size, workers=workers)
    listed = pictures(images, glob=glob, labels=labels)
    picked = chosen(net.layers, layers, net)
    ranks = ranks_of(illustrate)
    plan = Plan(net, listed, picked, top, batch_size or fitting_batch(net, picked))
    workers = workers or default_workers()
    with AtlasWriter(to, restart=restart) as writer:
        if "state" not in writer.meta:  # new, or left before the scan was put down
            _begin(writer, plan)
        else:
            refuse_change(writer.meta, plan.facts(), str(to))
        _sweep(writer, plan, workers, progress)
        keep_pictures(writer, net, listed, workers=workers, progress=progress)
        illustrate_winners(writer, plan.net, listed, ranks=ranks, progress=progress)
    return open_atlas(to)


def _begin(writer: AtlasWriter, plan: Plan) -> None:
    with writer.transaction():
        facts = {**plan.facts(), "batch_size": plan.batch_size, "state": "scanning"}
        writer.put_meta({**facts, "next": 0, "readable": 0})
        writer.put_layers(plan.layers)
        writer.put_images(plan.pictures.keys, plan.pictures.labels, plan.pictures.names)


@dataclass
class _Running:
    """Where the pass is: what is gathered, and what has not been kept yet."""

    sweeps: dict[int, Sweep]
    number: int
    readable: int
    read: list[int] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)
    why: str = ""
    kept_at: float = field(default_factory=perf_counter)
    price: float = 0.0


def _sweep(
    writer: AtlasWriter, plan: Plan, workers: int, progress: Callable[[Progress], None]
) -> None:
    if writer.meta["state"] != "scanning":
        return
    running = _resumed(writer, plan)
    size, count = int(str(writer.meta["batch_size"])), len(plan.pictures.keys)
    batches = (range(at, min(at + size, count)) for at in range(running.number, count, size))
    watch = Watch("scan", count, progress, done=running.number)
    scratch = Scratch()
    for loaded in load(plan.net, plan.pictures, batches, workers=workers):
        _take(plan, running, loaded, scratch)
        watch.at(running.number)
        if _is_time(running):
            _checkpoint(writer, running)
    _checkpoint(writer, running)
    _finish(writer, plan, running)


def _resumed(writer: AtlasWriter, plan: Plan) -> _Running:
    empty = empty_sweeps(plan.net, plan.layers, top=plan.top, classes=len(plan.pictures.names))
    sweeps = kept_sweeps(writer.state(), empty, plan.net.device)
    meta = writer.meta
    return _Running(sweeps, int(str(meta["next"])), int(str(meta["readable"])))


def _take(plan: Plan, running: _Running, loaded: Loaded, scratch: Scratch) -> None:
    if loaded.images:
        running.sweeps = swept(
            plan.net,
            running.sweeps,
            loaded.images,
            numbers=loaded.numbers,
            labels=[plan.pictures.labels[number] for number in loaded.numbers],
            scratch=scratch,
        )
    running.why = running.why or next((why for _, why in loaded.failed), "")
    running.readable += len(loaded.numbers)
    running.read += loaded.numbers
    running.failed += loaded.failed
    running.number += len(loaded.numbers) + len(loaded.failed)


def _is_time(running: _Running) -> bool:
    """Often enough to lose little, seldom enough to cost under a hundredth."""
    waited = perf_counter() - running.kept_at
    return waited > max(CHECKPOINT_SECONDS, running.price / CHECKPOINT_SHARE)


def _checkpoint(writer: AtlasWriter, running: _Running) -> None:
    start = perf_counter()
    with writer.transaction():
        _keep_statuses(writer, running)
        writer.put_state(sweep_state(running.sweeps))
        writer.put_meta({"next": running.number, "readable": running.readable})
    running.kept_at = perf_counter()
    running.price = running.kept_at - start


def _keep_statuses(writer: AtlasWriter, running: _Running) -> None:
    writer.mark_read(running.read)
    for number, why in running.failed:
        writer.mark_unreadable(number, why)
    running.read, running.failed = [], []


def _finish(writer: AtlasWriter, plan: Plan, running: _Running) -> None:
    if running.readable == 0:
        writer.discard()
        raise ImageError(f"none of the {running.number} images can be read; {running.why}")
    with writer.transaction():
        for layer in plan.layers:
            finish(writer, layer, running.sweeps[layer.index], len(plan.pictures.names))
        writer.clear_state()
        writer.put_meta({"state": "scanned"})
    writer.compact()
