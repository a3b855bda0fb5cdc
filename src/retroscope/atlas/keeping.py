"""Sweeps in an atlas: as a running state that can be gone on with, and as final rows."""

from collections.abc import Mapping
from io import BytesIO

import numpy as np
import torch

from retroscope.atlas.writer import AtlasWriter
from retroscope.results import Layer
from retroscope.sweep.sweep import Sweep
from retroscope.sweep.topk import TopK


def sweep_state(sweeps: Mapping[int, Sweep]) -> dict[str, bytes]:
    """All numbers of the sweeps, a part for each layer."""
    return {f"sweep:{step}": _packed(sweep) for step, sweep in sweeps.items()}


def kept_sweeps(
    state: Mapping[str, bytes], empty: Mapping[int, Sweep], device: torch.device
) -> dict[int, Sweep]:
    """The sweeps of a running state; empty ones where nothing is kept yet."""
    return {
        step: _unpacked(state[key], device) if (key := f"sweep:{step}") in state else fresh
        for step, fresh in empty.items()
    }


def _packed(sweep: Sweep) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, **sweep.arrays())  # type: ignore[arg-type]  # numpy types its options so
    return buffer.getvalue()


def _unpacked(blob: bytes, device: torch.device) -> Sweep:
    with np.load(BytesIO(blob), allow_pickle=False) as arrays:
        return Sweep.from_arrays(arrays, device)


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
