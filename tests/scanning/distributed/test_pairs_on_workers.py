"""Scans of networks of several inputs on workers: the atlas of one process."""

from pathlib import Path
from typing import Any

import pytest

import retroscope as rs
from retroscope.scanning.distributed.scan_on_workers import DistributedScan
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.illustrate import parse_ranks
from retroscope.scanning.lots.network_source import NetworkSource
from retroscope.scanning.lots.sweep_plan import use_threads
from retroscope.scanning.sources.scan_source import ScanSource
from tests.scanning.distributed.driver import BATCH_SIZE, IMAGES_PER_SHARD
from tests.scanning.pairs import FACTORY, conditioned, pair, write_partners, write_table
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.scans import SIDE, smooth_image, write_images

LAYERS = {"pair": ["left_stem", "compare"], "conditioned": ["first", "last"]}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder of images, of their partners, and of numbers; one partner is damaged."""
    write_images(tmp_path / "photos" / "ant", 7)
    write_images(tmp_path / "photos" / "bee", 6)
    write_partners(tmp_path / "photos", tmp_path / "right")
    (tmp_path / "right" / "bee" / "02.bmp").write_bytes(b"nothing")
    write_table(tmp_path / "photos", tmp_path / "numbers.csv")
    return tmp_path


def scan_once(net: rs.Network, pairs: Path, inputs: Any) -> Path:
    with use_threads(1):
        rs.scan(
            net,
            pairs / "photos",
            to=pairs / "one.atlas",
            inputs=inputs,
            layers=LAYERS[net.name],
            batch_size=BATCH_SIZE,
            projections="all",
        ).close()
    return pairs / "one.atlas"


def scan_on(options: WorkerOptions, net: rs.Network, pairs: Path, inputs: Any) -> Path:
    """Lots of one shard, and all projections."""
    scan = DistributedScan(
        net,
        ScanSource(pairs / "photos", inputs=inputs),
        pairs / "workers.atlas",
        options,
        layers=LAYERS[net.name],
        batch_size=BATCH_SIZE,
        lot_images=IMAGES_PER_SHARD,
    )
    scan.run(ranks=parse_ranks("all"), restart=False, progress=lambda _progress: None).close()
    return pairs / "workers.atlas"


@pytest.mark.parametrize(
    ("on", "kind"), [("processes", "pair"), ("processes", "conditioned"), ("ray", "pair")]
)
def test_workers_give_the_atlas_of_one_process(
    on: str, kind: str, pairs: Path, request: pytest.FixtureRequest
) -> None:
    if on == "ray":
        request.getfixturevalue("local_ray")
    net, inputs = pair(), {"right": pairs / "right"}
    if kind == "conditioned":
        net, inputs = conditioned(), {"numbers": pairs / "numbers.csv"}
    expected = scan_once(net, pairs, inputs)
    options = WorkerOptions(on, 2, threads=1)
    actual = scan_on(options, net, pairs, inputs)
    assert_same_atlas(expected, actual)
    assert_same_atlas(expected, scan_on(options, net, pairs, inputs))


def test_workers_hold_what_the_network_holds(pairs: Path) -> None:
    """Opened by its name, it holds nothing: the value travels beside the plan and the atlas."""
    (pairs / "nets.py").write_text(FACTORY)
    smooth_image(77, SIDE).save(pairs / "held.png")
    name = f"{pairs / 'nets.py'}:pair"
    net = rs.open_model(name, device="cpu").hold(right=pairs / "held.png")
    expected = scan_once(net, pairs, None)
    (pairs / "held.png").unlink()
    network = NetworkSource.named(name, device="cpu")
    options = WorkerOptions("processes", 1, threads=1, network=network)
    actual = scan_on(options, net, pairs, None)
    assert_same_atlas(expected, actual)
    for path, on in ((expected, None), (actual, options)):
        with use_threads(1):
            rs.illustrate(path, net, rules="relevance", projections=1, on=on)
    assert_same_atlas(expected, actual)
    assert not list(pairs.glob(".*atlas*")), "nothing is left beside the atlas"


def test_illustrate_on_workers_reads_the_partners_that_the_scan_recorded(pairs: Path) -> None:
    expected = scan_once(pair(), pairs, {"right": pairs / "right"})
    actual = pairs / "copy.atlas"
    actual.write_bytes(expected.read_bytes())
    with use_threads(1):
        rs.illustrate(expected, pair(), rules="relevance", projections=1)
    options = WorkerOptions("processes", 1, threads=1)
    rs.illustrate(actual, pair(), rules="relevance", projections=1, on=options)
    assert_same_atlas(expected, actual)


def test_what_is_missing_is_refused_before_workers_start(pairs: Path) -> None:
    (pairs / "right" / "ant" / "03.bmp").unlink()
    with pytest.raises(rs.RetroscopeError, match=r"1 of 13 images have no right in .*ant/03\.png"):
        scan_on(WorkerOptions("processes", 1), pair(), pairs, {"right": pairs / "right"})
    with pytest.raises(rs.RetroscopeError, match="pair takes 'right' with each image; give a fold"):
        scan_on(WorkerOptions("processes", 1), pair(), pairs, None)
    assert not (pairs / "workers.atlas.plan").exists()
