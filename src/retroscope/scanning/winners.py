"""The images among the hits, stored while a pass goes on.

An image enters a ranking when its batch is added, or never: later images only push it out. So its
pixels, which are in memory then, are encoded beside the network and need not be read again. Images
that have been pushed out are deleted from time to time, so that the file stays small.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from retroscope.atlas.queries.table_rows import StoredImageRow
from retroscope.atlas.row_encoding import stored_image_row
from retroscope.atlas.writer import AtlasWriter
from retroscope.imaging.decoding import RGB
from retroscope.scanning.background_writer import BackgroundWriter
from retroscope.scanning.loading import LoadedBatch
from retroscope.scanning.statistics.sweep import Sweep

IMAGES_PER_TRANSACTION = 32
_MAX_LOSER_SHARE, _FEW_IMAGES = 0.1, 256


@dataclass(frozen=True, eq=False)
class _RankedImages:
    """The images of a batch, and which of them are in a ranking: known when the device is done."""

    numbers: Sequence[int]
    pixels: Sequence[RGB]
    is_ranked: torch.Tensor
    computed: torch.cuda.Event | None

    def winners(self) -> list[tuple[int, RGB]]:
        if self.computed is not None:
            self.computed.synchronize()
        columns = zip(self.numbers, self.pixels, self.is_ranked.tolist(), strict=True)
        return [(number, pixels) for number, pixels, is_ranked in columns if is_ranked]


class WinnerQueue:
    """Which images of each batch are in the rankings of a sweep, once it has been added.

    To ask the device would wait for it; therefore it is asked at the next call.
    """

    def __init__(self) -> None:
        self._latest: _RankedImages | None = None

    def add(
        self, batch: LoadedBatch, sweep: Sweep, numbers: range, *, labels: Collection[int]
    ) -> list[tuple[int, RGB]]:
        """The winners of the batch before, by number.

        `numbers` are those of the list's images, `labels` the classes in whose rankings those of
        this batch may be.
        """
        winners = self.take()
        if batch.images:
            flags = ranking_flags(sweep, numbers, labels)
            is_ranked = flags[
                torch.tensor(batch.indices, device="cpu").to(flags.device, non_blocking=True)
            ]
            self._latest = _RankedImages(
                [numbers.start + index for index in batch.indices],
                [image.rgb for image in batch.images],
                is_ranked.to("cpu", non_blocking=is_ranked.is_cuda),
                torch.cuda.current_stream().record_event() if is_ranked.is_cuda else None,
            )
        return winners

    def take(self) -> list[tuple[int, RGB]]:
        """The winners of the last batch."""
        latest, self._latest = self._latest, None
        return [] if latest is None else latest.winners()


class WinnerStore:
    """Stores the images of a list of `count` that are in the rankings of a sweep."""

    def __init__(self, writer: AtlasWriter, count: int, *, workers: int) -> None:
        self._writer, self._numbers = writer, range(count)
        self._stored = set(writer.stored_images())
        self._queue = WinnerQueue()
        self._group: list[tuple[int, RGB]] = []
        self._background: BackgroundWriter[tuple[int, RGB], StoredImageRow] = BackgroundWriter(
            writer, _encode, writer.put_stored_images, workers=workers
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._background.__exit__(*error)

    def add(self, batch: LoadedBatch, sweep: Sweep, labels: Collection[int]) -> None:
        """Stores those of a batch that are in the rankings, now that it has been added.

        `labels` are the classes in whose rankings they may be.
        """
        self._group += self._queue.add(batch, sweep, self._numbers, labels=labels)
        if len(self._group) >= IMAGES_PER_TRANSACTION:
            self._encode_group()

    def flush(self, sweep: Sweep) -> None:
        """Waits until all images are in the atlas, and deletes the losers if there are many."""
        self._group += self._queue.take()
        self._encode_group()
        self._background.wait()
        winners = set(ranking_flags(sweep, self._numbers).nonzero()[:, 0].tolist())
        losers = self._stored - winners
        if len(losers) > _MAX_LOSER_SHARE * len(winners) + _FEW_IMAGES:
            with self._writer.transaction():
                self._writer.delete_stored_images(losers)
            self._stored -= losers

    def _encode_group(self) -> None:
        group, self._group = self._group, []
        self._background.add(group)
        self._stored.update(number for number, _ in group)


def _encode(image: tuple[int, RGB]) -> StoredImageRow:
    return stored_image_row(*image)


def ranking_flags(
    sweep: Sweep, numbers: range, labels: Collection[int] | None = None
) -> torch.Tensor:
    """Which images of these numbers are in a ranking, without waiting for the device.

    Of the rankings by class, those of these `labels` count, or all.
    """
    count = len(numbers)
    flags = torch.zeros(count + 2, dtype=torch.bool, device=sweep.by_max.image.device)
    for ranked in sweep.ranked_numbers(labels):  # -1 is an empty slot; others may be elsewhere
        flags.index_fill_(0, (ranked - (numbers.start - 1)).clamp_(0, count + 1), value=True)
    return flags[1:-1]


def ranked_images(sweep: Sweep) -> set[int]:
    """The numbers of the images that are in a ranking or in the sample."""
    images = torch.cat([numbers.cpu() for numbers in sweep.ranked_numbers()])
    return set(np.unique(images.numpy()).tolist()) - {-1}
