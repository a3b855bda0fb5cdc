"""A pass that can be interrupted: what it gathers is put into the atlas now and then."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

from retroscope.atlas.writer import AtlasWriter
from retroscope.engine.intercept import undisturbed
from retroscope.network import Network
from retroscope.progress import Listener, Watch
from retroscope.results.values import Layer
from retroscope.scanning.loading import Loaded, load
from retroscope.scanning.one_pass import Gathered, swept
from retroscope.scanning.persist import kept, sweep_state
from retroscope.scanning.sources import Pictures
from retroscope.scanning.statistics.summary import Scratch

CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 20.0, 0.01


@dataclass(frozen=True, eq=False)
class Pass:
    """Pictures of these numbers through a network; `stage` names it in the atlas and to people."""

    stage: str
    net: Network
    layers: Sequence[Layer]
    listed: Pictures
    numbers: Sequence[int]
    top: int
    batch_size: int
    classes: int = 0
    places: bool = True


@dataclass(frozen=True, eq=False)
class Running:
    """Where a pass is: what is gathered, and since which picture nothing has been kept.

    It is replaced whole: a Ctrl-C finds a batch either all in it or not at all.
    """

    gathered: Gathered
    done: int
    readable: int
    kept: int
    failed: tuple[tuple[int, str], ...] = ()
    why: str = ""
    kept_at: float = field(default_factory=perf_counter)
    price: float = 0.0


def run_pass(writer: AtlasWriter, one: Pass, *, workers: int, progress: Listener) -> Running:
    """Runs a pass, or what is left of it, to its end. However it ends, what it gathered is kept."""
    running, count, size = resumed(writer, one), len(one.numbers), one.batch_size
    batches = (one.numbers[at : at + size] for at in range(running.done, count, size))
    watch = Watch(one.stage, count, progress, done=running.done)
    scratch = Scratch()
    try:
        with undisturbed(one.net.module):
            for loaded in load(one.net, one.listed, batches, workers=workers):
                running = _taken(one, running, loaded, scratch)
                watch.at(running.done)
                if _is_time(running):
                    running = checkpoint(writer, one, running)
    finally:
        running = checkpoint(writer, one, running)
    return running


def resumed(writer: AtlasWriter, one: Pass) -> Running:
    """Where the pass was left."""
    empty = Gathered.empty(one.net, one.layers, top=one.top, classes=one.classes, places=one.places)
    meta = writer.meta
    gathered = kept(writer.state(), empty, stage=one.stage, device=one.net.device)
    done = int(str(meta["next"]))
    return Running(gathered, done, int(str(meta["readable"])), kept=done)


def _taken(one: Pass, running: Running, loaded: Loaded, scratch: Scratch) -> Running:
    """With one batch more."""
    gathered = running.gathered
    if loaded.images:
        gathered = swept(
            one.net,
            gathered,
            loaded.images,
            numbers=loaded.numbers,
            labels=[one.listed.labels[number] if one.classes else -1 for number in loaded.numbers],
            scratch=scratch,
        )
    return replace(
        running,
        gathered=gathered,
        done=running.done + len(loaded.numbers) + len(loaded.failed),
        readable=running.readable + len(loaded.numbers),
        failed=(*running.failed, *loaded.failed),
        why=running.why or next((why for _, why in loaded.failed), ""),
    )


def _is_time(running: Running) -> bool:
    """Often enough to lose little, seldom enough to cost under a hundredth."""
    waited = perf_counter() - running.kept_at
    return waited > max(CHECKPOINT_SECONDS, running.price / CHECKPOINT_SHARE)


def checkpoint(writer: AtlasWriter, one: Pass, running: Running) -> Running:
    """Keeps all that is gathered, in one transaction, where that is not kept yet."""
    if running.kept == running.done:
        return running
    start = perf_counter()
    with writer.transaction():
        _keep_statuses(writer, one.numbers[running.kept : running.done], running.failed)
        writer.put_state(sweep_state(running.gathered, stage=one.stage))
        writer.put_meta({"next": running.done, "readable": running.readable})
    now = perf_counter()
    return replace(running, kept=running.done, failed=(), kept_at=now, price=now - start)


def _keep_statuses(
    writer: AtlasWriter, numbers: Sequence[int], failed: Sequence[tuple[int, str]]
) -> None:
    broken = dict(failed)
    writer.mark_read(number for number in numbers if number not in broken)
    for number, why in failed:
        writer.mark_unreadable(number, why)
