"""An export of some layers and channels: smaller, complete in itself, and said on its pages."""

import json
from collections.abc import Iterator
from os.path import normpath
from pathlib import Path
from urllib.parse import urljoin

import pytest

import retroscope as rs
from retroscope.atlas.reader import Atlas
from retroscope.errors import RetroscopeError
from retroscope.unit import Unit
from retroscope.web.export import estimate_size, export, open_selection
from retroscope.web.site.export_files import file_content, list_files
from retroscope.web.site.notes import Note, notes_of
from retroscope.web.site.routes import list_paths, respond
from retroscope.web.site.site import Site, open_site, pack_site
from retroscope.world import write_world
from tests.web.sample_atlases import odd_atlas
from tests.web.test_site import links_of, paths_in, script_facts

TOP = 2
LAYERS = ("features.0", "add#2/é<b>")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atlas]:
    with odd_atlas(tmp_path_factory.mktemp("atlases") / "one.atlas") as opened:
        yield opened


@pytest.fixture(scope="module")
def selection(atlas: Atlas) -> Iterator[Site]:
    """Two of four layers, two channels of each."""
    with open_selection(atlas, layers=LAYERS, top_channels=TOP) as site:
        yield site


def strongest(atlas: Atlas, layer: str, count: int) -> list[int]:
    """The channels with hits and the highest maxima, in the order of their numbers."""
    channels = range(atlas.layer(layer).channels)
    maxima = {
        n: atlas.stats(Unit(layer, n)).maximum for n in channels if atlas[f"{layer}:{n}"].patches
    }
    return sorted(sorted(maxima, key=lambda n: (-maxima[n], n))[:count])


def test_the_site_has_these_layers_and_their_strongest_channels(
    atlas: Atlas, selection: Site
) -> None:
    assert [layer.name for layer in selection.atlas.layers] == list(LAYERS)
    names = script_facts(respond(selection, "names.js").body)
    for layer in names["layers"]:
        expected = strongest(atlas, layer["name"], TOP)
        assert layer["listed"] == expected
        page = json.loads(respond(selection, layer["href"].replace(".html", ".json")).body)
        assert [plate["channel"] for plate in page["plates"]] == expected
        columns = script_facts(respond(selection, layer["href"].replace(".html", ".js")).body)
        assert columns["columns"]["channel"] == expected
    units = [path for path in list_paths(selection) if path.startswith("unit/")]
    assert len(units) == 2 * len(LAYERS) * TOP


def test_every_link_and_every_path_leads_to_a_file_of_the_selection(selection: Site) -> None:
    paths = set(list_paths(selection))
    for path in paths:
        body = respond(selection, path).body
        if path.endswith(".html"):
            for link in links_of(body.decode()):
                target = urljoin(path, link.partition("#")[0])
                assert link.startswith("#") or target in paths, (path, link)
        elif path.endswith(".json"):
            for link in paths_in(json.loads(body), folder=""):
                assert normpath(link) in paths, (path, link)


def test_the_pages_say_what_is_left_out(atlas: Atlas, selection: Site) -> None:
    assert b"This site shows 2 of 4 layers." in respond(selection, "index.html").body
    assert b"4 of the channels are shown" in respond(selection, "index.html").body
    page = json.loads(respond(selection, "index.json").body)["layers"][0]["href"]
    assert b"this site shows the 2 with the highest maxima" in respond(selection, page).body
    with open_site(atlas) as whole:
        assert b"This site shows" not in respond(whole, "index.html").body
        assert b"are shown" not in respond(whole, "index.html").body
        assert b"this site shows" not in respond(whole, page).body


def test_statistics_of_a_layer_are_those_of_all_its_channels(atlas: Atlas, selection: Site) -> None:
    with open_site(atlas) as whole:
        expected = {
            layer["name"]: (layer["scanned"], layer["dead"])
            for layer in json.loads(respond(whole, "index.json").body)["layers"]
        }
    for layer in json.loads(respond(selection, "index.json").body)["layers"]:
        assert (layer["scanned"], layer["dead"]) == expected[layer["name"]]


def test_the_atlas_is_not_changed_and_the_excerpt_is_removed(atlas: Atlas) -> None:
    before = atlas.path.read_bytes()
    with open_selection(atlas, layers="conv1") as site:
        path = site.atlas.path
        assert (site.name, path.exists()) == ("one", True)
    assert (atlas.path.read_bytes(), path.exists()) == (before, False)


