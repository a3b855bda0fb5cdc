"""A pass that can be interrupted: checkpoints in the atlas hold all that it has accumulated."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from time import perf_counter

from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.atlas.schema import ScanState
from retroscope.atlas.writer import AtlasWriter
from retroscope.progress import ProgressListener, ProgressReporter
from retroscope.scanning.image_files import refuse_changed_contents
from retroscope.scanning.image_pass import ScanPass, run_batches
from retroscope.scanning.loading import LoadedBatch
from retroscope.scanning.one_pass import LayerSweeps
from retroscope.scanning.persist import pack_sweeps, restore_sweeps
from retroscope.scanning.plan import stored_count
from retroscope.scanning.winners import WinnerStore

CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 20.0, 0.01


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
    with WinnerStore(writer, count, workers=workers) as winners:
        try:
            batches = run_batches(
                scan_pass, state.sweeps, processed=state.processed, workers=workers
            )
            with closing(batches):
                for batch, sweeps in batches:
                    refuse_changed_contents(writer, scan_pass.image_list, batch.files)
                    state = _count_batch(scan_pass, state, batch, sweeps=sweeps)
                    if scan_pass.has_final_rankings:
                        labels = scan_pass.ranked_labels_of(batch)
                        winners.add(batch, state.sweeps.sweep, labels)
                    reporter.update(state.processed)
                    if _is_checkpoint_due(state):
                        state = _save(writer, scan_pass, state, winners=winners)
            if finish is not None and state.readable:
                winners.flush(state.sweeps.sweep)
                with writer.transaction():
                    _record_images(writer, scan_pass, state)
                    finish(state.sweeps)
        finally:
            state = _save(writer, scan_pass, state, winners=winners)
    return state


def resume_pass(writer: AtlasWriter, scan_pass: ScanPass) -> PassState:
    """The state in the last checkpoint."""
    empty = scan_pass.empty_sweeps()
    sweeps = restore_sweeps(
        writer.state(), empty, stage=scan_pass.stage, device=scan_pass.net.device
    )
    meta = writer.meta
    processed = stored_count(meta, "next")
    return PassState(sweeps, processed, stored_count(meta, "readable"), saved=processed)


def _count_batch(
    scan_pass: ScanPass, state: PassState, batch: LoadedBatch, *, sweeps: LayerSweeps
) -> PassState:
    """The state after a batch, which is in the sweeps."""
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
