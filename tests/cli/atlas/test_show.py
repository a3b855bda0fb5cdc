"""show, as somebody at a terminal meets it."""

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import retroscope as rs
from retroscope.atlas.writer import AtlasWriter
from retroscope.web.site.routes import respond
from retroscope.web.site.site import open_site
from retroscope.web.site.urls import json_url, url_for
from tests.cli.atlas.making import SCANNED, TINY, count
from tests.cli.terminal import Retroscope, Said, check_is_drawing


def test_a_unit_is_shown_as_its_plate(retroscope: Retroscope) -> None:
    said = retroscope("show", "done.atlas", "conv1:3", "-o", "unit.png", "--tone", "gamma")
    assert said == Said(0, "unit.png\n", "")
    with rs.open_atlas("done.atlas") as atlas:
        check_is_drawing("unit.png", atlas["conv1:3"], tone="gamma")


def test_a_layer_is_shown_as_its_strongest_patches(retroscope: Retroscope) -> None:
    assert retroscope("show", "done.atlas", "conv1", "--ranked-by", "mean").status == 0
    with rs.open_atlas("done.atlas") as atlas:
        best, model = atlas.top("conv1", ranked_by="mean"), atlas.meta["model"]
    check_is_drawing(
        "done.conv1.mean.png",
        [patch for _, patch in best],
        names=[str(unit) for unit, _ in best],
        title=f"What excites conv1 (0) most in {model}",
        line_below="9 strongest hits of 8 channels in 13 images · ranked by mean",
    )


@pytest.mark.parametrize(("text", "channels"), [("0-3", range(4)), ("5", range(5, 6))])
def test_channels_are_shown_on_one_sheet(
    retroscope: Retroscope, text: str, channels: range
) -> None:
    said = retroscope("show", "done.atlas", "conv1", "--channels", text)
    assert said == Said(0, f"done.conv1.channels{text}.max.png\n", "")
    with rs.open_atlas("done.atlas") as atlas:
        check_is_drawing(said.out.strip(), [atlas[f"conv1:{one}"] for one in channels])


@pytest.mark.parametrize("lit", [True, False])
def test_lit_patches_are_drawn_if_asked_for(retroscope: Retroscope, *, lit: bool) -> None:
    option = "--lit" if lit else "--no-lit"
    with rs.open_atlas("done.atlas") as atlas:
        drawings: dict[str, tuple[list[str], object]] = {
            "plate.png": (["conv1:3"], atlas["conv1:3"]),
            "sheet.png": (["conv1", "--channels", "0-1"], [atlas["conv1:0"], atlas["conv1:1"]]),
        }
    for name, (words, result) in drawings.items():
        assert retroscope("show", "done.atlas", *words, option, "-o", name).status == 0
        check_is_drawing(name, result, lit=lit)
    assert retroscope("show", "done.atlas", "conv1", option, "-o", "top.png").status == 0
    assert retroscope("show", "done.atlas", "conv1", "-o", "default.png").status == 0
    with PIL.Image.open("top.png") as top, PIL.Image.open("default.png") as default:
        assert (top.size == default.size) == lit


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["conv1:3"], "done.conv1_3.max.png"),
        (["conv1:3", "--ranked-by", "mean"], "done.conv1_3.mean.png"),
        (["conv1:3", "--context"], "done.conv1_3.context.max.png"),
        (["conv1", "--context"], "done.conv1.context.max.png"),
        (["relu2"], "done.relu2.max.png"),
    ],
)
def test_a_picture_without_a_name_is_called_after_what_it_shows(
    retroscope: Retroscope, words: list[str], name: str
) -> None:
    assert retroscope("show", "done.atlas", *words) == Said(0, f"{name}\n", "")
    with PIL.Image.open(name) as shown:
        assert np.asarray(shown).std() > 0


@pytest.mark.parametrize(("unit", "stem"), [("conv1:3", "conv1_3"), ("conv1", "conv1")])
def test_mosaics_are_named_after_layer_and_channel(
    retroscope: Retroscope, unit: str, stem: str
) -> None:
    said = retroscope("show", "done.atlas", unit, "--mosaics", "mosaics")
    paths = [f"mosaics/{stem}_{ending}.png" for ending in ("im", "feat", "lit")]
    assert (said.status, said.out.splitlines(), said.err) == (0, paths, "")
    sizes = set()
    for path in paths:
        with PIL.Image.open(path) as shown:
            sizes.add(shown.size)
    assert len(sizes) == 1
    assert not list(Path().glob("done.*.png"))


