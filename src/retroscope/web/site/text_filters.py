"""How templates write numbers, addresses and settings."""

import re
from collections.abc import Iterator

from markupsafe import Markup

from retroscope.render.captions import percent


def format_number(value: float | None, digits: int = 4) -> str:
    """Four significant digits, or as many as asked for; a dash for None.

    >>> format_number(0.123456), format_number(None)
    ('0.1235', '\u2013')
    """
    return "\N{EN DASH}" if value is None else f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def format_fraction(value: float | None) -> str:
    """Two decimals, for values between 0 and 1; a dash for None.

    >>> format_fraction(0.98765), format_fraction(None)
    ('0.99', '\u2013')
    """
    return "\N{EN DASH}" if value is None else f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def format_percent(share: float | None) -> str:
    """A share as a percentage; a dash for None.

    >>> format_percent(0.1234), format_percent(None)
    ('12 %', '\u2013')
    """
    return "\N{EN DASH}" if share is None else percent(share)


def add_breaks(text: str) -> Markup:
    """An address or a path that may wrap after each dot, slash and underscore.

    >>> add_breaks("features.0")
    Markup('features.<wbr>0')
    """
    escaped = str(Markup.escape(text))
    for character in "./_":
        escaped = escaped.replace(character, f"{character}<wbr>")
    return Markup(escaped)  # noqa: S704 - escaped above


_OPTION = re.compile(r"(?<= )--[a-z-]+")


def keep_options(command: str) -> Markup:
    """A command whose lines do not end inside an option.

    >>> keep_options("program --some-option 'a & b'")
    Markup('program <span class="word">--some-option</span> &#39;a &amp; b&#39;')
    """
    escaped = str(Markup.escape(command))
    return Markup(_OPTION.sub(r'<span class="word">\g<0></span>', escaped))  # noqa: S704 - escaped above


def format_settings(settings: object) -> str:
    """Settings stored as JSON, in one line; what is not set is left out.

    An older atlas stores one text instead, which is shown as it is.

    >>> format_settings({"fit": {"size": [96, 96], "shorter": None}, "mean": [0.5]})
    'size 96, 96 · mean 0.5'
    """
    if not isinstance(settings, dict):
        return str(settings)
    return " · ".join(_format_fields(settings))


def _format_fields(settings: dict[str, object]) -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _format_fields(value)
        elif value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"{name.replace('_', ' ')} {text}"
