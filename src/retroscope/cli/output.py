"""What commands leave behind: pictures, tables and JSON."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from errno import EACCES
from io import BytesIO
from math import isfinite
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import click

from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from PIL.Image import Image

    from retroscope.results.values import Layer


def print_json(rows: Iterable[Mapping[str, object]]) -> None:
    """A list of objects, one on each line."""
    lines = ",\n".join(_json(row) for row in rows)
    click.echo(f"[\n{lines}\n]")


def print_object(facts: Mapping[str, object]) -> None:
    """One object, a fact on each line."""
    click.echo(_json(facts, indent=1))


def _json(facts: Mapping[str, object], **options: Any) -> str:
    """As JSON knows it: a number that is none is null, a name that is no UTF-8 is escaped."""
    known = _finite(facts)
    text = json.dumps(known, ensure_ascii=False, allow_nan=False, **options)
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        return json.dumps(known, allow_nan=False, **options)
    return text


def _finite(fact: object) -> object:
    if isinstance(fact, Mapping):
        return {key: _finite(one) for key, one in fact.items()}
    if isinstance(fact, list):
        return [_finite(one) for one in fact]
    return None if isinstance(fact, float) and not isfinite(fact) else fact


def counted(count: int, one: str, many: str = "") -> str:
    """A number of things, in words.

    >>> counted(1, "image"), counted(2, "image")
    ('1 image', '2 images')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def print_table(rows: Sequence["Layer"]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from retroscope.render.layer_rows import FIELD_KEY, LAYER_COLUMNS, layer_cells

    table = Table(box=SIMPLE_HEAD, caption=FIELD_KEY, pad_edge=False)
    for head in LAYER_COLUMNS:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*layer_cells(row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=Console(width=100_000).measure(table).maximum)
    console.print(table)


def file_name(image: str, unit: str, what: str) -> Path:
    safe = unit.replace("/", "_").replace(":", "_").replace("*", "all").replace("@", "_at_")
    return Path(f"{Path(image).stem}.{safe}.{what}.png")


PAGES = (".html", ".htm")


def check_writable(path: Path | None, inputs: Sequence[str] = (), *, or_page: bool = False) -> None:
    """Says before the work what would be in the way of writing a picture there after it."""
    from PIL.Image import registered_extensions

    if path is None:
        return
    if path.is_dir():
        raise RetroscopeError(f"cannot write {str(path)!r}: it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise RetroscopeError(
            f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}"
        )
    if str(path) in inputs:
        raise RetroscopeError(f"{str(path)!r} is a picture to look at; give -o another name")
    pages = PAGES if or_page else ()
    if path.suffix.lower() not in {*registered_extensions(), *pages}:
        endings = ", ".join([".png", ".jpg", ".webp", *pages[:1]])
        raise RetroscopeError(
            f"cannot write {str(path)!r}: its ending says no kind of picture; use {endings} or .pdf"
        )
    _check_place(path, "choose another place for it")


def _check_place(path: Path, advice: str) -> int:
    """The size of the file there, 0 if there is none; a file can be made and this one changed.

    A file is made beside it and deleted again: permissions alone do not tell.
    """
    try:
        with TemporaryFile(dir=path.parent):
            found = path.stat().st_size if path.exists() else 0
            if found and not os.access(path, os.W_OK):
                raise PermissionError(EACCES, "the file is read-only")
    except OSError as error:
        raise RetroscopeError(f"cannot write {str(path)!r} ({error.strerror}); {advice}") from error
    return found


def check_atlas_place(path: Path) -> None:
    """Says before the work what would be in the way of making an atlas there, or going on."""
    from retroscope.atlas.sqlite_errors import refuse_no_place

    refuse_no_place(path)
    if _check_place(path, "choose another place for the atlas"):
        _refuse_other_file(path)


def _refuse_other_file(path: Path) -> None:
    """What is no atlas is not written over; one that was left right after it was made is."""
    from retroscope.atlas.database import PATIENCE, connect
    from retroscope.atlas.sqlite_errors import explained, holds_nothing, refuse_strangers

    with explained(path), closing(connect(path, "rw", PATIENCE)) as connection:
        if not holds_nothing(connection):
            refuse_strangers(connection, path)


def save(thing: Any, path: Path, *, to_stderr: bool = False, **options: Any) -> None:
    """Draws a thing into a file and prints its name, aside where something else is printed."""
    from retroscope.render.draw import draw

    write(draw(thing, **options), path, to_stderr=to_stderr)


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise RetroscopeError(f"cannot make the folder {str(folder)!r}: {reason}") from error


def write(drawing: "Image", path: Path, *, to_stderr: bool = False) -> None:
    """Writes a picture and prints its name."""
    from PIL.Image import registered_extensions

    file = BytesIO()
    try:
        drawing.save(file, registered_extensions()[path.suffix.lower()])
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RetroscopeError(f"cannot write {str(path)!r}: {reason}") from error
    put(file.getvalue(), path, to_stderr=to_stderr)


def put(data: bytes, path: Path, *, to_stderr: bool = False) -> None:
    """Writes a file, whole or not at all, and prints its name."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise RetroscopeError(f"cannot write {str(path)!r}: {reason}") from error
    finally:
        part.unlink(missing_ok=True)
    click.echo(str(path), err=to_stderr)
