"""Where the workers of a scan run, and how many they are."""

import os
from dataclasses import dataclass

import torch

from retroscope.scanning.loading import default_workers
from retroscope.scanning.lots.network_source import NetworkSource
from retroscope.scanning.runners.choice import (
    RAY,
    RAY_ADDRESS,
    choose_runner,
    refuse_unknown_runner,
)
from retroscope.scanning.runners.gpus import count_workers
from retroscope.scanning.runners.workers import Runner


@dataclass(frozen=True)
class WorkerOptions:
    """What the user asks for. `on` is the name of a runner; None leaves a choice to us.

    `threads` are those of torch in each worker. `network` is how workers open the network; without
    it, the network is pickled for them.
    """

    on: str
    workers: int | None = None
    gpus_per_worker: float | None = None
    threads: int | None = None
    network: NetworkSource | None = None

    @classmethod
    def parse(
        cls, on: "str | WorkerOptions", *, workers: int | None, gpus_per_worker: float | None
    ) -> "WorkerOptions":
        """The options, or those of the name of a runner."""
        return on if isinstance(on, WorkerOptions) else cls(on, workers, gpus_per_worker)

    def __post_init__(self) -> None:
        refuse_unknown_runner(self.on)

    def gpus(self, device: torch.device) -> float:
        """A GPU for each worker of a network that runs on one."""
        if self.gpus_per_worker is not None:
            return self.gpus_per_worker
        return 1.0 if device.type == "cuda" else 0.0

    def choose_threads(self, device: torch.device) -> int:
        """The threads of torch in each worker, by default those of the machine, divided."""
        if self.threads is not None:
            return self.threads
        if device.type == "cuda":
            return torch.get_num_threads()
        return max((os.cpu_count() or 1) // (self.workers or 1), 1) if self.workers else 1

    def count(self, device: torch.device, threads: int) -> int | None:
        """How many workers there are; None if a cluster decides."""
        is_cluster = self.on.startswith(RAY_ADDRESS) or (
            self.on == RAY and "RAY_ADDRESS" in os.environ
        )
        if self.workers is not None or is_cluster:
            return self.workers
        return count_workers(self.gpus(device), threads)

    def runner(self, device: torch.device, threads: int) -> Runner:
        """The runner for a network on a device, with so many threads of torch."""
        return choose_runner(
            self.on, workers=self.workers, gpus_per_worker=self.gpus(device), threads=threads
        )

    def reading_threads(self, device: torch.device, threads: int) -> int:
        """The threads that read images in each worker."""
        if self.on != "processes":
            return max(threads, 2)
        workers = self.workers or count_workers(self.gpus(device), threads)
        return max(default_workers() // workers, 2)
