"""The workers of a second pass, and how they get the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from retroscope.network import Network
from retroscope.scanning.distributed.second_pass import ProjectionWorkers
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.lots.network_source import NetworkSource, pickle_network


@contextmanager
def projection_workers(
    net: Network,
    on: WorkerOptions,
    *,
    network: NetworkSource | None,
    beside: Path,
    pickled_in: Path | None = None,
    threads: int | None = None,
) -> Iterator[ProjectionWorkers]:
    """Workers that open the network as `network` says.

    Without a name, it is pickled in a plan's folder already, or into a folder beside an atlas,
    which workers must see.
    """
    threads = threads or on.choose_threads(net.device)
    runner, readers = on.runner(net.device, threads), on.reading_threads(net.device, threads)
    if network is not None and (network.model or pickled_in is not None):
        folder_of_pickle = (pickled_in or beside.parent).absolute()
        yield ProjectionWorkers(runner, network, folder_of_pickle, threads, readers)
        return
    with TemporaryDirectory(dir=beside.absolute().parent, prefix=f".{beside.name}.") as folder:
        source = pickle_network(net, Path(folder))
        yield ProjectionWorkers(runner, source, Path(folder), threads, readers)
