"""What commands write: images, files, tables and JSON."""

import json
import os
import re
from collections.abc import Sequence
from errno import EACCES
from io import BytesIO
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import click

from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from PIL.Image import Image

    from retroscope.results.as_json import JsonObject
    from retroscope.results.layers import Layer

PAGE_SUFFIXES = (".html", ".htm")


def print_json(value: "JsonObject | Sequence[JsonObject]") -> None:
    """Prints an object with a key on each line, or a list with an object on each line."""
    if isinstance(value, dict):
        lines = [f"{_encode(key)}: {_encode(entry)}" for key, entry in value.items()]
        opening, closing_bracket = "{}"
    else:
        lines = [_encode(entry) for entry in value]
        opening, closing_bracket = "[]"
    click.echo("\n".join([opening, ",\n".join(lines), closing_bracket]))


def _encode(value: object) -> str:
    """JSON of one line; names that are not valid UTF-8 are escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if any("\ud800" <= character <= "\udfff" for character in text):
        return json.dumps(value, allow_nan=False)
    return text


def print_layer_table(layers: Sequence["Layer"]) -> None:
    """Prints a table as wide as the terminal, or as wide as its text if it is piped."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from retroscope.render.layer_table import FIELD_KEY, LAYER_COLUMNS, layer_cells

    table = Table(box=SIMPLE_HEAD, caption=FIELD_KEY, pad_edge=False)
    for heading in LAYER_COLUMNS:
        table.add_column(heading, overflow="fold")
    for layer in layers:
        table.add_row(*layer_cells(layer))
    console = Console()
    if not console.is_terminal:
        console = Console(width=Console(width=100_000).measure(table).maximum)
    console.print(table)


def default_path(*parts: str) -> Path:
    """The file for a drawing if `-o` is not given, named after all that tells it apart.

    >>> str(default_path("cat", "vgg16", "conv1:3@6,7", "", "deconvnet"))
    'cat.vgg16.conv1_3_at_6,7.deconvnet.png'
    """
    return Path(".".join(safe_name(part) for part in parts if part) + ".png")


def safe_name(text: str) -> str:
    """A text as a part of a file name that is valid on any system.

    >>> safe_name("timm/resnet18"), safe_name("conv1:3@*")
    ('timm_resnet18', 'conv1_3_at_all')
    >>> safe_name("great dane, dog"), safe_name("output[0, 3]")
    ('great-dane,-dog', 'output[0,3]')
    """
    text = re.sub(r"(?<=\d), (?=-?\d)", ",", text)
    text = text.replace("@", "_at_").replace("*", "all").replace(" ", "-")
    return "".join(
        "_" if letter in _UNSAFE or not letter.isprintable() else letter for letter in text
    )[:_MAX_NAME]


_SOURCES = ("torchvision/", "timm/", "keras/")
_UNSAFE, _MAX_NAME = frozenset('/\\:<>"|?'), 80


def model_name(model: str) -> str:
    """A model as a part of a file name: a name as it is, a weight file without folder and suffix.

    >>> model_name("runs/resnet50.pth"), model_name("nets.py:tiny"), model_name("timm/resnet18.a1")
    ('resnet50', 'nets.tiny', 'timm_resnet18.a1')
    """
    path, colon, factory = model.rpartition(":")
    if colon and not PureWindowsPath(model).drive:
        return safe_name(f"{Path(path).stem if path.endswith('.py') else path}.{factory}")
    is_name = model.startswith(_SOURCES) or not Path(model).suffix
    return safe_name(model if is_name else PureWindowsPath(model).stem)


def check_writable(
    path: Path | None, inputs: Sequence[str] = (), *, accept_page: bool = False
) -> None:
    """Raises before the work starts if its drawing could not be written to this path."""
    if path is None:
        return
    if path.is_dir():
        raise RetroscopeError(f"cannot write {str(path)!r}: it is a folder; give a file")
    check_parent(path)
    if str(path) in inputs:
        raise RetroscopeError(f"cannot write {str(path)!r}: it is an input; give -o another name")
    _check_suffix(path, PAGE_SUFFIXES if accept_page else ())
    _probe_file(path, "choose another path")


