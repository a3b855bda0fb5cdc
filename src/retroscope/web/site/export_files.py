"""The files of an exported site: pages and images of many units share a file, a pack.

Packs are scripts, as a page that is opened from a folder can load nothing else.
"""

import json
import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import groupby

from retroscope.web.site.pages.page_facts import assignment_script
from retroscope.web.site.routes import FILES, PAGES, Page, SiteFile, opener_page, respond
from retroscope.web.site.site import Params, Site
from retroscope.web.site.urls import (
    FILE_URLS,
    PACKED_IMAGES,
    PACKED_PAGES,
    from_first,
    image_pack,
    json_url,
    page_path,
)

Members = Iterable[tuple[str, bytes]]
"""The keys and contents of what is in a pack."""
GAP = "\x01"
"""Where the text of a line has a gap."""
_NUMBER = re.compile(rf"(\d+(?:\.\d+)?|{GAP})", re.ASCII)
"""What fills gaps: numbers, and the mark of a gap itself, which a file name may have."""
_EXACT_DIGITS = 15


class FileForm(Enum):
    """What a file of an exported site is."""

    PLAIN = auto()
    OPENER = auto()
    PAGES = auto()
    FACTS = auto()
    IMAGES = auto()


@dataclass(frozen=True)
class ExportFile:
    """A file of an exported site.

    `name` is its row in the table of routes. `members` are what a pack has: the paths of pages or
    images on a server, by their keys. Those of an opener are the files with the facts of pages.
    """

    site: Site
    path: str
    name: str
    form: FileForm = FileForm.PLAIN
    members: Mapping[str, str] = field(default_factory=dict)

    @property
    def location(self) -> str:
        """The path in the folder of the whole export."""
        return from_first(self.site, self.path)


def list_files(site: Site) -> Iterator[ExportFile]:
    """Every file of an exported site; `site` is one of `pack_site`."""
    for page in PAGES:
        yield from _page_packs(site, page) if page.name in PACKED_PAGES else _pages(site, page)
    for file in FILES:
        yield from _image_packs(site, file) if file.name in PACKED_IMAGES else _files(site, file)
    for other in site.others:
        yield from list_files(other)


def file_content(file: ExportFile) -> bytes:
    """The bytes of a file."""
    if file.form is FileForm.PLAIN:
        return respond(file.site, file.path).body
    if file.form is FileForm.OPENER:
        return _render_opener(file)
    members = ((key, respond(file.site, path).body) for key, path in file.members.items())
    return _ENCODERS[file.form](members)


def take_members(file: ExportFile, key: str, count: int) -> ExportFile:
    """The file with some of its members from this one on; a file without any as it is."""
    keys = list(file.members)
    start = max(min(keys.index(key), len(keys) - count), 0) if keys else 0
    return replace(file, members={name: file.members[name] for name in keys[start : start + count]})


def encode_pages(members: Members) -> bytes:
    """A script that hands pages to the one that opens them; see `pages.js`.

    Lines of the pages of a pack differ in little but their numbers. So a page is a list of its
    lines: the number of a text, and what is in the gaps of the text, where the line has numbers.
    """
    numbers: dict[str, int] = {}
    pages = {
        key: [_encode_line(line, numbers) for line in page.decode().split("\n")]
        for key, page in members
    }
    texts = ",\n".join(f"`{_escape(text)}`" for text in numbers)
    return (
        f"retroscope.showPage({json.dumps(pages, separators=(',', ':'))}, [\n{texts}]);\n".encode()
    )


def _encode_line(line: str, numbers: dict[str, int]) -> object:
    """The number of a line's text, new or in `numbers`, with the values of its gaps if it has any.

    >>> _encode_line('<b>3.5</b> of 012', numbers := {}), list(numbers)
    ([0, 3.5, '012'], ['<b>\\x01</b> of \\x01'])
    """
    parts = _NUMBER.split(line)
    number = numbers.setdefault(GAP.join(parts[::2]), len(numbers))
    return [number, *map(_shortest, parts[1::2])] if len(parts) > 1 else number


