"""Reads the packs of an exported site, and translates its addresses to those of a server."""

import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

_CHANNEL = r"(\d+|{channel})"
_NUMBER = r"(\d+|{image})"
_TRANSLATIONS = (
    (rf"plate/([^/\"#?]+)/(\w+|{{ranked_by}})\.([\w-]+|{{kind}})\.[^/#.]+\.js#{_CHANNEL}", "plate"),
    (rf"pattern/([^/\"#?]+)/[^/#.]+\.js#{_CHANNEL}", "pattern"),
    (rf"(unit|compare)/([^/\"#?]+)/index\.html\?channel={_CHANNEL}", "page"),
    (rf"image/index\.html\?image={_NUMBER}", "image"),
)
_SERVED = {
    "plate": r"plate/\1/\4.\2.\3.webp",
    "pattern": r"pattern/\1/\2.webp",
    "page": r"\1/\2/\3.html",
    "image": r"image/\1.html",
}


def served_addresses(text: str) -> str:
    """A text with the addresses of an exported site, as a server has them.

    >>> served_addresses("../unit/conv5/index.html?channel=3#patch=2")
    '../unit/conv5/3.html#patch=2'
    >>> served_addresses("plate/conv5/max.lit.0-63.js#3")
    'plate/conv5/3.max.lit.webp'
    """
    for pattern, kind in _TRANSLATIONS:
        text = re.sub(pattern, _SERVED[kind], text)
    return text


def packed_address(path: str) -> str:
    """The address of a page in an exported site, by its path on a server.

    >>> packed_address("unit/conv5/3.html#patch=2"), packed_address("layer/conv5.html")
    ('unit/conv5/index.html?channel=3#patch=2', 'layer/conv5.html')
    """
    path = re.sub(r"(unit|compare)/([^/]+)/(\d+)\.html", r"\1/\2/index.html?channel=\3", path)
    return re.sub(r"image/(\d+)\.html", r"image/index.html?image=\1", path)


def read_pages(script: Path) -> dict[str, str]:
    """The pages of a pack by their numbers: lists of lines, whose texts are between backquotes.

    The text of a line has gaps, which the values after its number fill.
    """
    head, _, rest = script.read_text("utf-8").partition(", [\n")
    texts = re.findall(r"`((?:[^`\\]|\\.)*)`", rest, re.DOTALL)
    pieces = [re.sub(r"\\(.)", _unescape, text).split("\x01") for text in texts]
    pages: dict[str, list[Any]] = json.loads(head.partition("(")[2] or "{}")
    return {
        number: "\n".join(_fill(pieces, entry) for entry in page) for number, page in pages.items()
    }


def _fill(pieces: list[list[str]], entry: Any) -> str:
    index, *values = entry if isinstance(entry, list) else [entry]
    first, *rest = pieces[index]
    return first + "".join(f"{value}{piece}" for value, piece in zip(values, rest, strict=True))


def _unescape(escape: re.Match[str]) -> str:
    return "\r" if escape[1] == "r" else escape[1]


def read_images(script: Path) -> dict[str, bytes]:
    """The images of a pack by their channels."""
    facts = json.loads(script.read_text("utf-8").partition(" = ")[2].removesuffix(";\n"))
    return {channel: b64decode(text) for channel, text in facts.items()}


def packed_twin(path: str) -> tuple[str, str | None]:
    """The file with the facts of a page in an exported site, and its key there, by its JSON twin.

    >>> packed_twin("unit/conv5/40.json"), packed_twin("layer/conv5.json")
    (('unit/conv5/32-63.json', '40'), ('layer/conv5.json', None))
    """
    for folder, size in ((r"(?:.*/)?(?:unit|compare)/[^/]+", 32), (r"(?:other\d*/)?image", 8)):
        if match := re.fullmatch(rf"({folder})/(\d+)\.json", path):
            first = int(match[2]) // size * size
            return f"{match[1]}/{first}-{first + size - 1}.json", match[2]
    return path, None
