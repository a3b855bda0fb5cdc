"""Projections may be made later, some or all; at the end they are the same."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.schema import AtlasError
from retroscope.atlas.writer import AtlasWriter
from retroscope.engine.batching import NetworkInput
from retroscope.errors import RetroscopeError
from retroscope.methods.deconv.deconv import numbered_projections
from retroscope.network import Network
from retroscope.progress import Progress
from retroscope.scanning.background_writer import GROUPS_WAITING
from retroscope.scanning.illustrate import illustrate, parse_ranks
from retroscope.scanning.job import scan
from retroscope.unit import Unit
from tests.atlas import small_atlas
from tests.conftest import no_trace
from tests.scanning.scans import MEAN, OF_TINY, SIDE, table_rows, tiny, write_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos"), 12)


def hits_and_projections(atlas: Atlas, *, below: int = 99) -> tuple[set[object], set[object]]:
    """The places that are hits of a rank below a number, and those that have a projection."""
    hits = atlas.sql(
        "SELECT layer, channel, image, y, x FROM hits WHERE ranked_by IN ('max', 'mean') "
        "AND rank < ?",
        below,
    )
    kept = atlas.sql("SELECT layer, channel, image, y, x FROM projections")
    assert len(kept) == len(set(kept))
    return set(hits), set(kept)


@pytest.mark.parametrize(
    ("wish", "ranks"), [("none", 0), (False, 0), (1, 1), ("3", 3), ("all", 99), (True, 99)]
)
def test_the_selected_hits_are_projected_and_the_rest_later(
    folder: Path, tmp_path: Path, wish: str | int, ranks: int
) -> None:
    atlas = scan(tiny(), folder, to=tmp_path / "a", projections=wish)
    wanted, kept = hits_and_projections(atlas, below=ranks)
    assert kept == wanted
    assert atlas.meta["state"] == ("illustrated" if ranks else "scanned")
    winners = {
        image
        for (image,) in atlas.sql("SELECT image FROM hits UNION SELECT image FROM sample_images")
    }
    assert {image for (image,) in atlas.sql("SELECT image FROM winner_pictures")} == winners
    illustrate(atlas.path, tiny(), folder)
    wanted, kept = hits_and_projections(atlas)
    assert kept == wanted
    assert atlas.meta["state"] == "illustrated"
    assert all(patch.projection for unit in atlas for patch in atlas[unit].patches)


def test_projections_made_later_are_those_made_at_once(folder: Path, tmp_path: Path) -> None:
    scan(tiny(), folder, to=tmp_path / "once")
    scan(tiny(), folder, to=tmp_path / "later", projections="none")
    illustrate(tmp_path / "later", tiny(), folder)
    assert table_rows(tmp_path / "later") == table_rows(tmp_path / "once")


def test_the_same_scan_with_other_ranks_only_adds(folder: Path, tmp_path: Path) -> None:
    for wish in ("none", 2, 1, "all"):
        scan(tiny(), folder, to=tmp_path / "a", projections=wish)
    with open_atlas(tmp_path / "a") as atlas:
        wanted, kept = hits_and_projections(atlas)
        assert kept == wanted


def test_some_layers_and_other_rules_are_added_to_what_is_there(
    folder: Path, tmp_path: Path
) -> None:
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers="conv", projections="none")
    illustrate(atlas.path, tiny(), folder, layers=["conv2"], projections=1)
    illustrate(atlas.path, tiny(), folder, layers=["conv2"], projections=1, rules="guided")
    found = atlas.sql(
        "SELECT DISTINCT layers.name, rules FROM projections "
        "JOIN layers ON layers.id = projections.layer ORDER BY 2"
    )
    assert found == [("second", "guided"), ("second", "relevance")]
    assert atlas["second:0"].patches[0].projection is not None
    assert atlas["first:0"].patches[0].projection is None


def test_the_atlas_says_once_which_rules_and_why(folder: Path, tmp_path: Path) -> None:
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers="conv", projections=1)
    assert atlas.rules == "relevance"
    assert "strided convolutions" in str(atlas.meta["rules_reason"])
    projection = atlas["second:0"].patches[0].projection
    assert projection is not None
    assert not any("strided" in note for note in projection.notes)
    illustrate(atlas.path, tiny(), folder, projections=1, rules="deconvnet")
    assert atlas.rules == "relevance"
    asked = atlas.plate("second:0", rules="deconvnet").patches[0].projection
    assert asked is not None
    assert asked.rules == "deconvnet"


def test_an_atlas_made_with_rules_asked_for_is_shown_with_them(
    folder: Path, tmp_path: Path
) -> None:
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers="conv", projections="none")
    with AtlasWriter(atlas.path) as writer, writer.transaction():
        writer.delete_meta("rules", "rules_reason")  # as an atlas of an earlier version
    assert atlas.rules == "deconvnet"
    illustrate(atlas.path, tiny(), folder, projections=1, rules="guided")
    assert atlas.rules == "guided"
    assert atlas["second:0"].patches[0].projection is not None


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("conv", {"first", "second"}),
        (["relu*", "pool"], {"act", "last_act", "pool"}),
        ("conv2, act", {"second", "act"}),
        (["s?c*", "head"], {"second", "head"}),
        ((), set(OF_TINY)),
    ],
)
def test_layers_are_selected_by_name_alias_glob_and_kind_as_in_a_scan(
    folder: Path, tmp_path: Path, layers: str | list[str], expected: set[str]
) -> None:
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers=OF_TINY, projections="none")
    illustrate(atlas.path, tiny(), folder, layers=layers, projections=1)
    names = atlas.sql(
        "SELECT DISTINCT name FROM projections JOIN layers ON layers.id = projections.layer"
    )
    assert {name for (name,) in names} == expected


@pytest.mark.parametrize(
    ("layers", "error"),
    [
        (
            "linear",
            r"has no linear layer; choose from conv1, \.\.\.; it has 2 layers, first to sec",
        ),
        ("x*", r"no layer of '.*a' matches 'x\*'; it has 2 layers"),
        ("secnd", "did you mean 'second'"),
    ],
)
def test_a_selection_without_a_layer_is_refused(
    folder: Path, tmp_path: Path, layers: str, error: str
) -> None:
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers="conv", projections="none")
    with pytest.raises(RetroscopeError, match=error):
        illustrate(atlas.path, tiny(), folder, layers=layers)


def test_an_atlas_that_records_the_preprocessing_as_text_is_illustrated(
    folder: Path, tmp_path: Path
) -> None:
    """As the first atlases recorded it: a `repr` of that time."""
    text = (
        "Preprocessing(fit=Fit(size=(24, 24), mode='network', shorter=None, "
        "resample='bilinear'), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))"
    )
    atlas = scan(tiny(), folder, to=tmp_path / "a", projections="none")
    for stored in (text.replace("0.6", "0.7"), text):
        with AtlasWriter(atlas.path) as writer, writer.transaction():
            writer.put_meta({"preprocessing": stored})
        if stored != text:
            with pytest.raises(RetroscopeError, match="preprocessing"):
                illustrate(atlas.path, tiny(), folder, projections=1)
    illustrate(atlas.path, tiny(), folder, projections=1)
    assert atlas["second:0"].patches[0].projection is not None


def test_no_projection_is_computed_twice(folder: Path, tmp_path: Path) -> None:
    scan(tiny(), folder, to=tmp_path / "a")
    told: list[Progress] = []
    illustrate(tmp_path / "a", tiny(), folder, progress=told.append)
    assert all(one.total == 0 for one in told)


def test_a_hit_of_both_rankings_is_projected_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = record_requests(monkeypatch)
    atlas = scan(tiny(), folder, to=tmp_path / "a")
    hits, _ = hits_and_projections(atlas)
    ((by_either,),) = atlas.sql("SELECT count(*) FROM hits WHERE ranked_by IN ('max', 'mean')")
    assert len(asked) == len(set(asked)) == len(hits) < int(str(by_either))


def record_requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Unit, str]]:
    """Every unit and picture that is looked back from, from here on."""
    asked: list[tuple[Unit, str]] = []

    def watching(net: Network, wanted: Iterable[tuple[Unit, NetworkInput]], **options: Any) -> Any:
        requests = list(wanted)
        asked.extend((unit, image.source) for unit, image in requests)
        return numbered_projections(net, requests, **options)

    monkeypatch.setattr("retroscope.scanning.local_projections.numbered_projections", watching)
    return asked


@pytest.mark.parametrize("stopped_after", [1, 60, 200])
def test_stopped_at_any_moment_the_best_hits_by_maximum_are_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_after: int
) -> None:
    def tell(progress: Progress) -> None:
        if progress.stage == "illustrate" and progress.completed >= stopped_after:
            raise KeyboardInterrupt

    monkeypatch.setattr("retroscope.scanning.hit_order.MAX_HITS_PER_PORTION", 7)
    with pytest.raises(KeyboardInterrupt):
        scan(tiny(), folder, to=tmp_path / "a", layers=OF_TINY, progress=tell)
    with open_atlas(tmp_path / "a") as atlas:
        hits = "SELECT layer, channel, image, y, x FROM hits WHERE ranked_by = 'max'"
        kept = "SELECT layer, channel, image, y, x FROM projections"
        ranks = "SELECT layer, channel, image, y, x, rank FROM hits WHERE ranked_by = 'max'"
        by_max, done = set(atlas.sql(hits)), set(atlas.sql(kept))
        rank_of = {hit[:5]: int(str(hit[5])) for hit in atlas.sql(ranks)}
    assert stopped_after <= len(done) < stopped_after + 7 * (GROUPS_WAITING + 2)
    assert done <= by_max or by_max < done
    pending = [rank_of[hit] for hit in by_max - done]
    assert max(rank_of[hit] for hit in done & by_max) <= min(pending, default=99)
    scan(tiny(), folder, to=tmp_path / "a", layers=OF_TINY)
    scan(tiny(), folder, to=tmp_path / "once", layers=OF_TINY)
    assert table_rows(tmp_path / "a") == table_rows(tmp_path / "once")


def test_units_are_illustrated_alone(folder: Path, tmp_path: Path) -> None:
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers="conv", projections="none")
    place = atlas["first:0"].patches[0].position
    illustrate(atlas.path, tiny(), folder, units=["conv2:1", Unit("first", 0, place)])
    assert atlas.meta["state"] == "scanned"
    assert all(patch.projection for patch in atlas["second:1"].patches)
    for unit in atlas:
        for patch in atlas[unit].patches:
            wanted = str(unit) == "second:1" or (str(unit), patch.position) == ("first:0", place)
            assert (patch.projection is not None) == wanted


def test_an_empty_selection_of_units_only_checks_the_model(folder: Path, tmp_path: Path) -> None:
    atlas = scan(tiny(), folder, to=tmp_path / "a", projections="none")
    illustrate(atlas.path, tiny(), folder, units=[])
    assert (atlas.sql("SELECT count(*) FROM projections"), atlas.meta["state"]) == (
        [(0,)],
        "scanned",
    )
    with pytest.raises(RetroscopeError, match="different weights"):
        illustrate(atlas.path, tiny(seed=1), folder, units=[])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("last_act", "no layer 'last_act' in .*it has 2 layers"),
        ("second:6", "0 to 5"),
        ("second:1@9,9", "from 0,0 to 4,4"),
    ],
)
def test_units_that_were_not_scanned_are_refused(
    folder: Path, tmp_path: Path, name: str, says: str
) -> None:
    scan(tiny(), folder, to=tmp_path / "a", layers="conv", projections="none")
    with pytest.raises(RetroscopeError, match=says):
        illustrate(tmp_path / "a", tiny(), folder, units=[name])


def test_images_that_the_atlas_remembers_need_no_name(folder: Path, tmp_path: Path) -> None:
    scan(tiny(), folder, to=tmp_path / "once", glob="*.png")
    atlas = scan(tiny(), folder, to=tmp_path / "a", glob="*.png", projections="none")
    (folder / "more.gif").write_bytes((folder / "00.png").read_bytes())
    try:
        illustrate(atlas.path, tiny())
    finally:
        (folder / "more.gif").unlink()
    assert table_rows(atlas.path) == table_rows(tmp_path / "once")


def test_images_that_the_atlas_does_not_remember_must_be_named(tmp_path: Path) -> None:
    small_atlas.write(tmp_path / "a")
    with pytest.raises(RetroscopeError, match="give them as for the scan"):
        illustrate(tmp_path / "a", tiny())


def test_hits_by_maximum_alone_are_projected_on_request(folder: Path, tmp_path: Path) -> None:
    atlas = scan(tiny(), folder, to=tmp_path / "a", projections="max", top=3)
    for unit in atlas:
        assert all(patch.projection for patch in atlas[unit].patches)
    by_mean = [atlas.plate(unit, ranked_by="mean").patches for unit in atlas]
    assert any(patch.projection is None for patches in by_mean for patch in patches)
    illustrate(atlas.path, tiny(), folder)
    whole = scan(tiny(), folder, to=tmp_path / "whole", top=3)
    assert table_rows(atlas.path) == table_rows(whole.path)


def test_illustrating_leaves_no_trace_on_the_network(folder: Path, tmp_path: Path) -> None:
    scan(tiny(), folder, to=tmp_path / "a", projections="none")
    net = tiny()
    with no_trace(net.module):
        illustrate(tmp_path / "a", net, folder)


@pytest.mark.parametrize("change", ["weights", "preprocessing", "images", "image 3"])
def test_a_mismatch_with_the_scan_is_refused_by_name(
    folder: Path, tmp_path: Path, change: str
) -> None:
    scan(tiny(), folder, to=tmp_path / "a", projections="none")
    before = table_rows(tmp_path / "a")
    net, images = tiny(), folder
    if change == "weights":
        net = tiny(seed=1)
    elif change == "preprocessing":
        net = Network(net.module, input_size=(SIDE, SIDE), mean=MEAN, std=MEAN, name="tiny")
    elif change == "images":
        images = write_images(tmp_path / "more", 13)
    else:
        images = write_images(tmp_path / "other", 12)
        (images / "03.png").rename(images / "030.png")
    with pytest.raises(RetroscopeError, match=change):
        illustrate(tmp_path / "a", net, images)
    assert table_rows(tmp_path / "a") == before


def test_illustrate_creates_no_atlas(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match="no atlas"):
        illustrate(tmp_path / "a", tiny(), folder)
    assert not list(tmp_path.iterdir())


def test_an_image_that_disappeared_is_named(tmp_path: Path) -> None:
    images = write_images(tmp_path / "photos", 3)
    scan(tiny(torch.float32), images, to=tmp_path / "a", projections="none")
    (images / "01.png").write_bytes(b"")
    with pytest.raises(RetroscopeError, match=r"01\.png"):
        illustrate(tmp_path / "a", tiny(torch.float32), images)


@pytest.mark.parametrize("wish", ["some", "-1", -1, "1.5", ""])
def test_an_unknown_choice_of_ranks_is_refused(wish: str | int) -> None:
    with pytest.raises(RetroscopeError, match="write auto, all, max, none, or a number of hits"):
        parse_ranks(wish)


def test_a_refused_call_leaves_the_file_as_it_is(folder: Path, tmp_path: Path) -> None:
    scan(tiny(), folder, to=tmp_path / "a").close()
    before = (tmp_path / "a").read_bytes()
    mistakes: list[dict[str, Any]] = [
        {"images": write_images(tmp_path / "fewer", 3)},
        {"layers": "conv9"},
        {"units": ["conv1:99"]},
    ]
    for mistake in mistakes:
        with pytest.raises(RetroscopeError):
            illustrate(tmp_path / "a", tiny(), **mistake)
    assert (tmp_path / "a").read_bytes() == before
    illustrate(tmp_path / "a", tiny())
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a", "fewer"]


def test_a_scan_of_a_data_set_by_index_is_illustrated_with_the_same_data_set(
    tmp_path: Path,
) -> None:
    """Data sets that list their files were once scanned by index too."""
    datasets = pytest.importorskip("torchvision.datasets")
    write_images(tmp_path / "photos" / "cat", 3)
    dataset = datasets.ImageFolder(tmp_path / "photos")
    scan(tiny(), [dataset[n][0] for n in range(3)], to=tmp_path / "a", projections="none").close()
    illustrate(tmp_path / "a", tiny(), dataset)
    wanted, kept = hits_and_projections(open_atlas(tmp_path / "a"))
    assert kept == wanted


def test_projections_end_when_their_time_is_up_and_go_on_later(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(1000))
    monkeypatch.setattr("retroscope.scanning.local_projections.perf_counter", lambda: next(seconds))
    monkeypatch.setattr("retroscope.scanning.job.time_for_projections", lambda _: 4.5)
    monkeypatch.setattr("retroscope.scanning.hit_order.MAX_HITS_PER_PORTION", 7)
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers=OF_TINY)
    assert atlas.meta["state"] == "illustrated"
    assert atlas.sql("SELECT count(*) FROM projections") == [(14,)]
    shown = atlas.sql(
        "SELECT DISTINCT rank FROM projections JOIN hits USING (layer, channel, image, y, x) "
        "WHERE ranked_by = 'max'"
    )
    assert shown == [(0,)]
    illustrate(atlas.path, tiny(), folder)
    scan(tiny(), folder, to=tmp_path / "once", layers=OF_TINY, projections="all")
    assert table_rows(tmp_path / "a") == table_rows(tmp_path / "once")


def test_progress_is_reported_within_a_portion_and_counts_what_is_stored(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A portion of deep hits may take a minute."""
    monkeypatch.setattr("retroscope.scanning.local_projections.REPORT_SECONDS", 0.0)
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers=OF_TINY, projections="none")
    reports: list[tuple[int, int]] = []

    def look(progress: Progress) -> None:
        if progress.stage == "illustrate":
            ((stored,),) = atlas.sql("SELECT count(*) FROM projections")
            reports.append((progress.completed, int(str(stored))))

    illustrate(atlas.path, tiny(), folder, progress=look)
    portions = len({completed for completed, _ in reports})
    assert len(reports) > portions + 5
    assert all(completed <= stored for completed, stored in reports)
    assert reports[-1] == (len(hits_and_projections(atlas)[1]),) * 2


