"""Results that show themselves in a notebook, as `draw` draws them."""

import sys
from io import BytesIO
from typing import Any

SHOWN = {
    "results.values": ("Activations", "Filters", "Patch", "Pattern", "Plate", "Projection"),
    "results.heat_maps": ("Explanation", "HeatMap", "OcclusionMap"),
}
"""Results with a picture of their own, by the files that they are defined in."""


def display_results() -> None:
    """Tells a running IPython how results look; without one nothing happens.

    By name, so that neither torch nor the results are imported before there is one to show.
    """
    shell = _shell()
    if shell is None:
        return
    formatter = shell.display_formatter.formatters["image/png"]
    for home, names in SHOWN.items():
        for name in names:
            formatter.for_type_by_name(f"retroscope.{home}", name, png)


def png(result: object) -> bytes:
    """The picture of a result, as a file."""
    from retroscope.render.draw import draw

    file = BytesIO()
    draw(result).save(file, "PNG")
    return file.getvalue()


def _shell() -> Any:
    """The IPython that runs this process, if one does."""
    ipython = sys.modules.get("IPython")
    ask = getattr(ipython, "get_ipython", None)
    return ask() if ask else None