def _shortest(text: str) -> float | str:
    """A number that JSON and scripts write as this text, or else the text."""
    for kind in (int, float):
        with suppress(ValueError):
            if repr(value := kind(text)) == text and len(text) <= _EXACT_DIGITS:
                return value
    return text


def _escape(text: str) -> str:
    """Text between backquotes of a script."""
    for character in ("\\", "`", "${"):
        text = text.replace(character, f"\\{character}")
    return text.replace("\r", "\\r")


def encode_facts(members: Members) -> bytes:
    """The facts of several pages, as one JSON object."""
    entries = ",\n".join(f'"{key}":{facts.decode()}' for key, facts in members)
    return f"{{{entries}}}\n".encode()


def encode_images(members: Members) -> bytes:
    """A script with images as text; see `packs.js`."""
    return assignment_script("pack", {key: b64encode(image).decode() for key, image in members})


_ENCODERS: Mapping[FileForm, Callable[[Members], bytes]] = {
    FileForm.PAGES: encode_pages,
    FileForm.FACTS: encode_facts,
    FileForm.IMAGES: encode_images,
}


def _pages(site: Site, page: Page) -> Iterator[ExportFile]:
    for params in page.list_params(site):
        path = page_path(page.name, params)
        yield ExportFile(site, path, page.name)
        yield ExportFile(site, json_url(path), page.name)


def _files(site: Site, file: SiteFile) -> Iterator[ExportFile]:
    for params in file.list_params(site):
        yield ExportFile(site, FILE_URLS[file.name].format_map(params), file.name)


def _page_packs(site: Site, page: Page) -> Iterator[ExportFile]:
    """The packs of each folder, after the page that opens them."""
    pages = PACKED_PAGES[page.name]
    for _, params_of_folder in groupby(page.list_params(site), key=pages.folder.format_map):
        packs: dict[str, dict[str, str]] = defaultdict(dict)
        for params in params_of_folder:
            packs[pages.pack(params)][params[pages.key]] = page_path(page.name, params)
        yield from _packs_of_folder(site, page.name, params, packs)


def _packs_of_folder(
    site: Site, name: str, params: Params, packs: Mapping[str, Mapping[str, str]]
) -> Iterator[ExportFile]:
    """`params` are those of any page of the folder."""
    pages = PACKED_PAGES[name]
    opener = pages.opener.format_map(params)
    facts = {pack: pages.facts.format_map({**params, "pack": pack}) for pack in packs}
    yield ExportFile(site, opener, name, FileForm.OPENER, facts)
    for pack, members in packs.items():
        script = pages.script.format_map({**params, "pack": pack})
        twins = {key: json_url(path) for key, path in members.items()}
        yield ExportFile(site, script, name, FileForm.PAGES, members)
        yield ExportFile(site, facts[pack], name, FileForm.FACTS, twins)


def _image_packs(site: Site, file: SiteFile) -> Iterator[ExportFile]:
    """The packs of each layer."""
    for _, params_of_layer in groupby(file.list_params(site), key=lambda params: params["layer"]):
        packs: dict[str, dict[str, str]] = defaultdict(dict)
        for params in params_of_layer:
            path = PACKED_IMAGES[file.name].format_map({**params, "pack": _pack(params)})
            packs[path][params["channel"]] = FILE_URLS[file.name].format_map(params)
        for path, members in packs.items():
            yield ExportFile(site, path, file.name, FileForm.IMAGES, members)


def _pack(params: Params) -> str:
    return image_pack(int(params["channel"]), params.get("ranked_by"), params.get("kind"))


def _render_opener(file: ExportFile) -> bytes:
    pages = PACKED_PAGES[file.name]
    folder = file.path.rpartition("/")[0]
    facts = {
        "key": pages.key,
        "size": pages.size,
        "title": folder,
        "packs": [path.removeprefix(f"{folder}/") for path in file.members.values()],
    }
    return opener_page(file.site, facts, file.path)
