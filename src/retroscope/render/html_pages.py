"""Results as HTML: the summary of an atlas, for notebooks."""

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from retroscope.atlas.reader import Atlas


def atlas_html(atlas: Atlas) -> str:
    """The summary of an atlas as a table, for notebooks."""
    meta = atlas.meta
    facts = {
        "atlas": str(atlas.path),
        "model": meta.get("model", ""),
        "state": meta.get("state", ""),
        "images": f"{len(atlas.images):,}",
        "layers": f"{len(atlas.layers):,}",
        "channels": f"{len(atlas):,}",
    }
    return _environment().get_template("atlas.html").render(facts=facts)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("retroscope.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
