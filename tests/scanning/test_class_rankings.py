"""Rankings by class: the best images of each class, by definition, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.errors import RetroscopeError
from retroscope.network import Network
from retroscope.scanning import size_limits
from retroscope.scanning.class_ranking_request import ClassRankingRequest
from retroscope.scanning.estimate import estimate_scan
from retroscope.scanning.job import scan
from retroscope.scanning.lots.make_plan import make_plan
from retroscope.scanning.sources import list_images
from tests.scanning.scans import OF_TINY, RECTIFIERS, Maps, maps_of, table_rows, tiny, write_images
from tests.scanning.test_resume import Enough, stop_at

pytestmark = pytest.mark.usefixtures("bf16_on_any_device")

CLASSES = ("cat", "dog", "sea cow", ".")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three classes, some of none, and two that are the same."""
    root = tmp_path_factory.mktemp("classes")
    for number, image in enumerate(sorted(write_images(root / "flat", 13).iterdir())):
        place = root / "photos" / CLASSES[number % 4]
        place.mkdir(parents=True, exist_ok=True)
        image.rename(place / image.name)
    first = root / "photos" / "cat" / "00.png"
    (root / "photos" / "cat" / "zz.png").write_bytes(first.read_bytes())
    return root / "photos"


def run(folder: Path, to: Path, net: Network | None = None, **options: Any) -> Atlas:
    options = {"layers": OF_TINY, "projections": False, "batch_size": 4, **options}
    return scan(net or tiny(), folder, to=to, **options)


def class_hits(atlas: Atlas) -> dict[tuple[str, str, int], list[tuple[Any, ...]]]:
    """Score, image, y and x by layer, class and channel."""
    rows = atlas.sql(
        "SELECT layers.name, labels.name, channel, score, image, y, x FROM class_hits "
        "JOIN layers ON layers.id = class_hits.layer JOIN labels ON labels.id = class_hits.label "
        "ORDER BY class_hits.layer, class_hits.label, channel, rank"
    )
    hits: dict[tuple[str, str, int], list[tuple[Any, ...]]] = {}
    for layer, label, channel, *hit in rows:
        hits.setdefault((str(layer), str(label), int(str(channel))), []).append(tuple(hit))
    return hits


def best_of_class(
    maps: Maps, numbers: list[int], *, per_class: int, is_rectified: bool
) -> list[tuple[Any, ...]]:
    """The hits of one channel among the images of a class, by definition."""
    hits = []
    for number in numbers:
        own = np.where(np.isfinite(maps[number]), maps[number], -np.inf)
        y, x = divmod(int(own.argmax()), own.shape[1])
        if own[y, x] > -np.inf and (own[y, x] != 0 or not is_rectified):
            hits.append((float(own[y, x]), number, y, x))
    return sorted(hits, key=lambda hit: (-hit[0], hit[1]))[:per_class]


@pytest.mark.parametrize("ranked_classes", [None, ["sea cow", "cat"]])
@pytest.mark.parametrize("precision", ["full", "bf16"])
def test_the_best_images_of_each_class_are_those_of_a_slow_loop(
    folder: Path, tmp_path: Path, precision: str, ranked_classes: list[str] | None
) -> None:
    net = tiny()
    atlas = run(
        folder,
        tmp_path / "a",
        net,
        per_class=2,
        ranked_classes=ranked_classes,
        precision=precision,
    )
    keys = [image.key for image in atlas.images]
    hits = class_hits(atlas)
    expected: dict[tuple[str, str, int], list[tuple[Any, ...]]] = {}
    for layer, maps in maps_of(net, OF_TINY, [folder / key for key in keys]).items():
        name = atlas.layer(layer).name
        for label in ranked_classes or CLASSES[:3]:
            numbers = [n for n, key in enumerate(keys) if key.startswith(f"{label}/")]
            for channel in range(maps.shape[1]):
                best = best_of_class(
                    maps[:, channel],
                    numbers,
                    per_class=2,
                    is_rectified=atlas.layer(layer).kind in RECTIFIERS,
                )
                if best:
                    expected[name, label, channel] = best
    assert hits.keys() == expected.keys()
    for key, rows in expected.items():
        assert [hit[1:] for hit in hits[key]] == [hit[1:] for hit in rows], key
        assert [hit[0] for hit in hits[key]] == pytest.approx([hit[0] for hit in rows], rel=1e-9)
    stored = {image for (image,) in atlas.sql("SELECT image FROM winner_pictures")}
    assert stored >= {hit[1] for rows in hits.values() for hit in rows}


