"""Which GPUs each worker of a machine sees."""

import os
from collections.abc import Sequence

from retroscope.scanning.runners.work import RunnerError


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA names them."""
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is not None:
        return [name.strip() for name in variable.split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def divide_gpus(workers: int, gpus_per_worker: float) -> list[str | None]:
    """The value of `CUDA_VISIBLE_DEVICES` of each worker; None leaves it as it is."""
    return (
        [None] * workers
        if not gpus_per_worker
        else assign_gpus(visible_gpus(), workers, gpus_per_worker)
    )


def assign_gpus(gpus: Sequence[str], workers: int, gpus_per_worker: float) -> list[str | None]:
    """The GPUs of each worker, separated by commas.

    >>> assign_gpus(["0", "1", "2", "3"], 2, 2), assign_gpus(["4", "5"], 4, 0.5)
    (['0,1', '2,3'], ['4', '4', '5', '5'])
    """
    if gpus_per_worker < 1:
        shares = int(1 / gpus_per_worker + 1e-6)
        needed = -(-workers // shares)
        assigned = [gpus[worker // shares : worker // shares + 1] for worker in range(workers)]
    elif gpus_per_worker != int(gpus_per_worker):
        raise RunnerError(
            f"a worker cannot have {gpus_per_worker:g} GPUs; give a whole number, or a part of one",
            parameter="gpus_per_worker",
        )
    else:
        size = int(gpus_per_worker)
        needed = workers * size
        assigned = [gpus[worker * size : (worker + 1) * size] for worker in range(workers)]
    if needed > len(gpus):
        raise RunnerError(
            f"{workers} workers with {gpus_per_worker:g} GPUs each need {needed}, and there are "
            f"{len(gpus)}; start fewer workers",
            parameter="workers",
        )
    return [",".join(names) for names in assigned]


def count_workers(gpus_per_worker: float, threads: int | None) -> int:
    """How many workers this machine has GPUs for, or else processors."""
    if gpus_per_worker:
        return max(int(len(visible_gpus()) / gpus_per_worker + 1e-6), 1)
    return max((os.cpu_count() or 1) // (threads or 1), 1)
