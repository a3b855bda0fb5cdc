"""Notices arguments in the wrong order, which is the usual reason why a file is not what it should
be.
"""

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from retroscope.errors import RetroscopeError

_IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"))
_UNIT = re.compile(r"[\w.]+:\d+(@.*)?")


def _is_image(text: str) -> bool:
    return Path(text).suffix.lower() in _IMAGE_SUFFIXES and Path(text).is_file()


def _is_atlas(text: str) -> bool:
    return Path(text).suffix == ".atlas" and Path(text).is_file()


def _is_unit(text: str) -> bool:
    return _UNIT.fullmatch(text) is not None and not Path(text).exists()


_MISPLACED: dict[str, tuple[Callable[[str], bool], ...]] = {
    "model": (_is_image, _is_atlas, _is_unit),
    "unit": (_is_image, _is_atlas),
    "layer": (_is_image, _is_atlas),
    "image": (_is_unit, _is_atlas),
    "images": (_is_unit, _is_atlas),
    "atlas": (_is_image, _is_unit),
}
"""What an argument of a name cannot be."""


def explain_order(command: Callable[..., object]) -> Callable[..., object]:
    """Adds the order of the arguments to the error of a command whose arguments lie at odds."""

    @wraps(command)
    def call(*arguments: Any, **parameters: Any) -> object:
        try:
            return command(*arguments, **parameters)
        except RetroscopeError as error:
            context = click.get_current_context()
            if not _has_misplaced(context):
                raise
            order = " ".join(context.command.collect_usage_pieces(context)[1:])
            raise RetroscopeError(
                f"{error}; the order is {context.command_path} {order}", parameter=error.parameter
            ) from error

    return call


def _has_misplaced(context: click.Context) -> bool:
    for entry in context.command.params:
        if isinstance(entry, click.Argument):
            value = context.params.get(str(entry.name)) or ()
            texts = (value,) if isinstance(value, str) else value
            checks = _MISPLACED.get(str(entry.name), ())
            if any(check(text) for text in texts for check in checks):
                return True
    return False
