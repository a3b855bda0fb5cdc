"""Sweeps in an atlas: as the state of an unfinished scan, and as its final rows."""

from collections.abc import Mapping
from io import BytesIO

import numpy as np
import torch

from retroscope.atlas.schema import Json
from retroscope.atlas.writer import AtlasWriter
from retroscope.engine.operations import TABLE, Role
from retroscope.results.layers import Layer
from retroscope.results.statistics import accumulated_statistics
from retroscope.scanning.one_pass import LayerSweeps
from retroscope.scanning.statistics.sweep import Arrays, Sweep, concatenate_layers
from retroscope.scanning.statistics.topk import TopK

_FORMAT = 4
_RECTIFIER_KINDS = {row.kind for row in TABLE.values() if row.role is Role.RECTIFIER}


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


def write_layer(writer: AtlasWriter, layer: Layer, sweep: Sweep, *, classes: int) -> None:
    """Writes the statistics and hits of a layer where readers find them."""
    statistics = sweep.channel_sums.finish()
    columns = {name: values.cpu().numpy() for name, values in statistics.items()}
    if classes:
        tables = sweep.class_sums.tables(classes)
        means = tables.mean_maxima.numpy()
        columns["top_label"] = np.where((means > -np.inf).any(0), means.argmax(0), -1)
        shares = tables.fired_shares.numpy()
        writer.put_class_stats(layer.name, np.where(means > -np.inf, means, 0), shares)
    writer.put_channels(layer.name, columns)
    _put_hits(writer, layer, sweep.by_max, ranked_by="max")
    _put_hits(writer, layer, sweep.by_mean, ranked_by="mean")


def _put_hits(writer: AtlasWriter, layer: Layer, ranking: TopK, *, ranked_by: str) -> None:
    """Writes the hits. After a rectifier a score of zero is none: nothing fires in that image."""
    width = layer.size[1]
    is_hit = (ranking.score != 0) | (layer.kind not in _RECTIFIER_KINDS)
    writer.put_hits(
        layer.name,
        ranked_by,
        ranking.score.cpu().numpy(),
        images=torch.where(is_hit, ranking.image, -1).cpu().numpy(),
        ys=(ranking.position // width).cpu().numpy(),
        xs=(ranking.position % width).cpu().numpy(),
    )
