"""The style sheets, scripts and drawings that every site has."""

from functools import lru_cache
from pathlib import Path

from retroscope.web.site.site import NotThereError, Params, Site

_FOLDER = Path(__file__).parent / "assets"


def static(_site: Site, params: Params) -> bytes:
    found = _contents().get(params["name"])
    if found is None:
        raise NotThereError(f"no file {params['name']!r}")
    return found


def every_static(_site: Site) -> list[Params]:
    return [{"name": name} for name in _contents()]


@lru_cache(maxsize=1)
def _contents() -> dict[str, bytes]:
    """All of them: no name in a URL is ever opened."""
    return {file.name: file.read_bytes() for file in sorted(_FOLDER.iterdir()) if file.is_file()}
