"""All names of a site: a page to read, and the script that the search box looks into."""

import json

from retroscope.atlas import queries
from retroscope.web.site.site import Facts, Params, Site, label_paths, layer_path, unit_path


def everything(site: Site, _params: Params) -> Facts:
    """Every layer under all its names, and every class."""
    counts, paths = queries.units_per_label(site.atlas), label_paths(site)
    return {
        "layers": [
            {
                "name": layer.name,
                "aliases": list(layer.aliases),
                "kind": layer.kind,
                "channels": layer.channels,
                "href": layer_path(site, layer.name),
            }
            for layer in site.atlas.layers
        ],
        "classes": [
            {
                "name": label.name,
                "units": counts.get(label.id, 0),
                "href": paths[label.name],
            }
            for label in site.atlas.labels
        ],
    }


def script(site: Site, _params: Params) -> bytes:
    """The same, short, for the search box: loaded as a script, it works from a folder too."""
    layers = [
        [
            layer.name,
            list(layer.aliases),
            layer.channels,
            layer_path(site, layer.name),
            unit_path(site, layer.name, 0).removesuffix("0.html"),
        ]
        for layer in site.atlas.layers
    ]
    classes = [[name, path] for name, path in label_paths(site).items()]
    return as_script("names", {"layers": layers, "classes": classes})


def as_script(name: str, facts: object) -> bytes:
    """Facts as a script that hands them to the page: a page in a folder may not fetch a file."""
    return f"retroscope.{name} = {json.dumps(facts, separators=(',', ':'))};\n".encode()