def test_mosaics_of_what_is_not_illustrated_are_the_patches_alone(retroscope: Retroscope) -> None:
    said = retroscope("show", "bare.atlas", "conv1:3", "--mosaics", "folder")
    assert (said.status, said.out) == (0, "folder/conv1_3_im.png\n")
    assert "hits are not projected yet; --model MODEL makes them" in said.err


def test_json_of_a_unit_is_what_the_library_says(retroscope: Retroscope) -> None:
    facts = json.loads(retroscope("show", "done.atlas", "conv1:3", "--json").out)
    with rs.open_atlas("done.atlas") as atlas:
        plate = atlas["conv1:3"]
    assert facts["unit"] == "0:3"
    assert {entry["label"] for entry in facts["stats"]["classes"]} == {"a", "b"}
    assert [hit["score"] for hit in facts["hits"]] == [one.score for one in plate.patches]
    assert all(hit["projected"] for hit in facts["hits"])
    for hit in facts["hits"]:
        with rs.open_atlas("done.atlas") as atlas:
            image = atlas.images[hit["image"]]
        assert (image.key, image.label) == (hit["source"], hit["class"])
        assert hit["class"] == hit["source"][0]
    assert not list(Path().glob("done.*.png")), "JSON alone draws nothing"


def test_the_viewer_reports_the_same_statistics_of_a_unit(retroscope: Retroscope) -> None:
    facts = json.loads(retroscope("show", "done.atlas", "conv1:3", "--json").out)
    with open_site("done.atlas") as site:
        path = json_url(url_for(site, "unit", layer="0", channel=3))
        page = json.loads(respond(site, path).body)
    for entry in page["stats"]["classes"]:
        del entry["href"]
    assert page["stats"] == facts["stats"]
    hits = page["rankings"]["max"]["hits"]
    same = facts["hits"][0].keys() & hits[0].keys()
    assert same >= {"score", "position", "box", "image", "source", "class", "projected", "notes"}
    assert [{key: hit[key] for key in same} for hit in hits] == [
        {key: hit[key] for key in same} for hit in facts["hits"]
    ]


def test_json_of_layers_channels_and_mosaics_is_json(retroscope: Retroscope) -> None:
    show = ["show", "done.atlas", "conv1", "--json"]
    assert len(json.loads(retroscope(*show).out)) == 9
    sheet = json.loads(retroscope(*show, "--channels", "2-3").out)
    assert [one["unit"] for one in sheet] == ["0:2", "0:3"]
    assert len(json.loads(retroscope(*show, "--mosaics", "folder").out)) == 9


def test_a_network_without_a_number_is_shown_in_valid_json(retroscope: Retroscope) -> None:
    words = ["scan", "nets.py:not_a_number", "images", "--to", "new.atlas"]
    assert retroscope(*words).status == 0
    said = retroscope("show", "new.atlas", "conv1:0", "--json", "-o", "unit.png")
    facts = json.loads(said.out, parse_constant=pytest.fail)
    assert (said.status, facts["hits"], facts["stats"]["dead"]) == (0, [], True)
    for words in (["conv1", "--context"], ["conv1"]):
        said = retroscope("show", "new.atlas", *words)
        assert (said.status, len(said.err.splitlines())) == (2, 1)


def test_names_that_are_no_text_are_shown_all_the_same(retroscope: Retroscope, desk: Path) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    shutil.rmtree(desk / "images" / "a")
    (desk / "images" / "b" / "1.png").rename(desk / "images" / "b" / name)
    assert retroscope(*SCANNED).status == 0
    said = retroscope("show", "new.atlas", "conv1:3", "--json", "-o", "unit.png")
    assert said.status == 0
    assert f"b/{name}" in [hit["source"] for hit in json.loads(said.out)["hits"]]


# show --model


SHOWN = ["show", "bare.atlas", "conv1:3", "-o", "unit.png"]


