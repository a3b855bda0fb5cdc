"""How long a projection of a layer takes, measured on a few hits of the layer when asked."""

from collections.abc import Sequence
from threading import Lock
from time import perf_counter

from retroscope.atlas.image_blobs import encode_projection
from retroscope.atlas.reader import Atlas
from retroscope.engine.batching import NetworkInput
from retroscope.engine.isolation import EXCLUSIVE_USE
from retroscope.errors import RetroscopeError
from retroscope.methods.deconv.deconv import deconv_many
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.unit import Unit
from retroscope.web.live.scanned_images import ScannedImages

_TRIALS, _REPEATS = 3, 3
_PATIENCE = 2.0
"""Seconds to wait for a network that runs elsewhere: an estimate is worth no more."""


class ProjectionTimer:
    """Measures each layer once."""

    def __init__(self, atlas: Atlas, net: Network, images: ScannedImages) -> None:
        self._atlas, self._net, self._images = atlas, net, images
        self._seconds: dict[str, float] = {}
        self._guard = Lock()

    def seconds_per_projection(self, layer: Layer) -> float | None:
        """None if it cannot be measured now."""
        if layer.name in self._seconds:
            return self._seconds[layer.name]
        if not self._guard.acquire(timeout=_PATIENCE):
            return None
        try:
            seconds = self._measure(layer)
            if seconds is not None:
                self._seconds[layer.name] = seconds
            return seconds
        finally:
            self._guard.release()

    def _measure(self, layer: Layer) -> float | None:
        requests = self._trial_requests(layer)
        if not requests or not EXCLUSIVE_USE.acquire(timeout=_PATIENCE):
            return None
        try:
            return min(self._time(requests) for _ in range(_REPEATS)) / len(requests)
        finally:
            EXCLUSIVE_USE.release()

    def _time(self, requests: Sequence[tuple[Unit, NetworkInput]]) -> float:
        start = perf_counter()
        for projection in deconv_many(self._net, requests, rules=self._atlas.rules):
            encode_projection(projection.pixels)
        return perf_counter() - start

    def _trial_requests(self, layer: Layer) -> Sequence[tuple[Unit, NetworkInput]]:
        """The strongest hits of a layer on the stored images, which take as long as the files."""
        hits = self._atlas.hits(Unit(layer.name), _TRIALS)
        try:
            return [(hit.unit, self._images.read(hit.image)) for hit in hits]
        except RetroscopeError:  # an image that is neither stored nor where the scan has read it
            return []
