"""Figures on the screen and in files."""

import sys
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Unpack

from PIL import Image, ImageShow

from retroscope.errors import RetroscopeError
from retroscope.render.draw import draw
from retroscope.results.display import DrawOptions
from retroscope.results.explanations import Explanation

PAGE_SUFFIXES = (".html", ".htm")


def show_figure(result: object, **options: Unpack[DrawOptions]) -> None:
    """Display a result: below the cell in a notebook, else in the system's image viewer."""
    figure = draw(result, **options)
    if _in_notebook():
        import_module("IPython.display").display(figure)
    elif not ImageShow.show(figure):
        raise RetroscopeError("no image viewer was found; save(PATH) writes the figure to a file")


def save_figure(result: object, path: str | Path, **options: Unpack[DrawOptions]) -> Path:
    """Write a result as an image, or an explanation as a web page, and return the path."""
    target = Path(path)
    is_page = target.suffix.lower() in PAGE_SUFFIXES
    if is_page and not isinstance(result, Explanation):
        kind = type(result).__name__
        raise _cannot_write(target, f"only an Explanation is a web page, not {kind}; use .png")
    if not is_page:
        _check_suffix(target)
    content = _page(result, options) if is_page else _encode(draw(result, **options), target)
    _write_whole(target, content)
    return target


def _in_notebook() -> bool:
    """Whether code runs in a notebook, which shows images; a terminal with IPython does not."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return hasattr(get_ipython() if get_ipython else None, "kernel")


def _page(explanation: object, options: DrawOptions) -> bytes:
    page = import_module("retroscope.web.site.explanation_page")  # a room above
    html: str = page.explanation_html(explanation, **options)
    return html.encode()


def _encode(figure: Image.Image, path: Path) -> bytes:
    buffer = BytesIO()
    try:
        figure.save(buffer, Image.registered_extensions()[path.suffix.lower()])
    except (OSError, ValueError) as error:
        raise _cannot_write(path, str(getattr(error, "strerror", None) or error)) from error
    return buffer.getvalue()


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in Image.registered_extensions():
        reason = f"{path.suffix!r} is not an image format" if path.suffix else "it has no extension"
        raise _cannot_write(path, f"{reason}; use .png, .jpg, .webp or .pdf")


def _write_whole(path: Path, content: bytes) -> None:
    """Writes a file completely or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _cannot_write(path, str(error.strerror or error)) from error


def _cannot_write(path: Path, reason: str) -> RetroscopeError:
    return RetroscopeError(f"cannot write {str(path)!r}: {reason}", parameter="path")
