"""Sweeps in an atlas: as a running state that can be gone on with, and as final rows."""

from collections.abc import Mapping
from io import BytesIO

import numpy as np
import torch

from retroscope.atlas.writer import AtlasWriter
from retroscope.results.values import Layer
from retroscope.scanning.one_pass import Gathered
from retroscope.scanning.statistics.sweep import Arrays, Sweep, together
from retroscope.scanning.statistics.topk import TopK


def sweep_state(gathered: Gathered, *, stage: str) -> dict[str, bytes]:
    """All numbers that a stage gathered, a part for each layer."""
    return {f"{stage}:{step}": _packed(gathered.of(step)) for step in gathered.rows}


def kept(
    state: Mapping[str, bytes], empty: Gathered, *, stage: str, device: torch.device
) -> Gathered:
    """What a running state holds of a stage; the empty one where nothing is kept yet."""
    layers = [_unpacked(state[key]) for step in empty.rows if (key := f"{stage}:{step}") in state]
    sweep = Sweep.from_arrays(together(layers), device) if layers else empty.sweep
    return empty.with_sweep(sweep)


def _packed(sweep: Sweep) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, **sweep.arrays())  # type: ignore[arg-type]  # numpy types its options so
    return buffer.getvalue()


def _unpacked(blob: bytes) -> Arrays:
    with np.load(BytesIO(blob), allow_pickle=False) as arrays:
        return dict(arrays)


def finish(writer: AtlasWriter, layer: Layer, sweep: Sweep, classes: int) -> None:
    """Puts what was gathered of a layer where readers find it."""
    stats, sums = sweep.stats, sweep.classes
    columns = {
        **{
            name: getattr(stats, name).cpu().numpy()
            for name in ("images", "positions", "mean", "std", "maximum", "fired_images")
        },
        "fired_positions": stats.fired_positions.cpu().numpy(),
        "non_finite": stats.non_finite.cpu().numpy(),
        "histogram": stats.histogram.cpu().numpy(),
    }
    if classes:
        seen = sums.images.clamp(min=1)
        means = torch.where(sums.images > 0, sums.maxima / seen, -torch.inf)
        best, label = means.max(dim=0)
        columns["top_label"] = torch.where(best > -torch.inf, label, -1).cpu().numpy()
        shares = sums.fired / seen
        writer.put_class_stats(
            layer.name, means.nan_to_num(neginf=0.0).cpu().numpy(), shares.cpu().numpy()
        )
    writer.put_channels(layer.name, columns)
    _put_hits(writer, layer, "max", sweep.by_max)
    _put_hits(writer, layer, "mean", sweep.by_mean)


def _put_hits(writer: AtlasWriter, layer: Layer, ranked_by: str, best: TopK) -> None:
    width = layer.size[1]
    writer.put_hits(
        layer.name,
        ranked_by,
        best.score.cpu().numpy(),
        images=best.image.cpu().numpy(),
        ys=(best.place // width).cpu().numpy(),
        xs=(best.place % width).cpu().numpy(),
    )
