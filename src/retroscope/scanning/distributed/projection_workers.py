"""The workers of a second pass, and how they get the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from retroscope.network import Network
from retroscope.scanning.distributed.second_pass import ProjectionWorkers
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.lots.network_source import NetworkSource, source_of, write_network


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

    What a name does not say is in a plan's folder already, or written into a folder beside an
    atlas, which workers must see.
    """
    threads = threads or on.choose_threads(net.device)
    runner, readers = on.runner(net.device, threads), on.reading_threads(net.device, threads)
    source = source_of(net, network)
    is_named = bool(source.model) and not source.is_held
    if pickled_in is not None or is_named:
        folder_of_pickle = (pickled_in or beside.parent).absolute()
        yield ProjectionWorkers(runner, source, folder_of_pickle, threads, readers)
        return
    with TemporaryDirectory(dir=beside.absolute().parent, prefix=f".{beside.name}.") as folder:
        write_network(net, source, Path(folder))
        yield ProjectionWorkers(runner, source, Path(folder), threads, readers)