def test_with_the_model_what_is_missing_is_made_and_kept(retroscope: Retroscope) -> None:
    with_model = [*SHOWN, "--model", TINY, "--images", "images"]
    said = retroscope(*with_model)
    assert (said.status, said.out) == (0, "unit.png\n")
    assert "illustrate 9/9" in said.err
    with rs.open_atlas("done.atlas") as atlas:
        check_is_drawing("unit.png", atlas["conv1:3"])
    assert count("projections", "bare.atlas") == 9
    again = retroscope(*with_model)
    assert (again.status, again.err) == (0, ""), "nothing is missing now"
    assert retroscope(*SHOWN).status == 0
    with rs.open_atlas("bare.atlas") as atlas:
        check_is_drawing("unit.png", atlas["conv1:3"])


@pytest.mark.parametrize(
    ("words", "hits"),
    [
        (["conv1"], 9),
        (["conv1:3"], 9),
        (["conv1", "--channels", "2-3"], 18),
        (["conv1:3", "--context", "--ranked-by", "mean"], 9),
    ],
)
def test_what_is_missing_is_counted_once_with_what_makes_it(
    retroscope: Retroscope, words: list[str], hits: int
) -> None:
    line = f"{hits} hits are not projected yet; --model MODEL makes them and adds them to the atlas"
    assert retroscope("show", "bare.atlas", *words, "-o", "unit.png").err == f"{line}\n"
    assert retroscope("show", "done.atlas", *words, "-o", "unit.png").err == ""
    said = retroscope(
        "show", "bare.atlas", *words, "-o", "unit.png", "--model", TINY, "--images", "images"
    )
    assert f"{hits} projections added to bare.atlas" in said.err


def test_images_that_have_moved_are_asked_for(retroscope: Retroscope) -> None:
    with AtlasWriter("bare.atlas") as writer, writer.transaction():
        writer.put_meta({"source": "gone"})
    said = retroscope(*SHOWN, "--model", TINY)
    assert said.status == 2
    assert said.err.strip().splitlines()[-1] == (
        "retroscope: the images of the scan are no longer at 'gone'; give the place where they "
        "are (--images)"
    )
    assert retroscope(*SHOWN, "--model", TINY, "--images", "images").status == 0


def test_projections_are_made_by_the_rules_that_the_atlas_shows(retroscope: Retroscope) -> None:
    with AtlasWriter("bare.atlas") as writer, writer.transaction():
        writer.put_meta({"rules": "guided"})
    assert retroscope(*SHOWN, "--model", TINY, "--images", "images").status == 0
    with rs.open_atlas("bare.atlas") as atlas:
        projections = [patch.projection for patch in atlas["conv1:3"].patches]
    assert {one and one.rules for one in projections} == {"guided"}


@pytest.mark.parametrize(
    ("words", "most"),
    [
        (["conv1"], 9),
        (["conv1", "--channels", "2-3"], 18),
        (["conv1:3", "--context", "--ranked-by", "mean"], 9),
        (["conv1:3", "--mosaics", "folder"], 9),
        (["conv1:3", "--json"], 9),
    ],
)
def test_every_way_to_show_makes_what_it_shows_and_little_more(
    retroscope: Retroscope, words: list[str], most: int
) -> None:
    options = ["--model", TINY, "--images", "images"]
    assert retroscope("show", "bare.atlas", *words, *options).status == 0
    asked = [word for word in words if word != "--context"]
    said = retroscope("show", "bare.atlas", *asked, "--json")
    found = json.loads(said.out)
    facts = found if isinstance(found, list) else [found]
    assert all(hit["projected"] for one in facts for hit in one.get("hits", [one]))
    assert most <= count("projections", "bare.atlas") <= most + 3, "few share channel and place"


def test_another_model_makes_nothing(retroscope: Retroscope) -> None:
    for atlas in ("bare.atlas", "done.atlas"):
        said = retroscope(
            "show", atlas, "conv1:3", "--model", "nets.py:other", "--images", "images"
        )
        assert (said.status, "nets.py:other has different weights" in said.err) == (2, True)
    assert count("projections", "bare.atlas") == 0
    assert not list(Path().glob("*.png"))


@pytest.mark.parametrize(
    ("layer", "nearest"), [("conv3", "'conv2' or 'conv1'"), ("relu9", "'relu2'"), ("9", "'4'")]
)
def test_a_layer_that_the_atlas_lacks_is_refused_with_the_nearest_ones(
    retroscope: Retroscope, layer: str, nearest: str
) -> None:
    said = retroscope("show", "done.atlas", f"{layer}:0")
    assert (said.status, said.out) == (2, "")
    assert f"no layer '{layer}' in done.atlas; did you mean {nearest}" in said.err
