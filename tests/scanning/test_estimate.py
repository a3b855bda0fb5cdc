"""What is said before a scan: counted exactly, and timed on pieces of it that are added up."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from retroscope.engine.batching import NetworkInput
from retroscope.methods.deconv.deconv import deconv_many
from retroscope.network import Network
from retroscope.progress import Progress, ProgressListener
from retroscope.results.layers import Layer
from retroscope.results.projections import Projection
from retroscope.scanning import estimate as estimate_module
from retroscope.scanning import image_pass, local_projections, trial_runs
from retroscope.scanning.class_ranking_request import ClassRankingRequest
from retroscope.scanning.estimate import ScanEstimate, estimate_scan
from retroscope.scanning.hit_trial import LayerHits, divergence, live_channels
from retroscope.scanning.illustrate import Ranks, parse_ranks
from retroscope.scanning.job import scan
from retroscope.scanning.layer_choice import scan_layers
from retroscope.scanning.one_pass import LayerSweeps, sweep_batch
from retroscope.scanning.sources import ImageList, list_images
from retroscope.scanning.statistics.class_sums import ClassRow
from retroscope.scanning.statistics.sweep import Sweep
from retroscope.scanning.trial_runs import SweepTrial
from retroscope.unit import Unit
from retroscope.world.scene import LABELS, scene
from retroscope.zoo import open_model
from tests.conftest import no_trace
from tests.scanning.scans import OF_TINY, tiny, write_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos"), 12)


NUMBER_BYTES = (
    5 * 8 + 4 + len("class_correlation unit maxima of 12 images of 40 classes, best class") + 40
)
"""The correlation of a channel with its best class: its numbers and texts, and its key again."""


def layers_of(net: Network) -> list[Layer]:
    return [layer for layer in net.layers if layer.name in OF_TINY]


def estimate_tiny(net: Network, listed: ImageList, **options: Any) -> ScanEstimate:
    return estimate_scan(net, layers_of(net), listed, **options)


class Work:
    """A clock that only work moves: batches and images of a pass, images and units projected."""

    BATCH, IMAGE, FORWARD, UNIT, FIRST = 0.02, 0.04, 0.1, 0.2, 5.0

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self._started: set[object] = set()
        for module in (trial_runs, image_pass):
            monkeypatch.setattr(module, "sweep_batch", self.sweep_batch)
        monkeypatch.setattr(trial_runs, "deconv_many", self.project)
        monkeypatch.setattr(
            local_projections,
            "numbered_projections",
            lambda *given, **options: enumerate(self.project(*given, **options)),
        )
        monkeypatch.setattr(estimate_module, "_ROW_SECONDS", 0.0)

    def __call__(self) -> float:
        return self.seconds

    def sweep_batch(
        self, net: Network, sweeps: Any, images: Sequence[NetworkInput], **rest: Any
    ) -> Any:
        self._start(len(images))
        self.seconds += self.BATCH + self.IMAGE * len(images)
        return sweep_batch(net, sweeps, images, **rest)

    def project(
        self, net: Network, requests: Iterable[tuple[Unit, NetworkInput]], **_options: Any
    ) -> Iterator[Projection]:
        """An image runs forward once for each call, and back for each unit that sees all of it."""
        requests = list(requests)
        whole = [(unit, image) for unit, image in requests if unit.layer == "head"]
        self._start("head" if whole else requests[0][0].layer)
        self.seconds += self.FORWARD * len({id(image) for _, image in whole})
        for unit, _ in requests:
            self.seconds += self.UNIT / (1 if unit.layer == "head" else 20)
        yield from deconv_many(net, requests)

    def _start(self, shape: object) -> None:
        """The first time is slow, as in a network that has not run on this shape yet."""
        self.seconds += 0.0 if shape in self._started else self.FIRST
        self._started.add(shape)


def stage_seconds(work: Work, run: Callable[[ProgressListener], object]) -> dict[str, float]:
    """How long each stage of a run takes, after the warm-up."""
    starts: dict[str, float] = {}
    ends: dict[str, float] = {}

    def listen(progress: Progress) -> None:
        starts.setdefault(progress.stage, work.seconds)
        ends[progress.stage] = work.seconds

    run(listen)
    return {stage: ends[stage] - starts[stage] for stage in starts}


@pytest.mark.parametrize("wish", ["all", "max", 2])
@pytest.mark.parametrize("sizes", [(12, 9), (70, 2)], ids="{0[0]} images, top {0[1]}".format)
def test_a_scan_takes_what_its_estimate_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int], wish: str | int
) -> None:
    """Within 30 %, though the first of every kind of work takes long."""
    images, top = sizes
    folder = write_images(tmp_path / "photos", images)
    work = Work(monkeypatch)
    options: dict[str, Any] = {"layers": OF_TINY, "top": top, "projections": wish}
    scan(tiny(), folder, to=tmp_path / "warm", **options).close()
    said = estimate_tiny(tiny(), list_images(folder), top=top, ranks=parse_ranks(wish), clock=work)
    took = stage_seconds(
        work, lambda progress: scan(tiny(), folder, to=tmp_path / "a", progress=progress, **options)
    )
    assert said.pass_seconds == pytest.approx(took["scan"], rel=0.3)
    assert said.projection_seconds == pytest.approx(took["illustrate"], rel=0.3)


def test_what_only_the_first_of_its_kind_takes_is_not_scaled_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(monkeypatch)
    cold = estimate_tiny(tiny(), list_images(folder), clock=work)
    warm = estimate_tiny(tiny(), list_images(folder), clock=work)
    assert cold.pass_seconds == pytest.approx(warm.pass_seconds)
    assert cold.projection_seconds == pytest.approx(warm.projection_seconds)


@pytest.mark.parametrize(("images", "top", "batch"), [(400, 9, 16), (50, 9, 16), (300, 1, 1)])
def test_as_many_images_enter_a_ranking_as_in_a_pass_over_images_in_any_order(
    images: int, top: int, batch: int
) -> None:
    channels, random = 200, torch.Generator().manual_seed(0)
    sweeps = LayerSweeps(Sweep.empty(channels, top=top), {})
    ranking, entered = sweeps.sweep.by_max, 0
    for start in range(0, images, batch):
        numbers = torch.arange(start, min(start + batch, images))
        scores = torch.rand(len(numbers), channels, generator=random)
        entered += int(ranking.entry_mask(scores, numbers).sum())
        ranking = ranking.add(scores, numbers, torch.zeros_like(scores, dtype=torch.int64))
    trial = SweepTrial(1.0, 0.0, batch, sweeps, images)
    assert trial.mean_seconds(images) == pytest.approx(entered / (images * channels), rel=0.2)


@pytest.mark.parametrize(("draws", "images"), [(50, 1000), (1000, 1000), (4000, 500)])
def test_hits_are_of_as_many_images_as_draws_at_random(draws: int, images: int) -> None:
    random = np.random.default_rng(0)
    counts = [len(np.unique(random.integers(0, images, draws))) for _ in range(20)]
    assert estimate_module._distinct(draws, images) == pytest.approx(np.mean(counts), rel=0.03)


@pytest.mark.parametrize(("images", "top"), [(40, 1), (40, 9), (500, 1), (500, 9)])
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6, 0.8, 1.0])
def test_hits_by_mean_alone_are_as_many_as_the_trial_lets_expect(
    correlation: float, images: int, top: int
) -> None:
    """Maxima and means are Gaussian, with a correlation."""
    random, channels = np.random.default_rng(0), 2000

    def rankings(count: int, channels: int) -> tuple[Any, Any]:
        maxima, noise = random.standard_normal((2, channels, count))
        means = correlation * maxima + (1 - correlation**2) ** 0.5 * noise
        return (-maxima).argsort(axis=1), (-means).argsort(axis=1)

    by_max, by_mean = rankings(8, channels)
    same = int((by_max[:, 0] == by_mean[:, 0]).sum())
    layer_hits = LayerHits((), divergence(same, channels, images=8))
    by_max, by_mean = (ranking[:, :top] for ranking in rankings(images, 400))
    alone = 1 - np.mean([np.isin(b, a).mean() for a, b in zip(by_max, by_mean, strict=True)])
    expected = layer_hits.share_by_mean_alone(images, top)
    assert expected == pytest.approx(alone, abs=0.12)


@pytest.mark.parametrize("images", [8, 48, 500])
@pytest.mark.parametrize("top", [1, 9])
def test_hits_are_as_many_as_the_trial_lets_expect(images: int, top: int) -> None:
    """Channels fire in each image with a probability of their own; a quarter never does."""
    random = np.random.default_rng(0)
    rates = random.beta(1, 3, 4000) * (random.random(4000) > 0.25)
    counts = random.binomial(8, rates)
    made = np.minimum(random.binomial(images, rates), top).sum()
    layer_hits = LayerHits(counts.tolist(), 0.0)
    expected = layer_hits.expected(images, trial_images=8, ranks=top, by_mean=False)
    assert expected == pytest.approx(made, rel=0.15)
    live = live_channels(counts.tolist(), trial_images=8, images=images)
    assert live == pytest.approx((random.binomial(images, rates) > 0).sum(), rel=0.15)
    assert np.count_nonzero(counts) <= live <= 4000


@pytest.mark.parametrize(("top", "ranks"), [(9, None), (3, None), (9, 2), (3, 9), (20, None)])
def test_the_estimate_of_projections_is_an_upper_limit(
    folder: Path, tmp_path: Path, top: int, ranks: int | None
) -> None:
    said = estimate_tiny(tiny(), list_images(folder), top=top, ranks=Ranks(ranks))
    wish = "all" if ranks is None else ranks
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers=OF_TINY, top=top, projections=wish)
    ((made,),) = atlas.sql("SELECT count(*) FROM projections")
    shown = min(top, 12, ranks or 99)
    assert (said.images, said.channels) == (12, len(atlas))
    assert said.projections == 2 * shown * len(atlas)
    assert 0 < int(str(made)) <= said.projections
    assert min(said.disk_bytes, said.memory_bytes) > 0


def test_the_estimate_counts_the_sums_of_classes_as_they_are_in_memory(folder: Path) -> None:
    flat = list_images(folder)
    named = replace(flat, labels=[0] * 12, class_names=[f"class {n}" for n in range(40)])
    none = parse_ranks("none")
    said, without = (
        estimate_tiny(tiny(), named, classes=classes, ranks=none) for classes in (True, False)
    )
    no_image = ClassRow.empty(said.channels)
    assert said.sizes.class_bytes == 40 * sum(column.nbytes for column in no_image.columns)
    assert said.memory_bytes - without.memory_bytes == said.sizes.class_bytes
    assert (without.sizes.class_bytes, without.sizes.classes) == (0, 0)
    stored = 2 * np.zeros((said.channels, 40), np.float32).nbytes + said.channels * NUMBER_BYTES
    assert said.disk_bytes - without.disk_bytes == pytest.approx(stored, rel=0.3)


def test_projections_that_take_little_time_are_not_tried(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_runs, "deconv_many", lambda *_: pytest.fail("tried"))
    monkeypatch.setattr(estimate_module, "_NEGLIGIBLE", 1e6)
    said = estimate_tiny(tiny(), list_images(folder), ranks=Ranks(1))
    assert said.pass_seconds > 0
    assert said.projection_seconds > 0
    none = estimate_tiny(tiny(), list_images(folder), ranks=Ranks(0))
    assert (none.projections, none.projection_seconds) == (0, 0.0)


def test_the_trial_takes_a_small_share_of_the_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, listed = Work(monkeypatch), list_images(folder)
    many = replace(listed, keys=list(listed.keys) * 100, labels=list(listed.labels) * 100)
    trial = trial_runs.try_images(tiny(), listed, clock=work)
    monkeypatch.setattr(estimate_module, "try_images", lambda *_, **__: trial)
    estimate_tiny(tiny(), listed, clock=work)
    start = work.seconds
    said = estimate_tiny(tiny(), many, clock=work)
    trial_seconds = work.seconds - start
    assert trial_seconds < 0.1 * (said.pass_seconds + said.projection_seconds)


def test_the_pass_takes_longer_the_more_images_there_are_and_the_slower_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, listed = Work(monkeypatch), list_images(folder)
    trial = trial_runs.try_images(tiny(), listed, clock=work)

    def seconds(count: int, *, read: float = 0.0, encode: float = 0.0) -> float:
        slow = replace(trial, read_seconds=read, encode_seconds=encode)
        monkeypatch.setattr(estimate_module, "try_images", lambda *_, **__: slow)
        many = replace(listed, keys=list(listed.keys) * count, labels=list(listed.labels) * count)
        said = estimate_tiny(tiny(), many, ranks=Ranks(0), workers=1, clock=work)
        return said.pass_seconds

    assert seconds(10, read=2.0) == pytest.approx(10 * seconds(1, read=2.0), rel=0.1)
    assert seconds(1) >= 12 * work.IMAGE
    assert seconds(1, read=5.0) >= 12 * 5.0
    assert seconds(1, read=50.0) > seconds(1, read=5.0)
    assert seconds(1, read=5.0, encode=5.0) == pytest.approx(seconds(1, read=10.0), rel=0.05)
    most_enter_no_ranking = seconds(100_000, read=5.0, encode=5.0) / seconds(100_000, read=5.0)
    assert most_enter_no_ranking < 1.1


def test_there_are_no_more_hits_than_images(folder: Path) -> None:
    listed = list_images(folder)
    for precision in ("full", "bf16"):
        many = estimate_tiny(tiny(), listed, top=10**8, precision=precision)
        every = estimate_tiny(tiny(), listed, top=len(listed.keys), precision=precision)
        assert (many.memory_bytes, many.projections) == (every.memory_bytes, every.projections)


def test_images_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    images = write_images(tmp_path / "photos", 5)
    for number in (0, 1, 2):
        (images / f"{number:02}.png").write_bytes(b"broken")
    assert estimate_tiny(tiny(), list_images(images)).pass_seconds > 0
    for file in images.iterdir():
        file.write_bytes(b"broken")
    said = estimate_tiny(tiny(), list_images(images))
    assert (said.images, said.projections) == (5, 2 * 5 * said.channels)


def test_estimating_leaves_no_trace_on_the_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate_module, "_NEGLIGIBLE", 0.0)
    net = tiny()
    with no_trace(net.module):
        said = estimate_tiny(net, list_images(folder))
    assert said.projection_seconds > 0


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some scenes of the painted world, in a folder for each class."""
    folder = tmp_path_factory.mktemp("scenes")
    for number in range(64):
        label = LABELS[number % len(LABELS)]
        path = folder / label / f"{number:06}.png"
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(scene(2**44 + number, label=label).pixels).save(path)
    return folder


@pytest.mark.parametrize(("per_class", "projections"), [(0, 1), (9, "none")])
def test_an_atlas_is_as_large_as_its_estimate_says(
    scenes: Path, tmp_path: Path, *, per_class: int, projections: str | int
) -> None:
    """Within 10 %, though a class has fewer images than are asked for, and pages are not full."""
    net, listed, layers = open_model("demo"), list_images(scenes), ["features.1", "features.4"]
    options: dict[str, Any] = {"layers": layers, "projections": projections}
    scan(net, scenes, to=tmp_path / "a", per_class=per_class or None, **options).close()
    said = estimate_scan(
        net,
        scan_layers(net, layers),
        listed,
        ranks=parse_ranks(projections),
        class_rankings=ClassRankingRequest(per_class),
    )
    assert said.disk_bytes == pytest.approx((tmp_path / "a").stat().st_size, rel=0.1)
