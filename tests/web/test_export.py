"""The export is the server's pages and files, with those of many units in one file."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from math import ceil
from pathlib import Path
from posixpath import join, normpath
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from retroscope.web.export import FILE_LIST, estimate_size, open_selection, write_site
from retroscope.web.site.export_files import encode_pages, list_files
from retroscope.web.site.pages.unit_pages import list_units
from retroscope.web.site.routes import list_paths, respond
from retroscope.web.site.site import Site, make_site, pack_site
from retroscope.web.site.urls import PACK_SIZES, PACKED_PAGES
from tests.web.conftest import Looks
from tests.web.packs import packed_address, read_images, read_pages, served_addresses
from tests.web.sample_atlases import large_atlas
from tests.web.test_browser import DESK, PHONE
from tests.web.test_site import links_of, most_paths, script_facts

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PACK_LINES = re.compile(r'<script src="[^"]*packs\.js" defer></script>\n| data-pack-sizes="[^"]*"')
"""What the pages of an export have besides those of a server."""
TWIN = re.compile(r'(<(?:link rel="alternate"[^>]*|a) href=")\d+(?:-\d+)?\.json')


def exported_pages(written: Path) -> Iterator[tuple[str, str]]:
    """Every page with its path on a server."""
    for file in written.rglob("*.html"):
        yield file.relative_to(written).as_posix(), file.read_text("utf-8")
    for file in written.rglob("*-*.js"):
        if "plate" in file.parts or "pattern" in file.parts:
            continue
        for number, page in read_pages(file).items():
            yield f"{file.parent.relative_to(written).as_posix()}/{number}.html", page


@pytest.fixture(scope="module")
def pages(written: Path) -> dict[str, str]:
    return dict(exported_pages(written))


def mark_sources(page: str) -> str:
    """The page with one word for the attributes of plates, and for the name of its JSON twin."""
    source = r'(?:src|href|data-packed)="([^"]*(?:plate|pattern)/[^"]*\.webp)"'
    return TWIN.sub(r"\1TWIN", re.sub(source, r'SOURCE="\1"', page))


def as_sent(page: str) -> str:
    """An exported page as a server sends it."""
    return mark_sources(served_addresses(PACK_LINES.sub("", page)))


def test_exported_pages_are_those_of_the_server(site: Site, pages: dict[str, str]) -> None:
    for path in most_paths(site):
        if path.endswith(".html"):
            sent = mark_sources(respond(site, path).body.decode())
            assert as_sent(pages[path]) == sent, path


def test_an_export_has_every_page_of_the_server_and_what_opens_packs(
    site: Site, pages: dict[str, str]
) -> None:
    paths = {path for path in list_paths(site) if path.endswith(".html")}
    assert paths <= pages.keys()
    assert {path.rpartition("/")[2] for path in pages.keys() - paths} == {"index.html"}


def test_other_files_are_those_of_the_server(site: Site, written: Path) -> None:
    for path in most_paths(site):
        file = written / path
        if file.is_file() and not path.endswith(".html"):
            body = respond(site, path).body
            if path.endswith((".js", ".json")) and "static/" not in path:
                assert served_addresses(file.read_text("utf-8")).encode() == body, path
            else:
                assert file.read_bytes() == body, path


def test_the_facts_of_pages_are_those_of_the_server(site: Site, written: Path) -> None:
    seen, checked = set(), set(most_paths(site))
    for file in written.rglob("*-*.json"):
        facts = json.loads(served_addresses(file.read_text("utf-8")))
        folder = file.parent.relative_to(written).as_posix()
        for number, entry in facts.items():
            path = f"{folder}/{number}.json"
            seen.add(path)
            if path in checked:
                assert entry == json.loads(respond(site, path).body), path
    assert seen == {
        path
        for path in list_paths(site)
        if re.search(r"(unit|compare)/[^/]+/\d+\.json|image/\d+\.json", path)
    }


def test_images_of_packs_are_those_of_the_server(site: Site, written: Path) -> None:
    seen = {}
    for file in chain(written.rglob("plate/*/*.js"), written.rglob("pattern/*/*.js")):
        for channel, image in read_images(file).items():
            address = f"{file.relative_to(written).as_posix()}#{channel}"
            seen[served_addresses(address)] = image
    expected = {path for path in list_paths(site) if re.search(r"(plate|pattern)/", path)}
    assert seen.keys() == expected
    for path, image in list(seen.items())[::7]:
        assert image == respond(site, path).body, path


def test_the_list_of_files_has_every_file(site: Site, written: Path) -> None:
    files = {file.relative_to(written).as_posix() for file in written.rglob("*") if file.is_file()}
    listed = [file.location for file in list_files(pack_site(site))]
    assert files == {*listed, FILE_LIST, ".nojekyll"}
    assert (written / FILE_LIST).read_text("utf-8").splitlines() == listed
    assert len({path.lower() for path in listed}) == len(listed)


def test_every_link_and_image_of_an_export_leads_to_something(
    written: Path, pages: dict[str, str]
) -> None:
    """From the folder of the page, as a browser resolves it: a file, and what of it is asked."""
    assert_links_resolve(written, pages)


def assert_links_resolve(written: Path, pages: dict[str, str]) -> None:
    contents = Contents(written, pages)
    for path, page in pages.items():
        packed = re.findall(r' data-(?:packed|robust|gamma)="([^"]*)"', page)
        for link in (*links_of(page), *packed):
            assert not link.startswith(("/", "http")), (path, link)
            assert contents.has(path, link), (path, link)


class Contents:
    """What there is at an address of an export."""

    def __init__(self, written: Path, pages: dict[str, str]) -> None:
        self._written, self._pages = written, pages
        self._images: dict[Path, dict[str, bytes]] = {}

    def has(self, page: str, link: str) -> bool:
        if link.startswith("#"):
            return True
        url = urlsplit(link)
        path = normpath(join(page, "..", url.path))
        file = self._written / path
        if not file.is_file():
            return False
        if url.query:
            ((number,),) = parse_qs(url.query).values()
            return f"{path.rpartition('/')[0]}/{number}.html" in self._pages
        if url.fragment and file.suffix == ".js":
            if file not in self._images:
                self._images[file] = read_images(file)
            return url.fragment in self._images[file]
        return True


def test_scripts_complete_addresses_that_there_are(written: Path) -> None:
    """The search box, and the grid of a layer."""
    names = script_facts((written / "names.js").read_bytes())
    for layer in names["layers"]:
        facts = script_facts((written / layer["href"].replace(".html", ".js")).read_bytes())
        assert facts["units"] == layer["units"]
        for channel in range(layer["channels"]):
            path, _, query = layer["units"].format(channel=channel).partition("?")
            assert (written / path).is_file()
            assert query == f"channel={channel}"
    assert names["image"] == "image/index.html?image={image}"


# -- how many files


def test_files_grow_with_packs_and_not_with_channels(tmp_path: Path) -> None:
    """The law: of each layer, a page that opens packs of 32 pages and of their facts, and packs of
    16 patches by maximum and of 64 other plates; and what does not depend on channels.
    """

    def files_of_units(channels: int) -> int:
        path = tmp_path / f"{channels}.atlas"
        with large_atlas(path, layers=2, channels=channels, images=10) as atlas:
            files = list(list_files(pack_site(make_site(atlas))))
        return sum(file.name in {"unit", "plate", "pattern"} for file in files)

    for channels in (20, 64, 100):
        pages, patches, others = (ceil(channels / size) for size in (32, 16, 64))
        assert files_of_units(channels) == 2 * (1 + 2 * pages + patches + others)
    assert (PACKED_PAGES["unit"].size, PACK_SIZES) == (32, {"max.patches": 16, "other": 64})


def test_an_export_says_about_what_it_takes(site: Site, written: Path) -> None:
    files, size = estimate_size(site)
    listed = (written / FILE_LIST).read_text("utf-8").splitlines()
    assert files == len(listed)
    assert 0.5 < size / sum((written / path).stat().st_size for path in listed) < 2


def test_an_export_removes_the_files_of_an_earlier_version(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / FILE_LIST).write_text("unit/features.0/3.html")
    (folder / "unit/features.0").mkdir(parents=True)
    (folder / "unit/features.0/3.html").write_text("of an earlier version")
    with open_selection(site.atlas, layers="features.0", top_channels=2) as small:
        write_site(small, folder)
    assert not (folder / "unit/features.0/3.html").exists()


@pytest.mark.parametrize(
    "text",
    [
        *("a`b", "${x}", "\\", "\\n", "a\r\nb", "é<b> \u2028", "\\`${`", "", "\n"),
        *("1", "-1.50 .5 5. 007 0 0.0 1e5 00.1", "1.2.3.4,0x1F", "12345678901234567890 0.00001"),
        *("0.1234567890123456", "٣ ² 3", "\x01", "1\x012\n\x01\x01", "3\n4\n3"),
    ],
)
def test_any_text_of_a_page_comes_back_from_a_script(text: str, tmp_path: Path) -> None:
    (tmp_path / "0-31.js").write_bytes(encode_pages([("3", text.encode())]))
    assert read_pages(tmp_path / "0-31.js") == {"3": text}


# -- in a browser, from a folder


@pytest.fixture
def folder(written: Path) -> str:
    return f"{written.as_uri()}/"


UNIT = packed_address("unit/features.0/3.html")


def loaded_images(page: "Page", selector: str) -> list[bool]:
    """Whether images are there, once those near the window are."""
    page.wait_for_function(
        "selector => [...document.querySelectorAll(selector)].every((image) => "
        "(image.getAttribute('href') ?? image.src).startsWith('data:image/webp'))",
        arg=selector,
    )
    images = page.locator(selector).evaluate_all(
        """all => Promise.all(all.map(async (image) => {
            const copy = new Image();
            copy.src = image.getAttribute("href") ?? image.src;
            await copy.decode();
            return copy.naturalWidth > 1;
        }))"""
    )
    return list(images)


def test_a_unit_is_opened_by_its_address_with_all_its_images(folder: str, look: Looks) -> None:
    page = look(folder + UNIT, viewport=DESK)
    assert page.title() == "features.0:3 · one"
    assert page.locator("h1").inner_text().startswith("features.0:3")
    assert page.locator("#no-page").count() == 0
    assert page.evaluate("document.compatMode") == "CSS1Compat"
    images = loaded_images(
        page, "[data-ranking=max] .projections image, [data-ranking=max] .lit image"
    )
    assert images == [True] * 18


def test_keys_lead_to_the_neighbours_and_keep_the_view(folder: str, look: Looks) -> None:
    page = look(f"{folder}{UNIT}#show=lit", viewport=DESK)
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/index.html?channel=4#show=lit")
    assert page.locator("h1").inner_text().startswith("features.0:4")
    assert page.locator("[name=show][value=lit]").is_checked()
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/index.html?channel=3#show=lit")
    page.go_back()
    page.wait_for_url("**/index.html?channel=4#show=lit")
    assert page.locator("h1").inner_text().startswith("features.0:4")


def test_images_are_loaded_when_they_come_near_the_window(folder: str, look: Looks) -> None:
    page = look(f"{folder}layer/add_2_b_~2.html", viewport=PHONE)
    page.wait_for_selector("[aria-setsize='244']")
    assert all(loaded_images(page, ".plate:nth-child(-n + 2) [data-packed]"))
    mean = "[data-packed*='mean.']"
    assert page.locator(mean).count() == 0
    page.keyboard.press("m")
    assert all(loaded_images(page, f".plate:nth-child(-n + 2) {mean}"))


def test_a_projection_is_darker_in_dark_mode_as_on_a_server(folder: str, look: Looks) -> None:
    page = look(folder + UNIT, viewport=DESK, color_scheme="dark")
    dark = page.locator("[data-ranking=max] .projections image").first
    assert dark.evaluate("image => getComputedStyle(image).filter").startswith("brightness")
    patch = page.locator("[data-ranking=max] .patches image").first
    assert patch.evaluate("image => getComputedStyle(image).filter") == "none"


@pytest.mark.parametrize("query", ["", "?channel=99", "?channel=9999", "?channel=-1", "?channel=x"])
def test_an_address_without_a_page_says_so(folder: str, chromium: "Browser", query: str) -> None:
    """A pack that is not there is a complaint of the browser, so this page is no `look`."""
    page = chromium.new_page()
    page.goto(f"{folder}unit/features.0/index.html{query}")
    assert page.locator("h1").inner_text() == "No page at this address"
    assert page.locator("#no-page a").first.is_visible()
    page.close()


def test_without_scripts_a_pack_has_the_facts_and_says_what_pages_need(
    folder: str, look: Looks
) -> None:
    page = look(folder + UNIT, java_script_enabled=False)
    assert "the page needs scripts" in page.locator("#no-page").inner_text()
    assert page.get_by_role("link", name="0-31.json").is_visible()


def test_a_plate_is_saved_with_images_of_packs(hosted: str, look: Looks) -> None:
    page = look(hosted + UNIT, viewport=DESK)
    with page.expect_download() as download:
        page.locator("#save-plate").click()
    assert download.value.suggested_filename == "features.0_3.png"


def test_no_exported_page_is_wider_than_a_phone(folder: str, look: Looks) -> None:
    page = look(folder + UNIT, viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_units_of_a_page_pack_are_the_channels_of_its_range(site: Site, written: Path) -> None:
    for params in list(list_units(site))[:40]:
        folder = written / "unit" / params["layer"]
        first = int(params["channel"]) // 32 * 32
        assert params["channel"] in read_pages(folder / f"{first}-{first + 31}.js")
