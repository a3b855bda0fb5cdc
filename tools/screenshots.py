"""Takes the pictures of the viewer for the documents: `python tools/screenshots.py ATLAS FOLDER`.

Each page is taken in dark and in light, at the widths of a phone, a desk and a wide screen; with
`--compare ATLAS` and `--model MODEL --image FILE` those pages too. `--only` takes the few that the
README shows.
"""

import argparse
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from retroscope.atlas.queries import strongest
from retroscope.atlas.reader import Atlas
from retroscope.web.server import application, listening_on
from retroscope.web.site.site import Site, image_path, layer_path, opened_site, unit_path

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
WIDTHS = {390: 844, 1280: 900, 1920: 1080}
THEMES = ("light", "dark")
SHOWN = {("network", 1280, "light"), ("layer", 1280, "light"), ("unit", 1280, "dark")}
SHOWN |= {("compare", 1280, "light"), ("mine", 1280, "dark"), ("unit", 390, "dark")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("atlas")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--compare")
    parser.add_argument("--model")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--only", action="store_true")
    parser.add_argument("--layer", help="whose page is taken; one deep in the network")
    given = parser.parse_args()
    with opened_site(given.atlas, given.compare) as site, served(site, given.model) as address:
        take(site, address, given)


def take(site: Site, address: str, given: argparse.Namespace) -> None:
    """All pictures of one site."""
    given.folder.mkdir(parents=True, exist_ok=True)
    pages = pages_of(site, given.layer)
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        for width in WIDTHS:
            for theme in THEMES:
                for name, url in pages.items():
                    if given.only and (name, width, theme) not in SHOWN:
                        continue
                    if name == "mine" and not given.model:
                        continue
                    page = opened(browser, address + url, width=width, theme=theme)
                    if name == "mine":
                        look(page, given.image)
                    ending = "" if given.only else f".{width}.{theme}"
                    target = given.folder / f"viewer-{name}{ending}.webp"
                    target = phone_name(target, width) if given.only else target
                    keep(page.screenshot(), target)
                    page.context.close()
                    print(target)
        browser.close()


def keep(screen: bytes, target: Path) -> None:
    """As WebP, which is a tenth of a PNG where photographs are on the page."""
    with Image.open(BytesIO(screen)) as picture:
        picture.save(target, quality=85, method=6)


def phone_name(target: Path, width: int) -> Path:
    return target.with_stem(f"{target.stem}-phone") if width == min(WIDTHS) else target


def pages_of(site: Site, layer: str | None) -> dict[str, str]:
    """A page of each sort."""
    atlas: Atlas = site.atlas
    deep = atlas.layer(layer) if layer else atlas.layers[-1]
    channel = strongest(atlas, deep, 1)[0]
    pages = {
        "network": "index.html",
        "layer": layer_path(site, deep.name),
        "unit": unit_path(site, deep.name, channel),
        "image": image_path(int(str(atlas.sql("SELECT min(image) FROM winner_pictures")[0][0]))),
        "classes": "classes.html",
        "images": "images.html",
        "names": "names.html",
        "mine": "mine.html",
    }
    return pages | ({"compare": "compare.html"} if site.other else {})


def opened(browser: Browser, url: str, *, width: int, theme: str) -> Page:
    size: Any = {"width": width, "height": WIDTHS[width]}
    scale = 2 if width == min(WIDTHS) else 1
    context = browser.new_context(
        viewport=size,
        color_scheme="dark" if theme == "dark" else "light",
        device_scale_factor=scale,
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_load_state("networkidle")
    return page


def look(page: Page, image: Path) -> None:
    """Gives a picture to the network, and chooses a unit in it."""
    page.set_input_files("#file", image)
    page.wait_for_selector("#unusual section:nth-child(2)")
    page.locator("#unusual button").first.click()
    page.wait_for_selector("#unit:not([hidden])")
    page.locator("[data-show=cam]").click()
    page.locator("#caption").filter(has_text="cam").wait_for()
    page.wait_for_load_state("networkidle")
    page.evaluate("scrollTo(0, 0)")


@contextmanager
def served(site: Site, model: str | None) -> Iterator[str]:
    routes: Any = ()
    if model:
        from retroscope.web.live.own_image import routes as own_image_routes
        from retroscope.zoo import open_model

        routes = own_image_routes(site, open_model(model, device="cpu"))
    with listening_on("127.0.0.1", 0) as listening:
        config = uvicorn.Config(application(site, routes=routes), log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=partial(server.run, sockets=[listening]))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    main()
