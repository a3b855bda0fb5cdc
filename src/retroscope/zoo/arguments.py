"""Arguments in a network's name: `file.py:make?width=2&name=x`, `resnet18?num_classes=10`."""

from ast import literal_eval
from typing import Any

from retroscope.errors import ModelError


def split(name: str) -> tuple[str, dict[str, Any]]:
    """A name without its arguments, and the arguments: Python's literals, or else texts.

    >>> split("nets.py:make?width=2&sizes=(3,5)&kind=wide")
    ('nets.py:make', {'width': 2, 'sizes': (3, 5), 'kind': 'wide'})
    """
    base, _, query = name.partition("?")
    given: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        key, sign, text = part.partition("=")
        if not sign or not key.isidentifier() or key in given:
            what = "is given twice" if key in given else "is no argument"
            raise ModelError(f"{part!r} in {name!r} {what}; write {base}?width=2&name=x")
        given[key] = _value(text)
    return base, given


def _value(text: str) -> object:
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