@pytest.mark.parametrize("part", ["encode_projection", "put_projections"])
def test_an_error_while_projections_are_stored_stops_the_pass_and_keeps_what_is_stored(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr("retroscope.scanning.hit_order.MAX_HITS_PER_PORTION", 7)
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers=OF_TINY, projections="none")
    calls, original = [0], getattr(AtlasWriter, part)

    def fail_later(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 22:
            raise AtlasError("the disk is on fire")
        return original(*arguments)

    monkeypatch.setattr(AtlasWriter, part, fail_later)
    with pytest.raises(AtlasError, match=r"^the disk is on fire$"):
        illustrate(atlas.path, tiny(), folder)
    hits, projected = hits_and_projections(atlas)
    assert len(projected) == (21 if part == "encode_projection" else 21 * 7)
    assert atlas.meta["state"] == "scanned"
    illustrate(atlas.path, tiny(), folder)
    assert hits_and_projections(atlas)[1] == hits


def places(atlas: Atlas, query: str) -> set[object]:
    return set(atlas.sql(f"SELECT layer, channel, image, y, x FROM {query}"))  # noqa: S608


def test_several_rankings_are_projected_together_and_each_place_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers="conv", projections="none")
    asked = record_requests(monkeypatch)
    illustrate(atlas.path, tiny(), folder, ranked_by=["min", "sample", "max"])
    wanted = places(atlas, "hits WHERE ranked_by IN ('min', 'sample', 'max')")
    kept = places(atlas, "projections")
    assert kept == wanted
    assert len(asked) == len(set(asked)) == len(wanted)
    assert atlas.meta["state"] == "scanned", "those by mean are missing"


