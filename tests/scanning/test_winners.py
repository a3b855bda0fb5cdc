"""The images among the hits are in the atlas, each read once, and no others."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from retroscope.atlas.image_blobs import encode_image
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.network import Network
from retroscope.progress import Progress, ignore_progress
from retroscope.scanning import checkpoints, loading, winners
from retroscope.scanning.image_files import read_input
from retroscope.scanning.job import scan
from retroscope.scanning.sources import ImageList
from retroscope.scanning.statistics import image_sample
from tests.scanning.scans import table_rows, tiny, write_images

pytestmark = pytest.mark.usefixtures("bf16_on_any_device")

COUNT, SAMPLE = 40, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos"), COUNT)


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winners, "IMAGES_PER_TRANSACTION", 3)
    monkeypatch.setattr(image_sample, "SAMPLE_IMAGES", SAMPLE)


def run(
    folder: Path,
    to: Path,
    *,
    precision: str = "full",
    top: int = 2,
    progress: Callable[[Progress], None] = ignore_progress,
) -> Atlas:
    return scan(
        *(tiny(), folder),
        to=to,
        top=top,
        batch_size=4,
        precision=precision,
        projections="none",
        progress=progress,
    )


def stored_blobs(atlas: Atlas) -> dict[int, object]:
    rows = atlas.sql("SELECT image, blob FROM winner_pictures")
    return {int(str(image)): blob for image, blob in rows}


def images_of_hits(atlas: Atlas) -> set[object]:
    """Those of the sample are stored, too."""
    query = "SELECT image FROM hits UNION SELECT image FROM sample_images"
    return {image for (image,) in atlas.sql(query)}


@pytest.mark.parametrize("precision", ["full", "bf16"])
@pytest.mark.parametrize("top", [1, 2, 9])
def test_the_images_among_the_hits_are_stored_as_the_network_takes_them(
    folder: Path, tmp_path: Path, precision: str, top: int
) -> None:
    atlas, net = run(folder, tmp_path / "a", precision=precision, top=top), tiny()
    blobs = stored_blobs(atlas)
    assert blobs.keys() == images_of_hits(atlas)
    assert len(blobs) < COUNT or top == 9
    for image, blob in blobs.items():
        assert blob == encode_image(net.prepare(folder / f"{image:02}.png").rgb)


def test_a_scan_reads_each_image_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[int] = Counter()

    def count_reads(net: Network, image_list: ImageList, index: int) -> object:
        reads[index] += 1
        return read_input(net, image_list, index)

    for module in (loading, "retroscope.scanning.illustrate"):
        name = module if isinstance(module, str) else module.__name__
        monkeypatch.setattr(f"{name}.read_input", count_reads)
    run(folder, tmp_path / "a").close()
    assert reads == Counter(range(COUNT))


@pytest.mark.parametrize("seconds", [0.0, 1000.0])
def test_a_scan_that_goes_on_has_the_images_of_both_of_its_parts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", seconds)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)

    def stop(progress: Progress) -> None:
        if progress.completed >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "stopped", progress=stop)
    with open_atlas(tmp_path / "stopped") as atlas:
        first = stored_blobs(atlas)
        assert atlas.meta["next"] == 20
    assert first
    stages: list[str] = []
    resumed = run(folder, tmp_path / "stopped", progress=lambda told: stages.append(told.stage))
    assert set(stages) == {"scan"}, "no image is read again"
    whole = run(folder, tmp_path / "whole")
    assert table_rows(resumed.path) == table_rows(whole.path)


def test_images_that_are_no_hits_any_more_do_not_pile_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)
    monkeypatch.setattr(winners, "_FEW_IMAGES", 0)
    stored, entered = list[int](), set[object]()

    def look(progress: Progress) -> None:
        if progress.stage == "scan" and progress.completed:
            with open_atlas(tmp_path / "a") as atlas:
                entered.update(stored_blobs(atlas))
                stored.append(len(stored_blobs(atlas)))

    with run(folder, tmp_path / "a", top=1, progress=look) as atlas:
        hits = len(images_of_hits(atlas))
    assert len(entered) > 1.1 * hits, "some images are pushed out"
    channels = 11
    assert max(stored) <= 1.1 * (3 * channels + SAMPLE) + 4


def test_images_are_encoded_while_the_network_runs(folder: Path, tmp_path: Path) -> None:
    """The first are in the atlas long before the pass ends."""
    seen: list[int] = []

    def look(progress: Progress) -> None:
        if progress.stage == "scan" and progress.completed == COUNT - 4:
            with open_atlas(tmp_path / "a") as atlas:
                seen.append(len(stored_blobs(atlas)))

    run(folder, tmp_path / "a", progress=look).close()
    assert seen[0] > 3
