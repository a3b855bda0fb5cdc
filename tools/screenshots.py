"""Take screenshots of the viewer for the documentation: `python tools/screenshots.py ATLAS FOLDER`.

Each page is captured in dark and light mode, at the widths of a phone, a desktop and a wide screen;
with `--compare ATLAS` and `--model MODEL --image FILE` those pages too.
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

from retroscope.atlas.queries.channel_queries import strongest_channels
from retroscope.atlas.queries.image_queries import stored_images
from retroscope.atlas.reader import Atlas
from retroscope.web.server import make_app, open_socket
from retroscope.web.site.site import Site, open_site
from retroscope.web.site.urls import url_for

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
WIDTHS = {390: 844, 1280: 900, 1920: 1080}
THEMES = ("light", "dark")
README_SHOTS = {("network", 1280, "light"), ("layer", 1280, "light"), ("unit", 1280, "dark")}
README_SHOTS |= {("compare", 1280, "light"), ("mine", 1280, "dark"), ("unit", 390, "dark")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("atlas")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--compare")
    parser.add_argument("--model")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--only", action="store_true", help="only those that the README shows")
    parser.add_argument("--layer", help="layer to capture; default: the last one")
    options = parser.parse_args()
    with (
        open_site(options.atlas, options.compare or ()) as site,
        run_server(site, options.model) as address,
    ):
        capture_pages(site, address, options)


def capture_pages(site: Site, address: str, options: argparse.Namespace) -> None:
    """Capture the pages of a site."""
    options.folder.mkdir(parents=True, exist_ok=True)
    pages = choose_pages(site, options.layer)
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        for width in WIDTHS:
            for theme in THEMES:
                for name, url in pages.items():
                    if options.only and (name, width, theme) not in README_SHOTS:
                        continue
                    if name == "mine" and not options.model:
                        continue
                    page = open_page(browser, address + url, width=width, theme=theme)
                    if name == "mine":
                        explore_image(page, options.image)
                    ending = "" if options.only else f".{width}.{theme}"
                    target = options.folder / f"viewer-{name}{ending}.webp"
                    target = name_for_width(target, width) if options.only else target
                    save_webp(page.screenshot(), target)
                    page.context.close()
                    print(target)
        browser.close()


def save_webp(screen: bytes, target: Path) -> None:
    """Save as WebP, a tenth of the size of a PNG for pages with photographs."""
    with Image.open(BytesIO(screen)) as image:
        image.save(target, quality=85, method=6)


def name_for_width(target: Path, width: int) -> Path:
    return target.with_stem(f"{target.stem}-phone") if width == min(WIDTHS) else target


def choose_pages(site: Site, layer: str | None) -> dict[str, str]:
    """The URL of one page of each kind."""
    atlas: Atlas = site.atlas
    deep = atlas.layer(layer) if layer else atlas.layers[-1]
    channel = strongest_channels(atlas, deep, 1)[0]
    layer = deep.name
    pages = {
        "network": url_for(site, "network"),
        "layer": url_for(site, "layer", layer=layer),
        "unit": url_for(site, "unit", layer=layer, channel=channel),
        "image": url_for(site, "image", image=stored_images(atlas)[0]),
        "classes": url_for(site, "classes"),
        "images": url_for(site, "images"),
        "names": url_for(site, "names"),
        "mine": url_for(site, "my_image"),
    }
    return pages | ({"compare": url_for(site, "comparison")} if site.others else {})


def open_page(browser: Browser, url: str, *, width: int, theme: str) -> Page:
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


def explore_image(page: Page, image: Path) -> None:
    """Upload an image, and choose a unit in it."""
    page.set_input_files("#file", image)
    page.wait_for_selector("#unusual section:nth-child(2)")
    page.locator("#unusual button").first.click()
    page.wait_for_selector("#unit:not([hidden])")
    page.locator("[data-show=cam]").click()
    page.locator("#caption").filter(has_text="cam").wait_for()
    page.wait_for_load_state("networkidle")
    page.evaluate("scrollTo(0, 0)")


@contextmanager
def run_server(site: Site, model: str | None) -> Iterator[str]:
    routes: Any = ()
    if model:
        from retroscope.web.live.live_routes import live_routes
        from retroscope.zoo import open_model

        routes = live_routes(site, open_model(model, device="cpu"))
    with open_socket("127.0.0.1", 0) as listener:
        config = uvicorn.Config(make_app(site, routes=routes), log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=partial(server.run, sockets=[listener]))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    main()
