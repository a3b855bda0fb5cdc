"""The page for an image of one's own, which needs the network beside the atlas."""

from retroscope.web.site.pages.network_page import layer_facts
from retroscope.web.site.pages.search_index import as_script
from retroscope.web.site.site import Facts, Params, Site


def mine(site: Site, _params: Params) -> Facts:
    """What the page can ask about: the layers of the atlas."""
    return {
        "file": site.atlas.path.name,
        "layers": [layer_facts(site, layer) for layer in site.atlas.layers],
    }


def no_model(_site: Site, _params: Params) -> bytes:
    """Says that no network is attached; a server with one answers otherwise."""
    return as_script("model", None)
