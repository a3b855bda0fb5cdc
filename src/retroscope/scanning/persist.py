"""Sweeps in an atlas: as the state of an unfinished scan, and as its final rows."""

from collections.abc import Collection, Mapping, Sequence
from io import BytesIO

import numpy as np
import torch

from retroscope.atlas.schema import Json, Ranking
from retroscope.atlas.writer import AtlasWriter
from retroscope.engine.operations import TABLE, Role
from retroscope.results.layers import Layer
from retroscope.results.statistics import accumulated_statistics
from retroscope.scanning.class_correlation import MaximaSums, correlation_numbers
from retroscope.scanning.hit_table import HitTable
from retroscope.scanning.one_pass import LayerSweeps
from retroscope.scanning.sample_table import SampleTable
from retroscope.scanning.statistics.class_sums import ClassTables
from retroscope.scanning.statistics.sweep import Arrays, Sweep, concatenate_layers
from retroscope.scanning.statistics.topk import TopK

_FORMAT = 5
RECTIFIER_KINDS = {row.kind for row in TABLE.values() if row.role is Role.RECTIFIER}


def checkpoint_format() -> Json:
    """What a checkpoint consists of; only a checkpoint of this format can be resumed."""
    return {"format": _FORMAT, "sums": [row.name for row, _ in accumulated_statistics()]}


def pack_sweeps(sweeps: LayerSweeps, *, stage: str) -> dict[str, bytes]:
    """All numbers of a stage, in one part for each layer."""
    return {_key(stage, step): _pack(sweeps.layer_sweep(step)) for step in sweeps.channel_ranges}


def restore_sweeps(
    state: Mapping[str, bytes], empty: LayerSweeps, *, stage: str, device: torch.device
) -> LayerSweeps:
    """The sweeps that a state holds for a stage, or the empty ones if it holds none."""
    keys = [_key(stage, step) for step in empty.channel_ranges]
    layers = [_unpack(state[key]) for key in keys if key in state]
    if not layers:
        return empty
    return empty.with_sweep(Sweep.from_arrays(concatenate_layers(layers), device))


def _key(stage: str, step: int) -> str:
    return f"{stage}:{step}"


def _pack(sweep: Sweep) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, **sweep.to_arrays())  # type: ignore[arg-type]  # numpy types its options so
    return buffer.getvalue()


def _unpack(blob: bytes) -> Arrays:
    with np.load(BytesIO(blob), allow_pickle=False) as arrays:
        return dict(arrays)


def write_sweeps(
    writer: AtlasWriter,
    layers: Sequence[Layer],
    sweeps: LayerSweeps,
    *,
    class_names: Sequence[str],
    ranked_labels: Collection[int],
) -> None:
    """Writes what the sweeps of all layers have found where readers find it.

    Without `class_names`, there are no statistics of classes; those with `ranked_labels` have
    rankings.
    """
    with writer.rebuild_hit_index():
        sample = sweeps.sweep.sample
        writer.put_sample_images(sample.numbers, sample.hashes)
        for layer in layers:
            sweep = sweeps.layer_sweep(layer.index)
            write_layer(writer, layer, sweep, class_names=class_names)
            for label in sorted(ranked_labels):
                hits = _hit_table(layer, sweep.class_rankings[label])
                writer.put_class_hits(layer.name, label, hits.scores, **hits.columns)


def write_layer(
    writer: AtlasWriter, layer: Layer, sweep: Sweep, *, class_names: Sequence[str]
) -> None:
    """Writes the statistics and hits of a layer."""
    statistics = sweep.channel_sums.finish()
    columns = {name: values.cpu().numpy() for name, values in statistics.items()}
    if class_names:
        tables = sweep.class_sums.tables(len(class_names))
        means = tables.mean_maxima.numpy()
        columns["top_label"] = np.where((means > -np.inf).any(0), means.argmax(0), -1)
        _put_class_statistics(writer, layer, sweep, tables=tables, class_names=class_names)
    writer.put_channels(layer.name, columns)
    _put_hits(writer, layer, sweep.by_max, ranked_by=Ranking.MAX)
    _put_hits(writer, layer, sweep.by_mean, ranked_by=Ranking.MEAN)
    _put_hits(writer, layer, sweep.by_min, ranked_by=Ranking.MIN)
    SampleTable.of_sample(sweep.sample).put_layer(writer, layer)


def _put_class_statistics(
    writer: AtlasWriter,
    layer: Layer,
    sweep: Sweep,
    *,
    tables: ClassTables,
    class_names: Sequence[str],
) -> None:
    means, shares = tables.mean_maxima.numpy(), tables.fired_shares.numpy()
    writer.put_class_stats(layer.name, np.where(means > -np.inf, means, 0), shares)
    sums = MaximaSums.of_sweep(sweep.channel_sums, tables)
    writer.put_numbers(correlation_numbers(layer, sums, class_names))


def _put_hits(writer: AtlasWriter, layer: Layer, ranking: TopK, *, ranked_by: Ranking) -> None:
    hits = _hit_table(layer, ranking)
    scores = 0.0 - hits.scores if ranked_by is Ranking.MIN else hits.scores  # it has depths
    writer.put_hits(layer.name, ranked_by, scores, **hits.columns)


def _hit_table(layer: Layer, ranking: TopK) -> HitTable:
    """The hits of a ranking. After a rectifier a score of zero is none: nothing fires there."""
    width = layer.size[-1]  # rows are those of the stack of a volume's slices
    is_hit = (ranking.score != 0) | (layer.kind not in RECTIFIER_KINDS)
    return HitTable(
        ranking.score.cpu().numpy(),
        torch.where(is_hit, ranking.image, -1).cpu().numpy(),
        (ranking.position // width).cpu().numpy(),
        (ranking.position % width).cpu().numpy(),
    )
