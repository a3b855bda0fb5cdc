"""A pass over images: batch after batch is read, runs through the network and is swept."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter, sleep

import torch

from retroscope.engine.isolation import preserve_state
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.scanning.loading import LoadedBatch, load_batches
from retroscope.scanning.one_pass import LayerSweeps, sweep_batch
from retroscope.scanning.sources import ImageList
from retroscope.scanning.statistics.plain_summary import Scratch

_TURN_SECONDS, _PAUSE_SECONDS = 1.0, 0.001


@dataclass(frozen=True, eq=False)
class ScanPass:
    """Images of a list, by their indices, through a network; `stage` names the pass.

    `is_second`: an earlier pass has counted its images. In the sweeps, the number of an image is
    its index plus `first_number`.
    """

    stage: str
    net: Network
    layers: Sequence[Layer]
    image_list: ImageList
    indices: Sequence[int]
    top: int
    batch_size: int
    with_classes: bool = False
    track_positions: bool = True
    is_second: bool = False
    first_number: int = 0

    @property
    def has_final_rankings(self) -> bool:
        """Whether its hits are those of the atlas; otherwise they are candidates."""
        return self.track_positions


def run_batches(
    scan_pass: ScanPass, sweeps: LayerSweeps, *, processed: int = 0, workers: int
) -> Generator[tuple[LoadedBatch, LayerSweeps], None, None]:
    """Adds the images to the sweeps, but for those already `processed`.

    Yields each batch with the sweeps that contain it. Close it before its end if an error occurs.
    """
    scratch = Scratch()
    remaining = scan_pass.indices[processed:]
    batches = scan_pass.image_list.batches(remaining, scan_pass.batch_size)
    with _take_turns(scan_pass.net.module) as end_turn:
        for batch in load_batches(scan_pass.net, scan_pass.image_list, batches, workers=workers):
            sweeps = _add_batch(scan_pass, sweeps, batch, scratch=scratch)
            yield batch, sweeps
            end_turn()


def _add_batch(
    scan_pass: ScanPass, sweeps: LayerSweeps, batch: LoadedBatch, *, scratch: Scratch
) -> LayerSweeps:
    if not batch.images:
        return sweeps
    labels, first = scan_pass.image_list.labels, scan_pass.first_number
    return sweep_batch(
        scan_pass.net,
        sweeps,
        batch.images,
        indices=[first + index for index in batch.indices],
        labels=[labels[index] if scan_pass.with_classes else -1 for index in batch.indices],
        scratch=scratch,
    )


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