@pytest.mark.parametrize("precision", ["full", "bf16"])
def test_no_bit_depends_on_where_a_scan_was_stopped(
    folder: Path, tmp_path: Path, precision: str
) -> None:
    def run_to(name: str, **options: Any) -> None:
        net = tiny(torch.float32)
        options = {"per_class": 2, "precision": precision, "batch_size": 2, **options}
        run(folder, tmp_path / name, net, **options).close()

    for stop in (2, 6, 10):
        with pytest.raises(Enough):
            run_to("stopped", progress=stop_at("scan", stop))
    run_to("stopped")
    run_to("whole")
    assert table_rows(tmp_path / "stopped") == table_rows(tmp_path / "whole")


def test_a_scan_with_other_rankings_by_class_is_another_scan(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "a", per_class=2, ranked_classes=["dog", "cat"]).close()
    run(folder, tmp_path / "a", per_class=2, ranked_classes=["cat", "dog"]).close()
    for options, changed in (
        ({"per_class": 3, "ranked_classes": ["cat", "dog"]}, "the number of images ranked"),
        ({"per_class": 2}, "the classes whose images are ranked"),
        ({}, "the number of images ranked for each class and the classes"),
    ):
        with pytest.raises(RetroscopeError, match=f"holds another scan: {changed}"):
            run(folder, tmp_path / "a", **options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"per_class": 0}, "per_class is 0; it must be 1 or more"),
        ({"ranked_classes": ["cat"]}, "per_class says how many; give both"),
        ({"per_class": 1, "classes": False}, "classes leaves the classes out; give one"),
        ({"per_class": 1, "ranked_classes": []}, "ranked_classes names no class; leave it out"),
        ({"per_class": 1, "ranked_classes": "cats"}, "no class 'cats'; did you mean 'cat'?"),
        ({"per_class": 1, "ranked_classes": "x"}, "the images are of cat, dog, sea cow"),
    ],
    ids=str,
)
@pytest.mark.parametrize("start", [scan, make_plan], ids=["scan", "plan"])
def test_what_cannot_be_ranked_is_refused_in_one_line(
    folder: Path,
    tmp_path: Path,
    *,
    start: Callable[..., object],
    options: dict[str, Any],
    reason: str,
) -> None:
    with pytest.raises(RetroscopeError) as caught:
        start(tiny(), folder, to=tmp_path / "a", layers="conv", **options)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_images_without_classes_have_no_rankings_of_them(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match="the images have no classes; put them in a folder"):
        run(folder / "cat", tmp_path / "a", per_class=1)


@pytest.mark.parametrize("start", [scan, make_plan], ids=["scan", "plan"])
def test_what_does_not_fit_in_memory_is_refused_with_the_way_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[..., object]
) -> None:
    """Eleven channels, three classes, 24 bytes for each image: 792 bytes for one per class."""
    monkeypatch.setattr(size_limits, "available_memory", lambda _device: 8 * 792)
    options: dict[str, Any] = {"layers": "conv", "to": tmp_path / "a"}
    with pytest.raises(RetroscopeError, match="rank 4 per class, or fewer classes") as caught:
        start(tiny(), folder, per_class=5, **options)
    assert caught.value.parameter == "ranked_classes"
    monkeypatch.setattr(size_limits, "available_memory", lambda _device: 700)
    with pytest.raises(RetroscopeError, match="rank fewer classes, which ranked_classes names"):
        start(tiny(), folder, per_class=1, **options)
    monkeypatch.setattr(size_limits, "available_memory", lambda _device: 8 * 792)
    start(tiny(), folder, per_class=4, **options)


def test_the_estimate_says_what_rankings_by_class_take(folder: Path) -> None:
    net, listed = tiny(), list_images(folder)
    layers = [layer for layer in net.layers if layer.name in OF_TINY]
    with_rankings, without = (
        estimate_scan(net, layers, listed, class_rankings=request)
        for request in (ClassRankingRequest(2, ("cat", "dog")), None)
    )
    channels, bytes_per_hit = sum(layer.channels for layer in layers), 24
    assert with_rankings.memory_bytes - without.memory_bytes == channels * 2 * 2 * bytes_per_hit
    assert with_rankings.disk_bytes > without.disk_bytes


