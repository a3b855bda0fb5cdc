"""What a scan covers: the chosen layers, and all facts that must not change until it is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from retroscope.atlas.schema import AtlasError, Json
from retroscope.errors import RetroscopeError
from retroscope.methods.atlas_match import (
    fingerprint,
    is_same_preprocessing,
    preprocessing_json,
)
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.scanning.precision import Precision
from retroscope.scanning.sources import ImageList
from retroscope.scanning.statistics.class_sums import CLASS_BYTES


@dataclass(frozen=True, eq=False)
class ScanPlan:
    """A scan that is about to start or to resume."""

    net: Network
    image_list: ImageList
    layers: Sequence[Layer]
    top: int
    batch_size: int
    precision: Precision = Precision.FULL
    classes_wanted: bool = True

    @property
    def with_classes(self) -> bool:
        """Whether there are statistics of classes."""
        return self.classes_wanted and bool(self.image_list.class_names)

    @property
    def max_hits(self) -> int:
        """How many hits a channel can have: one for each image."""
        return min(self.top, len(self.image_list.keys))

    def facts(self) -> dict[str, Json]:
        """What the atlas records about the scan."""
        return {
            "model": self.net.name,
            "weights": fingerprint(self.net.module),
            "preprocessing": preprocessing_json(self.net.preprocessing),
            "images": len(self.image_list.keys),
            "image_list": self.image_list.fingerprint,
            "layers": [layer.name for layer in self.layers],
            "top": self.top,
            "precision": self.precision,
            "with_classes": self.with_classes,
            "version": version("retroscope"),
        }

    def refuse_change(self, meta: Mapping[str, Json], path: str) -> None:
        """Raises if an atlas holds another scan than this one."""
        facts = self.facts()
        meta = {"with_classes": bool(self.image_list.class_names), **meta}  # as all scans once were
        changes = [label for key, label in FACT_LABELS.items() if meta.get(key) != facts[key]]
        preprocessing = FACT_LABELS["preprocessing"]
        if preprocessing in changes and is_same_preprocessing(
            meta.get("preprocessing"), self.net.preprocessing
        ):
            changes.remove(preprocessing)
        if changes:
            raise RetroscopeError(
                f"{path!r} holds another scan: {' and '.join(changes)} changed; scan to "
                f"another file, or start over with restart{self._continuation(meta)}",
                parameter="restart",
            )

    def _continuation(self, meta: Mapping[str, Json]) -> str:
        """How to continue a scan of the convolutions, which were once the default layers."""
        convolutions = [layer.name for layer in self.net.layers if layer.kind == "conv"]
        is_of_convolutions = meta.get("layers") == convolutions != self.facts()["layers"]
        return "; the layers conv continue it" if is_of_convolutions else ""


FACT_LABELS = {
    "model": "the model",
    "weights": "the weights of the model",
    "preprocessing": "the preprocessing",
    "images": "the number of images",
    "image_list": "the list of images",
    "layers": "the choice of layers",
    "top": "the number of hits kept",
    "precision": "the precision",
    "with_classes": "whether there are statistics of classes",
}
"""The facts that must not change, as errors call them."""


def stored_count(meta: Mapping[str, Json], key: str) -> int:
    """A count that the scan recorded in the atlas."""
    count = meta.get(key)
    if isinstance(count, int):
        return count
    raise AtlasError(
        f"the atlas records {key} as {count!r}, which is not a count; scan to another file, or "
        "start over with restart",
        parameter="restart",
    )


def refuse_less_than_one(**counts: int | None) -> None:
    """Raises if one of these parameters is below 1; None stands for a default."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise RetroscopeError(f"{name} is {count}; it must be 1 or more")


BYTES_PER_HIT, MAX_LAYER_BYTES = 2 * 24, 900_000_000
"""A hit has 24 bytes in each ranking; SQLite stores up to a gigabyte in one piece."""
_LABEL_BYTES = 8


def refuse_too_many_classes(classes: int, layers: Sequence[Layer], *, max_hits: int) -> None:
    """Raises if the checkpoint of a layer with class statistics would not fit into one piece."""
    widest = max(layers, key=lambda layer: layer.channels)
    remaining = MAX_LAYER_BYTES - BYTES_PER_HIT * max_hits * widest.channels
    limit = remaining // (CLASS_BYTES * widest.channels + _LABEL_BYTES)
    if classes > limit:
        raise RetroscopeError(
            f"{classes:,} classes are too many for the {widest.channels} channels of "
            f"{widest.name}, for which there may be {limit:,}; leave the statistics of classes out",
            parameter="classes",
        )


def refuse_too_many_hits(max_hits: int, layers: Sequence[Layer]) -> None:
    """Raises if the checkpoint of a layer would not fit into one piece."""
    widest = max(layers, key=lambda layer: layer.channels)
    limit = MAX_LAYER_BYTES // (BYTES_PER_HIT * widest.channels)
    if max_hits > limit:
        raise RetroscopeError(
            f"{max_hits} hits per channel are too many for the {widest.channels} channels of "
            f"{widest.name}; give a top of {limit} or less",
            parameter="top",
        )
