"""Volumes in the viewer: a slider shows each slice, from a server and from a folder."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import retroscope as rs
from retroscope.network import Network
from retroscope.render.mosaics import draw_tiles
from retroscope.web.export import write_site
from retroscope.web.server import make_app
from retroscope.web.site.routes import list_paths, respond
from retroscope.web.site.site import Site, make_site
from retroscope.web.site.slice_plates import draw_slice_plates
from tests.web.conftest import Looks, running

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

DEPTH, SIDE = 8, 24
PLACES = [(2, 5, 6), (3, 16, 9), (4, 11, 17), (5, 8, 8)]
"""Where the bright voxel of each volume is; the darker the slice, the higher the score."""
UNIT = "unit/spot/0"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def level(z: int) -> int:
    """The grey of a slice, which tells it from all others."""
    return 20 + 25 * z


class Spot(nn.Module):
    """Fires where a voxel is brighter than its neighbours; a gradient of slices is none."""

    def __init__(self) -> None:
        super().__init__()
        self.spot = nn.Conv3d(1, 2, 3)
        with torch.no_grad():
            self.spot.weight.fill_(-1 / 26)
            self.spot.weight[:, :, 1, 1, 1] = 1
            self.spot.bias.fill_(-0.01)  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maxima: torch.Tensor = self.spot(x).relu().amax((2, 3, 4))
        return maxima


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("volumes")
    for number, (z, y, x) in enumerate(PLACES):
        values = np.empty((DEPTH, SIDE, SIDE), np.uint8)
        values[:] = np.array([level(z) for z in range(DEPTH)], np.uint8)[:, None, None]
        values[z, y, x] = 255 - number
        np.save(folder / f"{number}.npy", values)
    net = Network(Spot(), input_size=(DEPTH, SIDE, SIDE), mean=[0], std=[1], name="spots")
    with rs.scan(net, folder, to=folder / "spots.atlas", layers="spot", projections="all") as atlas:
        yield make_site(atlas)


@pytest.fixture(scope="module")
def written(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "site"
    write_site(site, folder)
    return folder


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[str]:
    with running(make_app(site)) as address:
        yield address


@pytest.fixture(params=["served", "folder"])
def unit_page(request: pytest.FixtureRequest, served: str, written: Path) -> str:
    if request.param == "served":
        return f"{served}{UNIT}.html"
    return f"{written.as_uri()}/unit/spot/index.html?channel=0"


def grey(part: "Locator") -> int:
    """The grey in the top left of a picture, where no bright voxel is."""
    with Image.open(BytesIO(part.screenshot())) as picture:
        pixels = np.asarray(picture.convert("L"))
    return int(np.median(pixels[2:8, 2:8]))


def words(page: "Page", container: str = "[data-ranking=max] .context") -> str:
    return page.locator(f"{container} .slice-control output").inner_text()


def test_the_strongest_slice_is_shown_first_and_said_in_words(
    unit_page: str, look: Looks, site: Site
) -> None:
    page = look(unit_page, viewport=DESK)
    for number, patch in enumerate(site.atlas.plate("spot:0").patches):
        assert patch.strongest_slice == PLACES[number][0]
        page.locator(f"[data-ranking=max] .patches .tile >> nth={number}").hover()
        assert words(page) == f"slice {PLACES[number][0] + 1} of {DEPTH}, the strongest"
        shown = grey(page.locator("[data-ranking=max] .whole-image"))
        assert abs(shown - level(PLACES[number][0])) <= 3


def test_the_slider_shows_each_slice_and_moves_nothing_else(unit_page: str, look: Looks) -> None:
    page = look(unit_page, viewport=DESK)
    context = page.locator("[data-ranking=max] .context")
    parts = [context.locator("dl"), context.locator(".slice-control"), page.locator("h1")]
    boxes = [part.bounding_box() for part in parts]
    slider = context.locator("input")
    slider.focus()
    page.keyboard.press("Home")
    for z in range(DEPTH):
        strongest, first, last = PLACES[0][0], PLACES[0][0] - 1, PLACES[0][0] + 1
        remark = "" if first <= z <= last else ", not in the field"
        remark = ", the strongest" if z == strongest else remark
        assert words(page) == f"slice {z + 1} of {DEPTH}{remark}"
        assert slider.get_attribute("aria-valuetext") == words(page)
        assert abs(grey(context.locator(".whole-image")) - level(z)) <= 3
        tile = page.locator('[data-ranking=max] .patches .tile[data-hit="0"] svg.crop')
        assert abs(grey(tile) - level(z)) <= 10
        hidden = page.locator('[data-ranking=max] .projections .tile[data-hit="0"] image')
        is_unseen = hidden.get_attribute("data-unseen") is not None
        assert is_unseen == (not first <= z <= last)
        assert [part.bounding_box() for part in parts] == boxes
        page.keyboard.press("ArrowRight")
    assert words(page).startswith(f"slice {DEPTH} of {DEPTH}")  # there is no slice after the last


def test_other_hits_keep_their_slices(served: str, look: Looks) -> None:
    page = look(f"{served}{UNIT}.html", viewport=DESK)
    page.locator("[data-ranking=max] .context input").fill("1")
    page.locator("[data-ranking=max] .patches .tile >> nth=1").hover()
    assert words(page) == f"slice {PLACES[1][0] + 1} of {DEPTH}, the strongest"
    page.locator("[data-ranking=max] .patches .tile >> nth=0").hover()
    assert words(page).startswith("slice 1 of 8")


def test_keys_change_the_slice_on_the_page_and_in_the_zoom(unit_page: str, look: Looks) -> None:
    page = look(unit_page, viewport=DESK)
    page.keyboard.press("]")
    assert words(page) == "slice 4 of 8"
    page.keyboard.press("z")
    dialog = page.locator("dialog.zoom")
    assert words(page, "dialog.zoom") == "slice 4 of 8"
    page.keyboard.press("[")
    page.keyboard.press("[")
    assert words(page, "dialog.zoom") == "slice 2 of 8"
    assert words(page) == "slice 2 of 8"
    assert abs(grey(dialog.locator(".zoomed.patches svg.crop")) - level(1)) <= 3
    dialog.locator(".slice-control input").focus()
    page.keyboard.press("ArrowRight")  # the next slice, not the next hit
    assert dialog.locator("h2").inner_text().startswith("Hit 1 of 4")
    assert words(page, "dialog.zoom") == "slice 3 of 8, the strongest"
    dialog.locator("button[aria-label='Next hit']").click()
    assert words(page, "dialog.zoom") == f"slice {PLACES[1][0] + 1} of 8, the strongest"


def test_a_finger_on_the_slider_changes_the_slice_and_not_the_hit(served: str, look: Looks) -> None:
    page = look(f"{served}{UNIT}.html", viewport=PHONE, has_touch=True, is_mobile=True)
    page.locator("[data-ranking=max] .patches .tile >> nth=0").tap()
    slider = page.locator("dialog.zoom .slice-control input")
    box = slider.bounding_box()
    assert box is not None
    assert box["height"] >= 28
    page.touchscreen.tap(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    assert words(page, "dialog.zoom").startswith("slice 8 of 8")
    session = page.context.new_cdp_session(page)
    for kind, x in (("touchStart", box["x"] + box["width"] - 5), ("touchMove", box["x"] + 5)):
        points = [{"x": x, "y": box["y"] + box["height"] / 2}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert page.locator("dialog.zoom h2").inner_text().startswith("Hit 1 of 4")


def test_pointing_at_a_unit_shows_its_slice_of_an_image(served: str, look: Looks) -> None:
    page = look(f"{served}image/1.html", viewport=DESK)
    assert words(page, ".context") == "slice 5 of 8"
    page.locator(".context .slice-control input").fill("1")
    assert abs(grey(page.locator(".whole-image")) - level(0)) <= 3
    page.locator("[data-box] >> nth=0").hover()
    assert words(page, ".context") == f"slice {PLACES[1][0] + 1} of 8"
    assert (
        page.locator("#frame-caption")
        .inner_text()
        .startswith(f"Receptive field of spot:0: slices {PLACES[1][0]} to {PLACES[1][0] + 2}, y ")
    )


def test_every_page_and_file_of_volumes_is_there(site: Site, written: Path) -> None:
    for path in list_paths(site):
        assert respond(site, path).body
    assert (written / "image" / "0.slice.webp").exists()
    with Image.open(BytesIO(respond(site, "image/0.slice.webp").body)) as middle:
        assert middle.size == (SIDE, SIDE)
        assert abs(np.asarray(middle.convert("L"))[0, 0].item() - level(DEPTH // 2)) <= 2


def test_a_plate_of_slices_shows_in_each_plate_the_next_slice_of_every_unit(site: Site) -> None:
    patches = site.atlas.plate("spot:0").patches
    plates = draw_slice_plates(patches, "patch", side=80, tone="robust")
    side = plates.width // 3
    assert plates.height == 3 * plates.width
    for number in range(3):
        for index, patch in enumerate(patches):
            row, column = divmod(index, 3)
            z = patch.visible.front + number
            (tile,) = draw_tiles([patch.slice(z)], "patch", factor=1)
            assert tile is not None
            box = (column * side, (number * 3 + row) * side)
            cell = plates.crop((*box, box[0] + side, box[1] + side)).convert("RGB")
            np.testing.assert_array_equal(np.asarray(cell), np.asarray(tile))


def test_my_image_says_what_there_is_for_volumes(site: Site) -> None:
    page = respond(site, "mine.html").body.decode()
    assert "This page is for images, and the network takes volumes or clips." in page
    assert "retroscope explain MODEL VOLUME --atlas spots.atlas -o page.html" in page
    assert '<form id="upload"' not in page
    assert "my_image.js" not in page