def test_the_atlas_grows_by_about_what_the_estimate_says(folder: Path, tmp_path: Path) -> None:
    net, listed = tiny(), list_images(folder)
    sizes = {}
    for per_class in (1, 30):
        to = tmp_path / f"{per_class}.atlas"
        run(folder, to, net, per_class=per_class).close()
        with open_atlas(to) as atlas:
            ((rows,),) = atlas.sql("SELECT count(*) FROM class_hits")
        sizes[per_class] = int(str(rows)), to.stat().st_size
    layers = [layer for layer in net.layers if layer.name in OF_TINY]
    request = ClassRankingRequest(1)
    said = estimate_scan(net, layers, listed, class_rankings=request).sizes.class_hit_disk
    rows = sum(layer.channels for layer in layers) * 3
    grown = (sizes[30][1] - sizes[1][1]) / (sizes[30][0] - sizes[1][0])
    assert grown == pytest.approx(said / rows, rel=0.6)


LABELS = ("tabby, tabby cat", "crane, bird", "crane, machine", "dog")


@pytest.fixture(scope="module")
def commas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of classes with commas in their names."""
    root = tmp_path_factory.mktemp("commas")
    for number, image in enumerate(sorted(write_images(root / "flat", 8).iterdir())):
        place = root / "photos" / LABELS[number % 4]
        place.mkdir(parents=True, exist_ok=True)
        image.rename(place / image.name)
    return root / "photos"


@pytest.mark.parametrize(
    ("ranked_classes", "labels"),
    [
        ("tabby, tabby cat", ["tabby, tabby cat"]),
        (["tabby, tabby cat", "dog"], ["dog", "tabby, tabby cat"]),
        ("Tabby,dog", ["dog", "tabby, tabby cat"]),
        (["dog,crane, bird"], ["crane, bird", "dog"]),
        (["tabby", "tabby cat"], ["tabby, tabby cat"]),
    ],
    ids=str,
)
def test_a_class_may_have_commas_in_its_name(
    commas: Path, tmp_path: Path, ranked_classes: str | list[str], labels: list[str]
) -> None:
    """In one process and in lots; the atlas records the labels."""
    with run(commas, tmp_path / "a", per_class=1, ranked_classes=ranked_classes) as atlas:
        assert [label.name for label in atlas.ranked_classes] == labels
        assert atlas.meta["ranked_classes"] == labels
        assert {label for _, label, _ in class_hits(atlas)} == set(labels)
    options: dict[str, Any] = {"layers": OF_TINY, "per_class": 1, "ranked_classes": ranked_classes}
    assert make_plan(tiny(), commas, to=tmp_path / "plan", **options).ranked_classes == labels


def test_a_synonym_of_two_classes_is_refused(commas: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RetroscopeError,
        match="2 classes are called 'crane'; write 'crane, bird' or 'crane, machine'",
    ) as caught:
        run(commas, tmp_path / "a", per_class=1, ranked_classes=["dog,crane"])
    assert caught.value.parameter == "ranked_classes"


def test_a_part_of_the_classes_has_those_that_the_whole_has() -> None:
    """A lot may have images of some classes alone."""
    for texts in ({"tabby, tabby cat,dog"}, {"tabby", "dog"}, {"crane, bird", "tabby cat,dog"}):
        request = ClassRankingRequest(1, tuple(texts))
        ranked = {LABELS[label] for label in request.labels(LABELS)}
        for some in (LABELS[:1], LABELS[3:], LABELS[::3], LABELS):
            assert {some[label] for label in request.labels(some)} == ranked & set(some)
        assert request.with_labels(LABELS).ranked_classes == tuple(sorted(ranked))
        assert not request.missing_names(LABELS)
    unknown = ClassRankingRequest(1, ("dog,wolf",))
    assert unknown.missing_names(LABELS) == ["wolf"]
    assert unknown.with_labels(LABELS).ranked_classes == ("dog", "wolf")
