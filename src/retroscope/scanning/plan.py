"""What a scan covers: the chosen layers, and all facts that must not change until it is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from retroscope.atlas.schema import AtlasError, Json
from retroscope.errors import RetroscopeError
from retroscope.geometry import IMAGE_RANK
from retroscope.methods.atlas_match import (
    fingerprint,
    inputs_json,
    is_same_preprocessing,
    preprocessing_json,
)
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.scanning.class_ranking_request import ClassRankingRequest
from retroscope.scanning.precision import Precision
from retroscope.scanning.size_limits import (
    refuse_large_class_rankings,
    refuse_large_images,
    refuse_too_many_classes,
    refuse_too_many_hits,
)
from retroscope.scanning.sources import ImageList, ImageSource
from retroscope.scanning.sources.paired_images import OtherSources


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
    class_rankings: ClassRankingRequest = field(default_factory=ClassRankingRequest)

    @property
    def with_classes(self) -> bool:
        """Whether there are statistics of classes."""
        return self.classes_wanted and bool(self.image_list.class_names)

    @property
    def max_hits(self) -> int:
        """How many hits a channel can have: one for each image."""
        return min(self.top, len(self.image_list.keys))

    @property
    def ranked_labels(self) -> frozenset[int]:
        """The classes whose images are ranked."""
        return self.class_rankings.labels(self.image_list.class_names)

    def refuse_too_large(self) -> None:
        """Raises if the scan would accumulate more than there is place for."""
        names, ranked = self.image_list.class_names, self.class_rankings
        refuse_too_many_hits(self.max_hits, self.layers)
        count = ranked.count(names)
        if count:
            refuse_large_class_rankings(ranked.per_class, count, self.layers, self.net.device)
        if self.with_classes:
            refuse_too_many_classes(
                len(names),
                self.layers,
                max_hits=self.max_hits,
                class_hits=count * ranked.per_class,
            )

    def facts(self) -> dict[str, Json]:
        """What the atlas records about the scan."""
        return {
            "model": self.net.name,
            "weights": fingerprint(self.net.module),
            "preprocessing": preprocessing_json(self.net.preprocessing),
            **({} if self.net.inputs is None else {"inputs": inputs_json(self.net)}),
            "images": len(self.image_list.keys),
            "image_list": self.image_list.fingerprint,
            "layers": [layer.name for layer in self.layers],
            "top": self.top,
            "precision": self.precision,
            "with_classes": self.with_classes,
            **self.class_rankings.facts,
            "version": version("retroscope"),
        }

    def refuse_change(self, meta: Mapping[str, Json], path: str) -> None:
        """Raises if an atlas holds another scan than this one."""
        facts = self.facts()
        meta = {"with_classes": bool(self.image_list.class_names), **meta}  # as all scans once were
        changes = [label for key, label in FACT_LABELS.items() if meta.get(key) != facts.get(key)]
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
    "inputs": "the inputs of the model, or what is held for them",
    "images": "the number of images",
    "image_list": "the list of images",
    "layers": "the choice of layers",
    "top": "the number of hits kept",
    "precision": "the precision",
    "with_classes": "whether there are statistics of classes",
    "per_class": "the number of images ranked for each class",
    "ranked_classes": "the classes whose images are ranked",
}
"""The facts that must not change, as errors call them."""


def source_facts(
    images: ImageSource, glob: str | None, inputs: OtherSources | None
) -> dict[str, Json]:
    """Where the images are, to find them again; a list or a data set is not in one place."""
    others: Json = {name: str(source) for name, source in (inputs or {}).items()}
    facts: dict[str, Json] = {"input_sources": others} if others else {}
    return facts | ({"source": str(images), "glob": glob} if isinstance(images, str | Path) else {})


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


def refuse_unsuitable_network(net: Network) -> None:
    """Raises for networks that take signals, of which an atlas would have nothing to show, or
    images that it could not store.
    """
    if net.rank < IMAGE_RANK:
        net.require_images("scan", instead="rs.activations and rs.deconv take one signal")
    refuse_large_images(net.input_size)
