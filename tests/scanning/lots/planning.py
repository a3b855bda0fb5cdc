"""Plans of a tiny network, and the atlas that one scan makes."""

from pathlib import Path
from typing import Any

import torch

from retroscope.scanning.job import scan
from retroscope.scanning.lots.make_plan import make_plan
from retroscope.scanning.lots.plan_folder import PlanFolder
from retroscope.scanning.sources import ImageSource
from tests.scanning.scans import tiny

BATCH = 3


def plan(photos: ImageSource, to: Path, **options: Any) -> PlanFolder:
    """A plan in lots of two shards."""
    options = {"batch_size": BATCH, "lot_images": 10, "threads": 1, **options}
    make_plan(tiny(torch.float32), photos, to=to, **options)
    return PlanFolder(to)


def scanned(photos: ImageSource, to: Path, **options: Any) -> Path:
    """The atlas of one scan."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        net = tiny(torch.float32)
        scan(net, photos, to=to, projections="none", batch_size=BATCH, **options).close()
    finally:
        torch.set_num_threads(threads)
    return to
