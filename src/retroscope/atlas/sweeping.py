"""A pass that can be interrupted: what it gathers is put into the atlas now and then."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from retroscope.atlas.keeping import kept, sweep_state
from retroscope.atlas.loading import Loaded, load
from retroscope.atlas.passing import Gathered, swept
from retroscope.atlas.progress import Listener, Watch
from retroscope.atlas.sources import Pictures
from retroscope.atlas.writer import AtlasWriter
from retroscope.engine import undisturbed
from retroscope.network import Network
from retroscope.results import Layer
from retroscope.sweep.summary import Scratch

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


@dataclass
class Running:
    """Where a pass is: what is gathered, and what has not been kept yet."""

    gathered: Gathered
    done: int
    readable: int
    read: list[int] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)
    why: str = ""
    kept_at: float = field(default_factory=perf_counter)
    price: float = 0.0


def run_pass(writer: AtlasWriter, one: Pass, *, workers: int, progress: Listener) -> Running:
    """Runs a pass, or what is left of it, to its end."""
    running, count, size = resumed(writer, one), len(one.numbers), one.batch_size
    batches = (one.numbers[at : at + size] for at in range(running.done, count, size))
    watch = Watch(one.stage, count, progress, done=running.done)
    scratch = Scratch()
    with undisturbed(one.net.module):
        for loaded in load(one.net, one.listed, batches, workers=workers):
            _take(one, running, loaded, scratch)
            watch.at(running.done)
            if _is_time(running):
                checkpoint(writer, one, running)
    checkpoint(writer, one, running)
    return running


def resumed(writer: AtlasWriter, one: Pass) -> Running:
    """Where the pass was left."""
    empty = Gathered.empty(one.net, one.layers, top=one.top, classes=one.classes, places=one.places)
    meta = writer.meta
    gathered = kept(writer.state(), empty, stage=one.stage, device=one.net.device)
    return Running(gathered, int(str(meta["next"])), int(str(meta["readable"])))


def _take(one: Pass, running: Running, loaded: Loaded, scratch: Scratch) -> None:
    if loaded.images:
        running.gathered = swept(
            one.net,
            running.gathered,
            loaded.images,
            numbers=loaded.numbers,
            labels=[one.listed.labels[number] if one.classes else -1 for number in loaded.numbers],
            scratch=scratch,
        )
    running.why = running.why or next((why for _, why in loaded.failed), "")
    running.readable += len(loaded.numbers)
    running.read += loaded.numbers
    running.failed += loaded.failed
    running.done += len(loaded.numbers) + len(loaded.failed)


def _is_time(running: Running) -> bool:
    """Often enough to lose little, seldom enough to cost under a hundredth."""
    waited = perf_counter() - running.kept_at
    return waited > max(CHECKPOINT_SECONDS, running.price / CHECKPOINT_SHARE)


def checkpoint(writer: AtlasWriter, one: Pass, running: Running) -> None:
    """Keeps all that is gathered, in one transaction."""
    start = perf_counter()
    with writer.transaction():
        _keep_statuses(writer, running)
        writer.put_state(sweep_state(running.gathered, stage=one.stage))
        writer.put_meta({"next": running.done, "readable": running.readable})
    running.kept_at = perf_counter()
    running.price = running.kept_at - start


def _keep_statuses(writer: AtlasWriter, running: Running) -> None:
    writer.mark_read(running.read)
    for number, why in running.failed:
        writer.mark_unreadable(number, why)
    running.read, running.failed = [], []