def test_the_best_images_of_several_classes_are_projected(folder: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    rows = (f"{file.name},{'abc'[n % 3]}" for n, file in enumerate(sorted(folder.iterdir())))
    labels.write_text("\n".join(["path,class", *rows]))
    options: dict[str, Any] = {"layers": "conv", "projections": "none", "per_class": 3}
    atlas = scan(tiny(), folder, to=tmp_path / "a", labels=labels, **options)
    numbers = {label.name: label.id for label in atlas.labels}
    illustrate(atlas.path, tiny(), folder, labels=labels, label=["a", "c"], units=["first:2"])
    layer = "(SELECT id FROM layers WHERE name = 'first') AND channel = 2"
    chosen = f"class_hits WHERE layer = {layer} AND label IN ({numbers['a']}, {numbers['c']})"
    assert places(atlas, "projections") == places(atlas, chosen)
    for label, is_projected in (("a", True), ("b", False), ("c", True)):
        patches = atlas.plate("first:2", label=label).patches
        assert {patch.projection is not None for patch in patches} == {is_projected}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ranked_by": []}, "ranked_by is an empty list; name one, or leave it out"),
        ({"label": []}, "label is an empty list; name one, or leave it out"),
        ({"ranked_by": ["min", "maen"]}, "no ranking 'maen'; did you mean 'mean'"),
        ({"ranked_by": ["min"], "label": "a"}, "ranked by max, not by min"),
    ],
    ids=str,
)
def test_rankings_that_there_are_not_are_refused(
    folder: Path, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers="first", projections="none")
    with pytest.raises(RetroscopeError, match=reason):
        illustrate(atlas.path, tiny(), folder, **options)
    assert not places(atlas, "projections")
