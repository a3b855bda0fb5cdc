"""A sweep that other programs can alternate with, batch by batch."""

from collections.abc import Sequence

import retroscope as rs
from retroscope.engine.batching import NetworkInput
from retroscope.results.layers import Layer
from retroscope.scanning.one_pass import LayerSweeps, sweep_batch
from retroscope.scanning.sources.image_list import key_hash
from retroscope.scanning.statistics.batch_images import SweptImage
from retroscope.scanning.statistics.plain_summary import Scratch
from retroscope.scanning.statistics.sweep import Sweep

TOP = 9


class RunningSweep:
    """The sweep of some layers, with a method that adds a batch as a scan does.

    Call `add` inside `preserve_state`.
    """

    def __init__(
        self, net: rs.Network, layers: Sequence[Layer], *, top: int = TOP, exact: bool = True
    ) -> None:
        self._net, self._scratch, self._count = net, Scratch(), 0
        self._layer_sweeps = LayerSweeps.empty(net, layers, top=top, track_positions=exact)

    @property
    def sweep(self) -> Sweep:
        """The channels of all layers, one layer after another."""
        return self._layer_sweeps.sweep

    def add(self, images: Sequence[NetworkInput]) -> None:
        """Adds a batch, whose images are numbered on."""
        self._layer_sweeps = sweep_batch(
            self._net,
            self._layer_sweeps,
            images,
            swept=[
                SweptImage(self._count + n, key_hash(str(self._count + n)))
                for n in range(len(images))
            ],
            scratch=self._scratch,
        )
        self._count += len(images)
