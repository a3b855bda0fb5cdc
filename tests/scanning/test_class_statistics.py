"""A scan of images with classes: its statistics of them, and how it does without."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import RetroscopeError
from retroscope.progress import Progress, ignore_progress
from retroscope.scanning.job import scan
from retroscope.scanning.layer_choice import network_layers
from retroscope.scanning.size_limits import MAX_LAYER_BYTES, refuse_too_many_classes
from retroscope.scanning.statistics import image_sample
from retroscope.scanning.statistics.batch_images import BatchImages, SweptImage
from retroscope.scanning.statistics.sweep import Sweep
from tests.scanning.scans import table_rows, tiny, write_images
from tests.scanning.test_resume import Enough, stop_at

pytestmark = pytest.mark.usefixtures("bf16_on_any_device")


@pytest.fixture(scope="module")
def class_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three classes, and some of none."""
    root = tmp_path_factory.mktemp("classes")
    for number, image in enumerate(sorted(write_images(root / "flat", 13).iterdir())):
        folder = root / "by class" / ("cat", "dog", "owl", ".")[number % 4]
        folder.mkdir(parents=True, exist_ok=True)
        image.rename(folder / image.name)
    return root / "by class"


@pytest.mark.parametrize("precision", ["full", "bf16"])
@pytest.mark.parametrize("stops", [(2,), (4, 10), (2, 4, 6, 8, 10, 12)])
def test_no_bit_depends_on_where_a_scan_was_stopped(
    class_folder: Path, tmp_path: Path, precision: str, stops: Sequence[int]
) -> None:
    """Also of the sums of classes, in the precision of most networks."""

    def run(name: str, progress: Callable[[Progress], None] = ignore_progress) -> None:
        scan(
            tiny(torch.float32),
            class_folder,
            to=tmp_path / name,
            batch_size=2,
            precision=precision,
            projections=False,
            progress=progress,
        ).close()

    for stop in stops:
        with pytest.raises(Enough):
            run("stopped", stop_at("scan", stop))
    run("stopped")
    run("whole")
    whole = table_rows(tmp_path / "whole")
    assert whole["class_stats"]
    assert table_rows(tmp_path / "stopped") == whole


def test_an_unfinished_scan_with_sums_of_another_format_is_refused(
    class_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(Enough):
        scan(tiny(), class_folder, to=tmp_path / "a", batch_size=2, progress=stop_at("scan", 4))
    with AtlasWriter(tmp_path / "a") as writer, writer.transaction():
        checkpoint = writer.meta["checkpoint"]
        assert isinstance(checkpoint, dict)
        writer.put_meta({"checkpoint": {**checkpoint, "format": 3}})
    before = table_rows(tmp_path / "a")
    with pytest.raises(RetroscopeError, match="an unfinished scan of another version") as caught:
        scan(tiny(), class_folder, to=tmp_path / "a", batch_size=2)
    assert caught.value.parameter == "restart"
    assert table_rows(tmp_path / "a") == before


def test_without_classes_there_are_their_names_but_no_statistics(
    class_folder: Path, tmp_path: Path
) -> None:
    for name, classes in (("with", True), ("without", False)):
        scan(tiny(), class_folder, to=tmp_path / name, classes=classes).close()
    rows, others = table_rows(tmp_path / "without"), table_rows(tmp_path / "with")
    assert not rows["class_stats"]
    assert others["class_stats"]
    for table in ("labels", "images", "hits", "projections", "winner_pictures"):
        assert rows[table] == others[table]
    with open_atlas(tmp_path / "without") as atlas:
        assert [label.images for label in atlas.labels] == [4, 3, 3]
        assert atlas.stats("first:0").classes == ()
        assert atlas.sql("SELECT count(top_label) FROM channels") == [(0,)]


def test_leaving_classes_out_is_another_scan(class_folder: Path, tmp_path: Path) -> None:
    scan(tiny(), class_folder, to=tmp_path / "a", projections=False).close()
    with pytest.raises(RetroscopeError, match="whether there are statistics of classes") as caught:
        scan(tiny(), class_folder, to=tmp_path / "a", classes=False)
    assert caught.value.parameter == "restart"
    flat = class_folder / "cat"
    scan(tiny(), flat, to=tmp_path / "b", projections=False).close()
    scan(tiny(), flat, to=tmp_path / "b", classes=False, projections=False).close()


def test_an_atlas_from_before_the_choice_has_statistics_of_classes(
    class_folder: Path, tmp_path: Path
) -> None:
    scan(tiny(), class_folder, to=tmp_path / "a", projections=False).close()
    with AtlasWriter(tmp_path / "a") as writer, writer.transaction():
        writer.delete_meta("with_classes")
    scan(tiny(), class_folder, to=tmp_path / "a", projections=False).close()
    with pytest.raises(RetroscopeError, match="statistics of classes"):
        scan(tiny(), class_folder, to=tmp_path / "a", classes=False)


def test_more_classes_than_a_checkpoint_can_hold_are_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = network_layers(tiny(), ["conv"])
    widest = max(layer.channels for layer in layers)
    with pytest.raises(RetroscopeError, match="leave the statistics of classes out") as caught:
        refuse_too_many_classes(10**9, layers, max_hits=9)
    assert caught.value.parameter == "classes"
    limit = int(str(caught.value).split("may be ")[1].split(";")[0].replace(",", ""))
    refuse_too_many_classes(limit, layers, max_hits=9)
    with pytest.raises(RetroscopeError, match="too many"):
        refuse_too_many_classes(limit + 1, layers, max_hits=9)
    monkeypatch.setattr(image_sample, "SAMPLE_IMAGES", 1)
    sizes = [_checkpoint_bytes(widest, classes) for classes in (1, 101)]
    assert (sizes[1] - sizes[0]) / 100 * limit <= MAX_LAYER_BYTES < 1e9


def _checkpoint_bytes(channels: int, classes: int) -> int:
    images = BatchImages.of([SweptImage(label, label, label) for label in range(classes)])
    sweep = Sweep.empty(channels, top=9)
    sweep = sweep.add(sweep.summarise(torch.ones(classes, channels, 1, 1), images), images)
    return sum(array.nbytes for array in sweep.to_arrays().values())
