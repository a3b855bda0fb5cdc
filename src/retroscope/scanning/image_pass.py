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
from retroscope.scanning.sources.image_list import key_hash
from retroscope.scanning.statistics.batch_images import NO_CLASS, SweptImage
from retroscope.scanning.statistics.plain_summary import Scratch

_TURN_SECONDS, _PAUSE_SECONDS = 1.0, 0.001


@dataclass(frozen=True, eq=False)
class ScanPass:
    """Images of a list, by their indices, through a network; `stage` names the pass.

    `with_classes`: the images are added to the sums of their classes. `per_class` of them are
    ranked for each class, or for those with `ranked_labels`. `is_second`: an earlier pass has
    counted its images. In the sweeps, the number of an image is its index plus `first_number`.
    """

    stage: str
    net: Network
    layers: Sequence[Layer]
    image_list: ImageList
    indices: Sequence[int]
    top: int
    batch_size: int
    with_classes: bool = False
    per_class: int = 0
    ranked_labels: frozenset[int] | None = None
    track_positions: bool = True
    is_second: bool = False
    first_number: int = 0

    @property
    def has_final_rankings(self) -> bool:
        """Whether its hits are those of the atlas; otherwise they are candidates."""
        return self.track_positions

    @property
    def images_at_once(self) -> int:
        """The batch size; in bfloat16, twice that many images take the same memory."""
        return self.batch_size if self.has_final_rankings else 2 * self.batch_size

    def empty_sweeps(self) -> LayerSweeps:
        """The sweeps before the first image."""
        return LayerSweeps.empty(
            self.net,
            self.layers,
            top=self.top,
            per_class=self.per_class,
            track_positions=self.track_positions,
        )

    def swept_image(self, index: int) -> SweptImage:
        """What a sweep must know of an image of the list."""
        label = self.image_list.labels[index]
        return SweptImage(
            self.first_number + index,
            key_hash(self.image_list.keys[index]),
            label if self.with_classes else NO_CLASS,
            label if self._is_ranked(label) else NO_CLASS,
        )

    def _is_ranked(self, label: int) -> bool:
        return self.per_class > 0 and (self.ranked_labels is None or label in self.ranked_labels)

    def ranked_labels_of(self, batch: LoadedBatch) -> set[int]:
        """The classes in whose rankings the images of a batch may be."""
        labels = {self.image_list.labels[index] for index in batch.indices}
        return {label for label in labels if self._is_ranked(label)}


def run_batches(
    scan_pass: ScanPass, sweeps: LayerSweeps, *, processed: int = 0, workers: int
) -> Generator[tuple[LoadedBatch, LayerSweeps], None, None]:
    """Adds the images to the sweeps, but for those already `processed`.

    Yields each batch with the sweeps that contain it. Close it before its end if an error occurs.
    """
    scratch = Scratch()
    remaining = scan_pass.indices[processed:]
    batches = scan_pass.image_list.batches(remaining, scan_pass.images_at_once)
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
    return sweep_batch(
        scan_pass.net,
        sweeps,
        batch.images,
        swept=list(map(scan_pass.swept_image, batch.indices)),
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
