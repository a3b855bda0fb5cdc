"""Results that show themselves in a notebook, as `draw` draws them."""

import sys
from io import BytesIO
from typing import Any

FIGURE_TYPES = {
    "results.projections": ("Activations", "Filters", "Projection"),
    "results.plates": ("Patch", "Plate"),
    "results.patterns": ("Pattern",),
    "results.heat_maps": ("Explanation", "HeatMap", "OcclusionMap"),
}
"""Results with a picture of their own, by the files that they are defined in."""


def display_results() -> None:
    """Tells a running IPython how results look; without one nothing happens.

    By name, so that neither torch nor the results are imported before there is one to show.
    """
    shell = _running_ipython()
    if shell is None:
        return
    formatter = shell.display_formatter.formatters["image/png"]
    for module, names in FIGURE_TYPES.items():
        for name in names:
            formatter.for_type_by_name(f"retroscope.{module}", name, figure_png)


def figure_png(result: object) -> bytes:
    """The picture of a result, as a file."""
    from retroscope.render.draw import draw

    file = BytesIO()
    draw(result).save(file, "PNG")
    return file.getvalue()


def _running_ipython() -> Any:
    """The IPython that runs this process, if one does."""
    ipython = sys.modules.get("IPython")
    get_ipython = getattr(ipython, "get_ipython", None)
    return get_ipython() if get_ipython else None
