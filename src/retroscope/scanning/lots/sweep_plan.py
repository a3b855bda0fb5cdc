"""A plan: all that the workers of a scan must agree on, and its lots."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b
from importlib.metadata import version
from itertools import pairwise
from typing import Any, Self

import torch

from retroscope.atlas.queries.table_rows import GraphRow, LayerRow
from retroscope.atlas.row_decoding import graph_from_rows, layer_from_row
from retroscope.atlas.row_encoding import graph_row, layer_row
from retroscope.atlas.schema import Json
from retroscope.engine.layer_graph import layer_graph
from retroscope.methods.atlas_match import fingerprint, inputs_json, preprocessing_json
from retroscope.network import Network
from retroscope.results.layers import GraphStep, Layer
from retroscope.scanning.class_ranking_request import ClassRankingRequest
from retroscope.scanning.layer_choice import scan_layers
from retroscope.scanning.lots.machine_kind import describe_machine
from retroscope.scanning.lots.network_source import NetworkSource
from retroscope.scanning.lots.plan_folder import LotTask, PlanFolder
from retroscope.scanning.lots.segment import LotStage
from retroscope.scanning.lots.whole_files import PlanError
from retroscope.scanning.persist import checkpoint_format
from retroscope.scanning.precision import Precision

_FORMAT = 3


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """What a scan in lots covers. Lots are ranges of shards; `lot_starts` ends with their number.

    `inputs` are those of a network of several, with digests of what is held for all images.
    `layer_choice` are the names that select the layers, None for the default. `images` is how many
    there are, if that is known without reading them, and `lot_images` about how many a lot has;
    `shard_digest` stands for the shards, and `others_digest` for what comes with their images.
    `with_classes`: what each channel does by class is counted, too; `per_class` images of each of
    the `ranked_classes` are ranked, None for all classes. `threads` are those of torch in
    each worker, and `machine` is the kind that has planned.
    """

    network: NetworkSource
    model: str
    weights: str
    preprocessing: Mapping[str, Json]
    inputs: Mapping[str, Json] | None
    layer_choice: Sequence[str] | None
    layer_rows: Sequence[LayerRow]
    graph_rows: Sequence[GraphRow]
    top: int
    precision: Precision
    batch_size: int
    threads: int
    with_classes: bool
    per_class: int
    ranked_classes: Sequence[str] | None
    machine: str
    source: Mapping[str, Json]
    images: int | None
    shard_digest: str
    others_digest: str
    lot_starts: Sequence[int]
    lot_images: Sequence[int]
    version: str

    @classmethod
    def make(
        cls,
        net: Network,
        network: NetworkSource,
        *,
        layer_choice: Sequence[str] | None,
        **facts: Any,
    ) -> Self:
        """The plan of a network, made on this machine by this version."""
        layers = scan_layers(net, layer_choice)
        return cls(
            network=network,
            model=net.name,
            weights=fingerprint(net.module),
            preprocessing=preprocessing_json(net.preprocessing),
            inputs=None if net.inputs is None else inputs_json(net),
            layer_choice=layer_choice,
            layer_rows=_layer_rows(layers),
            graph_rows=_graph_rows(net, layers),
            machine=describe_machine(net.device),
            version=version("retroscope"),
            **facts,
        )

    @cached_property
    def layers(self) -> list[Layer]:
        """The layers that are ranked."""
        return [layer_from_row(row) for row in self.layer_rows]

    @property
    def graph(self) -> tuple[GraphStep, ...]:
        """Which layers read which."""
        return graph_from_rows(self.graph_rows)

    @property
    def class_rankings(self) -> ClassRankingRequest:
        """The rankings by class."""
        names = self.ranked_classes
        return ClassRankingRequest(self.per_class, None if names is None else tuple(names))

    @property
    def lots(self) -> list[range]:
        """The shards of each lot."""
        return [range(start, stop) for start, stop in pairwise(self.lot_starts)]

    @property
    def lot_sizes(self) -> Sequence[int]:
        """The work of each lot: its images, or its shards where only reading tells their images."""
        return self.lot_images if self.images is not None else list(map(len, self.lots))

    @property
    def stages(self) -> tuple[LotStage, ...]:
        """The passes over each lot: one, and after a pass in bfloat16 a second over candidates."""
        return (LotStage.SCAN,) if self.precision == Precision.FULL else tuple(LotStage)

    def tasks(self, stage: LotStage) -> list[LotTask]:
        """The passes over all lots in a stage, in order."""
        return [LotTask(lot, stage) for lot in range(len(self.lots))]

    @property
    def comparable(self) -> dict[str, str]:
        """All that decides what the segments hold, by its name, as JSON."""
        facts = self.to_json()
        return {name: json.dumps(facts[name], sort_keys=True) for name in CHANGES}

    @cached_property
    def id(self) -> str:
        """A digest of all that decides what the segments hold; each of them names it."""
        return blake2b(json.dumps(self.comparable).encode(), digest_size=16).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The plan as `plan.json` holds it."""
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return facts | {
            "format": plan_format(),
            "network": asdict(self.network),
            "layer_rows": [row._asdict() for row in self.layer_rows],
            "graph_rows": [row._asdict() for row in self.graph_rows],
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any], name: str) -> Self:
        """The plan in `plan.json`; `name` is what errors call it."""
        if facts.get("format") != plan_format():
            raise PlanError(
                f"{name} is a plan of another version of retroscope ({facts.get('version')}), "
                f"which version {version('retroscope')} cannot go on with; plan to another folder"
            )
        try:
            values = {field: facts[field] for field in cls.__dataclass_fields__}
            return cls(
                **values
                | {
                    "network": NetworkSource(**facts["network"]),
                    "layer_rows": [LayerRow(**row) for row in facts["layer_rows"]],
                    "graph_rows": [GraphRow(**row) for row in facts["graph_rows"]],
                    "precision": Precision(facts["precision"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PlanError(f"{name} is damaged ({error!r}); plan to another folder") from error


def plan_format() -> Json:
    """What a plan and its segments consist of; only those of this format are used."""
    return {"plan": _FORMAT, "sums": checkpoint_format()}


def _layer_rows(layers: Sequence[Layer]) -> list[LayerRow]:
    return [layer_row(number, layer) for number, layer in enumerate(layers)]


def _graph_rows(net: Network, layers: Sequence[Layer]) -> list[GraphRow]:
    return list(map(graph_row, layer_graph(net.survey(), layers)))


CHANGES = {
    "model": "the model",
    "weights": "the weights of the model",
    "preprocessing": "the preprocessing",
    "inputs": "the inputs of the model, or what is held for them",
    "shard_digest": "the images or their classes",
    "others_digest": "what comes with the images",
    "layer_rows": "the choice of layers",
    "top": "the number of hits kept",
    "precision": "the precision",
    "with_classes": "whether classes are counted",
    "per_class": "the number of images ranked for each class",
    "ranked_classes": "the classes whose images are ranked",
    "batch_size": "the batch size",
    "threads": "the number of threads",
    "lot_starts": "the size of the lots",
}
"""What must not change once a folder holds a plan, as errors call it."""


def open_plan(folder: PlanFolder) -> SweepPlan:
    """The plan of a folder."""
    return SweepPlan.from_json(folder.read_plan(), repr(str(folder.path)))


def open_network(folder: PlanFolder, plan: SweepPlan) -> Network:
    """The network of a plan. Raises PlanError if it is not the one that was planned with."""
    net, name = plan.network.open(folder.path), repr(str(folder.path))
    if fingerprint(net.module) != plan.weights:
        raise PlanError(
            f"{plan.model} has other weights here than when {name} was planned; restore them, or "
            "plan to another folder"
        )
    if preprocessing_json(net.preprocessing) != plan.preprocessing:
        raise PlanError(
            f"{plan.model} has another preprocessing here than when {name} was planned; use the "
            "same versions of the libraries, or plan to another folder"
        )
    if plan.inputs != (None if net.inputs is None else inputs_json(net)):
        raise PlanError(
            f"{plan.model} has other inputs here than when {name} was planned, or holds other "
            "values for them; restore them, or plan to another folder"
        )
    if _layer_rows(scan_layers(net, plan.layer_choice)) != list(plan.layer_rows):
        raise PlanError(
            f"{plan.model} has other layers here than when {name} was planned; use the same "
            "version of torch, or plan to another folder"
        )
    return net


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Runs torch with so many threads inside: the last bits of a convolution depend on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
