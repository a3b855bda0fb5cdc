"""Facts to HTML."""

import json
import re
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from retroscope import __version__
from retroscope.render.captions import counted, percent
from retroscope.web.site.site import Facts, Site


def prepare() -> None:
    """Makes all templates ready, so that no reader waits for that."""
    for name in _environment().list_templates():
        _environment().get_template(name)


def rendered(template: str, facts: Facts, site: Site, path: str) -> bytes:
    """A page at its path; all its links are relative to that."""
    page = _environment().get_template(template)
    text = page.render(
        facts,
        root="../" * path.count("/"),
        path=path,
        twin=path.removesuffix(".html").rpartition("/")[2] + ".json",
        site_name=site.name,
        is_other=site.beside is not None,
        has_other=site.other is not None or site.beside is not None,
        has_classes=bool(site.atlas.labels),
        version=__version__,
    )
    return text.encode("utf-8", "replace")


def number(value: float | None) -> str:
    """Four digits; a dash for none.

    >>> number(0.123456), number(None)
    ('0.1235', '\u2013')
    """
    return "\N{EN DASH}" if value is None else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def brief(value: float | None) -> str:
    """Two digits behind the point: enough for what lies between 0 and 1.

    >>> brief(0.98765), brief(None)
    ('0.99', '\u2013')
    """
    return "\N{EN DASH}" if value is None else f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def breakable(text: str) -> Markup:
    """An address or a path that may be broken behind each dot and slash.

    >>> breakable("features.0")
    Markup('features.<wbr>0')
    """
    safe = str(Markup.escape(text))
    for sign in "./_":
        safe = safe.replace(sign, f"{sign}<wbr>")
    return Markup(safe)  # noqa: S704 - escaped above


_SETTING = re.compile(r"(\w+)=(\([^)]*\)|'[^']*'|[\w.+-]++)(?!\()")


def plain(written: object) -> str:
    """Settings as Python writes them, without the words that only Python needs; others as they are.

    >>> plain("Preprocessing(fit=Fit(size=(96, 96), mode='network', shorter=None), mean=(0.5,))")
    'size (96, 96) · mode network · mean (0.5,)'
    """
    found = [(name, value.strip("'")) for name, value in _SETTING.findall(str(written))]
    said = " · ".join(f"{name} {value}" for name, value in found if value != "None")
    return said or str(written)


def _script(facts: object) -> Markup:
    """JSON that may stand in a script element."""
    return Markup(json.dumps(facts).replace("<", "\\u003c"))  # noqa: S704 - no tag can end it


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "number": number,
        "brief": brief,
        "percent": percent,
        "breakable": breakable,
        "plain": plain,
        "script": _script,
    }
    environment.globals |= {"counted": counted}
    return environment
