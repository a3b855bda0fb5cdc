"""Display of results in notebooks: results as the figures of `draw`, an atlas as a table."""

import sys
from typing import Any

FIGURE_TYPES = {
    "results.projections": ("Activations", "Filters", "Projection"),
    "results.plates": ("Patch", "Plate"),
    "results.patterns": ("Pattern",),
    "results.heat_maps": ("HeatMap", "OcclusionMap"),
    "results.explanations": ("Explanation",),
    "results.comparisons": ("AtlasComparison",),
}
"""Types that display as a figure, by module."""

TABLE_TYPES = {"atlas.reader": ("Atlas",)}
"""Types that display as an HTML table, by module."""


def register_formatters() -> None:
    """Register the display of results with IPython, if it is running.

    Types are registered by name, so neither they nor torch are imported before the first is shown.
    """
    shell = _running_ipython()
    if shell is None:
        return
    formatters = shell.display_formatter.formatters
    for mime_type, types, render in (
        ("image/png", FIGURE_TYPES, figure_png),
        ("text/html", TABLE_TYPES, table_html),
    ):
        for module, names in types.items():
            for name in names:
                formatters[mime_type].for_type_by_name(f"retroscope.{module}", name, render)


def figure_png(result: object) -> bytes:
    """The figure of a result as a PNG file."""
    from retroscope.imaging.encoding import encode_png
    from retroscope.render.draw import draw

    return encode_png(draw(result))


def table_html(atlas: Any) -> str:
    """The summary of an atlas as an HTML table."""
    from retroscope.render.html_pages import atlas_html

    return atlas_html(atlas)


def _running_ipython() -> Any:
    """The IPython shell of this process, if there is one."""
    ipython = sys.modules.get("IPython")
    get_ipython = getattr(ipython, "get_ipython", None)
    return get_ipython() if get_ipython else None