def check_parent(path: Path) -> None:
    """Raises if the folder around a file or a folder that a command makes does not exist."""
    parent = path.absolute().parent
    if not parent.is_dir():
        reason = "is a file" if parent.exists() else "does not exist"
        raise RetroscopeError(
            f"cannot write {str(path)!r}: the folder {str(path.parent)!r} {reason}"
        )


def _check_suffix(path: Path, page_suffixes: Sequence[str]) -> None:
    from PIL.Image import registered_extensions

    if path.suffix.lower() in {*registered_extensions(), *page_suffixes}:
        return
    suffixes = ", ".join([".png", ".jpg", ".webp", *page_suffixes[:1]])
    reason = f"{path.suffix!r} is not an image format" if path.suffix else "it has no extension"
    raise RetroscopeError(f"cannot write {str(path)!r}: {reason}; use {suffixes} or .pdf")


def _probe_file(path: Path, advice: str) -> int:
    """Raises unless the file can be written; returns its present size, 0 if it does not exist.

    Creates a temporary file beside it, because permissions alone do not show a full disk or a
    read-only mount.
    """
    try:
        with TemporaryFile(dir=path.parent):
            size = path.stat().st_size if path.exists() else 0
            if size and not os.access(path, os.W_OK):
                raise PermissionError(EACCES, "the file is read-only")
    except OSError as error:
        raise RetroscopeError(f"cannot write {str(path)!r} ({error.strerror}); {advice}") from error
    return size


def check_atlas_writable(path: Path) -> None:
    """Raises before the work starts if an atlas could not be created or continued there."""
    from retroscope.atlas.database import check_can_become_atlas
    from retroscope.atlas.sqlite_errors import check_atlas_path
    from retroscope.atlas.write_lock import refuse_second_writer

    check_atlas_path(path)
    refuse_second_writer(path)
    if _probe_file(path, "choose another path for the atlas"):
        check_can_become_atlas(path)


def check_atlas(path: str) -> None:
    """Raises before a network is opened if there is no atlas at this path."""
    from retroscope.atlas.reader import open_atlas

    open_atlas(path).close()


def create_folder(folder: Path) -> None:
    """Creates a folder unless it exists."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise RetroscopeError(f"cannot create the folder {str(folder)!r}: {reason}") from error


def write_drawing(result: object, path: Path, *, to_stderr: bool = False, **options: Any) -> None:
    """Draws a result into a file and prints the path, on stderr if JSON occupies stdout."""
    from retroscope.render.draw import draw

    write_image(draw(result, **options), path, to_stderr=to_stderr)


def write_image(image: "Image", path: Path, *, to_stderr: bool = False) -> None:
    """Writes an image in the format of the suffix and prints the path."""
    from PIL.Image import registered_extensions

    buffer = BytesIO()
    try:
        image.save(buffer, registered_extensions()[path.suffix.lower()])
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RetroscopeError(f"cannot write {str(path)!r}: {reason}") from error
    write_bytes(buffer.getvalue(), path, to_stderr=to_stderr)


def write_bytes(content: bytes, path: Path, *, to_stderr: bool = False) -> None:
    """Writes a file completely or not at all, and prints the path."""
    part, is_new = path.with_name(f".{path.name}.part"), not path.exists()
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise RetroscopeError(f"cannot write {str(path)!r}: {reason}") from error
    finally:
        part.unlink(missing_ok=True)
    click.echo(str(path), err=to_stderr)
    if not is_new and not _is_output_option(path):
        click.echo(f"replaced an earlier {path}; -o writes to another file", err=True)


def _is_output_option(path: Path) -> bool:
    """Whether the user has named this file."""
    context = click.get_current_context(silent=True)
    return context is not None and context.params.get("output") == path
