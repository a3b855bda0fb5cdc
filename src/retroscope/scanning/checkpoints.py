"""A pass that can be interrupted: checkpoints in the atlas hold all that it has accumulated."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter, sleep

import torch

from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.atlas.schema import ScanState
from retroscope.atlas.writer import AtlasWriter
from retroscope.engine.isolation import preserve_state
from retroscope.network import Network
from retroscope.progress import ProgressListener, ProgressReporter
from retroscope.results.layers import Layer
from retroscope.scanning.image_files import refuse_changed_contents
from retroscope.scanning.loading import LoadedBatch, load_batches
from retroscope.scanning.one_pass import LayerSweeps, sweep_batch
from retroscope.scanning.persist import pack_sweeps, restore_sweeps
from retroscope.scanning.plan import stored_count
from retroscope.scanning.sources import ImageList
from retroscope.scanning.statistics.plain_summary import Scratch
from retroscope.scanning.winners import WinnerStore

CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 20.0, 0.01
_TURN_SECONDS, _PAUSE_SECONDS = 1.0, 0.001


@dataclass(frozen=True, eq=False)
class ScanPass:
    """Images of a list, by their indices, through a network; `stage` names the pass.

    `is_second`: an earlier pass has counted its images.
    """

    stage: str
    net: Network
    layers: Sequence[Layer]
    image_list: ImageList
    indices: Sequence[int]
    top: int
    batch_size: int
    classes: int = 0
    track_positions: bool = True
    is_second: bool = False

    @property
    def has_final_rankings(self) -> bool:
        """Whether its hits are those of the atlas; otherwise they are candidates."""
        return self.track_positions


@dataclass(frozen=True, eq=False)
class PassState:
    """How far a pass has come: of `processed` images, the first `saved` are in a checkpoint.

    It is replaced whole, so that a Ctrl-C finds a batch either all in it or not at all.
    """

    sweeps: LayerSweeps
    processed: int
    readable: int
    saved: int
    failures: tuple[tuple[int, str], ...] = ()
    """Images that cannot be read, and why, since the last checkpoint."""
    files: tuple[ImageFileRow, ...] = ()
    """Those of images that have been read since the last checkpoint."""
    first_error: str = ""
    saved_at: float = field(default_factory=perf_counter)
    checkpoint_seconds: float = 0.0


def run_pass(
    writer: AtlasWriter,
    scan_pass: ScanPass,
    *,
    workers: int,
    progress: ProgressListener,
    finish: Callable[[LayerSweeps], None] | None = None,
) -> PassState:
    """Runs a pass from its last checkpoint to its end. However it ends, the state is saved.

    `finish` writes what the atlas is to hold instead of the state, if an image could be read.
    """
    state = resume_pass(writer, scan_pass)
    total, count = len(scan_pass.indices), len(scan_pass.image_list.keys)
    reporter = ProgressReporter(scan_pass.stage, total, progress, completed=state.processed)
    scratch = Scratch()
    with WinnerStore(writer, count, workers=workers) as winners:
        try:
            with _take_turns(scan_pass.net.module) as end_turn:
                for batch in _load_remaining(scan_pass, state, workers=workers):
                    refuse_changed_contents(writer, scan_pass.image_list, batch.files)
                    state = _add_batch(scan_pass, state, batch, scratch=scratch)
                    if scan_pass.has_final_rankings:
                        winners.add(batch, state.sweeps.sweep)
                    reporter.update(state.processed)
                    if _is_checkpoint_due(state):
                        state = _save(writer, scan_pass, state, winners=winners)
                    end_turn()
            if finish is not None and state.readable:
                winners.flush(state.sweeps.sweep)
                with writer.transaction():
                    _record_images(writer, scan_pass, state)
                    finish(state.sweeps)
        finally:
            state = _save(writer, scan_pass, state, winners=winners)
    return state


def _load_remaining(
    scan_pass: ScanPass, state: PassState, *, workers: int
) -> Iterator[LoadedBatch]:
    indices, size = scan_pass.indices, scan_pass.batch_size
    starts = range(state.processed, len(indices), size)
    batches = (indices[start : start + size] for start in starts)
    return load_batches(scan_pass.net, scan_pass.image_list, batches, workers=workers)


@contextmanager
def _take_turns(module: torch.nn.Module) -> Iterator[Callable[[], None]]:
    """Runs the network in turns: a call ends a turn that is long enough and starts the next.

    Other threads run their networks in between. Preserving the state for each batch would cost
    some milliseconds.
    """
    with ExitStack() as turn:
        turn.enter_context(preserve_state(module))
        started_at = perf_counter()

        def end_turn() -> None:
            nonlocal started_at
            if perf_counter() - started_at > _TURN_SECONDS:
                turn.close()
                sleep(_PAUSE_SECONDS)
                turn.enter_context(preserve_state(module))
                started_at = perf_counter()

        yield end_turn


def resume_pass(writer: AtlasWriter, scan_pass: ScanPass) -> PassState:
    """The state in the last checkpoint."""
    empty = LayerSweeps.empty(
        scan_pass.net,
        scan_pass.layers,
        top=scan_pass.top,
        classes=scan_pass.classes,
        track_positions=scan_pass.track_positions,
    )
    sweeps = restore_sweeps(
        writer.state(), empty, stage=scan_pass.stage, device=scan_pass.net.device
    )
    meta = writer.meta
    processed = stored_count(meta, "next")
    return PassState(sweeps, processed, stored_count(meta, "readable"), saved=processed)


def _add_batch(
    scan_pass: ScanPass, state: PassState, batch: LoadedBatch, *, scratch: Scratch
) -> PassState:
    sweeps, labels = state.sweeps, scan_pass.image_list.labels
    if batch.images:
        sweeps = sweep_batch(
            scan_pass.net,
            sweeps,
            batch.images,
            indices=batch.indices,
            labels=[labels[index] if scan_pass.classes else -1 for index in batch.indices],
            scratch=scratch,
        )
    return replace(
        state,
        sweeps=sweeps,
        processed=state.processed + len(batch.indices) + len(batch.failures),
        readable=state.readable + (0 if scan_pass.is_second else len(batch.indices)),
        failures=(*state.failures, *batch.failures),
        files=(*state.files, *batch.files),
        first_error=state.first_error or next((reason for _, reason in batch.failures), ""),
    )


def _is_checkpoint_due(state: PassState) -> bool:
    """Often enough to lose little, seldom enough to cost less than 1 % of the time."""
    elapsed = perf_counter() - state.saved_at
    return elapsed > max(CHECKPOINT_SECONDS, state.checkpoint_seconds / CHECKPOINT_SHARE)


def _save(
    writer: AtlasWriter, scan_pass: ScanPass, state: PassState, *, winners: WinnerStore
) -> PassState:
    """Saves the images among the hits, then the state. Images that are missing are read again."""
    try:
        winners.flush(state.sweeps.sweep)
    finally:
        state = write_checkpoint(writer, scan_pass, state)
    return state


def write_checkpoint(writer: AtlasWriter, scan_pass: ScanPass, state: PassState) -> PassState:
    """Saves the state in one transaction, unless it is saved already or the scan is finished."""
    if state.saved == state.processed or ScanState(str(writer.meta["state"])).is_finished:
        return state
    start = perf_counter()
    with writer.transaction():
        _record_images(writer, scan_pass, state)
        writer.put_state(pack_sweeps(state.sweeps, stage=scan_pass.stage))
    now = perf_counter()
    return replace(
        state,
        saved=state.processed,
        failures=(),
        files=(),
        saved_at=now,
        checkpoint_seconds=now - start,
    )


def _record_images(writer: AtlasWriter, scan_pass: ScanPass, state: PassState) -> None:
    """Records how far the pass has come, and what became of the images since it was saved."""
    unreadable = dict(state.failures)
    indices = scan_pass.indices[state.saved : state.processed]
    writer.mark_read(index for index in indices if index not in unreadable)
    for index, reason in state.failures:
        writer.mark_unreadable(index, reason)
    writer.put_image_files(state.files)
    writer.put_meta({"next": state.processed, "readable": state.readable})