@pytest.mark.parametrize("layers", ["conv1", "conv", "feat*.0", ["conv1_1"], "features.0, conv1"])
def test_layers_are_chosen_by_name_alias_glob_or_kind(
    atlas: Atlas, layers: str | list[str]
) -> None:
    with open_selection(atlas, layers=layers) as site:
        assert [layer.name for layer in site.atlas.layers] == ["features.0"]
        assert len(list(list_paths(site))) < len(_paths(atlas))


def _paths(atlas: Atlas) -> list[str]:
    with open_site(atlas) as site:
        return list(list_paths(site))


def test_more_channels_than_there_are_leave_out_those_that_never_fire_alone(atlas: Atlas) -> None:
    with open_selection(atlas, top_channels=1000) as site:
        units = {path for path in list_paths(site) if path.startswith("unit/")}
    without_hits = {
        path for path in _paths(atlas) if path.startswith("unit/") and path not in units
    }
    with open_site(atlas) as whole:
        for path in without_hits:
            if path.endswith(".json"):
                facts = json.loads(respond(whole, path).body)
                assert facts["stats"]["dead"] or not facts["rankings"]["max"]["hits"]


def test_a_comparison_is_of_the_chosen_layers(atlas: Atlas, tmp_path: Path) -> None:
    odd_atlas(tmp_path / "two.atlas", seed=1).close()
    with open_selection(atlas, tmp_path / "two.atlas", layers="conv1") as site:
        paths = set(list_paths(site))
        facts = json.loads(respond(site, "compare.json").body)
        assert [layer["name"] for layer in facts["layers"]] == ["features.0"]
        for path in paths:
            if path.endswith(".html"):
                for link in links_of(respond(site, path).body.decode()):
                    target = urljoin(path, link.partition("#")[0])
                    assert link.startswith("#") or target in paths, (path, link)


def test_notes_on_what_is_left_out_have_no_link(atlas: Atlas) -> None:
    notes = notes_of(atlas.path, writable=True)
    shown = f"features.0:{strongest(atlas, 'features.0', TOP)[0]}"
    try:
        for unit in (shown, "head:0"):
            notes.put(unit, Note(star=True))
        with open_selection(atlas, layers=LAYERS, top_channels=TOP, notes=True) as site:
            facts = json.loads(respond(site, "notes.json").body)
    finally:
        notes.path.unlink()
    assert [note["unit"] for note in facts["notes"]] == [shown]
    assert [note["unit"] for note in facts["lost"]] == ["head:0"]


def test_a_selection_that_cannot_be_shown_is_refused(atlas: Atlas, tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match="no layer 'conv9'"):
        export(atlas, tmp_path / "site", layers="conv9")
    with pytest.raises(RetroscopeError, match="top_channels is 0"):
        export(atlas, tmp_path / "site", top_channels=0)
    with pytest.raises(RetroscopeError, match="leave top_channels out, and choose layers"):
        export(atlas, tmp_path / "site", compare=atlas.path, top_channels=2)
    assert not (tmp_path / "site").exists()


# The announced size


def assert_announced_size_is_right(atlas: Atlas, **selection: int | str) -> None:
    with open_selection(atlas, **selection) as site:  # type: ignore[arg-type]
        files, size = estimate_size(site)
        sizes = [len(file_content(file)) for file in list_files(pack_site(site))]
    assert files == len(sizes)
    assert 0.9 < size / sum(sizes) < 1.1


def test_the_announced_size_of_the_demo_is_within_a_tenth(tmp_path: Path) -> None:
    net = rs.open_model("demo")
    write_world(tmp_path / "world", count=40)
    with rs.scan(net, tmp_path / "world", to=tmp_path / "a", glob="*.png", projections=2) as atlas:
        assert_announced_size_is_right(atlas, top_channels=8)


def test_the_announced_size_of_a_network_for_photographs_is_within_a_tenth(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    skimage = pytest.importorskip("skimage.data")
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for name in ("chelsea", "coffee", "astronaut", "rocket"):
        Image.fromarray(getattr(skimage, name)()).save(tmp_path / "photos" / f"{name}.png")
    net = rs.open_model("imagenet")
    layers = ["conv1", "block3.expand.relu", "head.relu"]
    with rs.scan(
        net, tmp_path / "photos", to=tmp_path / "a", layers=layers, projections="none"
    ) as atlas:
        assert_announced_size_is_right(atlas, top_channels=24)
