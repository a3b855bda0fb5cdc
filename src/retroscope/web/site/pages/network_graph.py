"""The graph of a network: its layers and the steps where maps meet, with the share of dead ones."""

from collections.abc import Mapping, Sequence
from math import log2

from retroscope.atlas.queries import reader_queries
from retroscope.atlas.row_decoding import graph_from_rows
from retroscope.geometry import format_size
from retroscope.results.layers import FROM_IMAGE, GraphStep, Layer
from retroscope.web.site.pages.graph_layout import Drawing, Node, common_parts, draw_pieces
from retroscope.web.site.site import Facts, Site

_MAX_STEPS = 2000
"""A larger graph is not drawn: nobody could read it."""
_MIN_WIDTH, _WIDTH_RANGE = 22.0, 16.0
_MIN_HEIGHT, _HEIGHT_RANGE = 17.0, 27.0
_JOIN_SIZE = 17.0
_SIGNS = {"add": "+", "mul": "\N{MULTIPLICATION SIGN}", "concat": "\N{DOUBLE VERTICAL LINE}"}

Step = dict[str, object]


def read_graph(site: Site) -> tuple[GraphStep, ...]:
    """Which layers read which; nothing in an older atlas."""
    return graph_from_rows(reader_queries.graph_steps(site.atlas))


def graph_json(graph: Sequence[GraphStep], layers: Sequence[Layer]) -> list[Facts]:
    """The layers and the steps where maps meet, with what each reads; -1 is the image."""
    names = {layer.index: layer.name for layer in layers}
    return [
        {
            "step": step.step,
            "operation": step.operation,
            "layer": names.get(step.step),
            "inputs": list(step.inputs),
        }
        for step in graph
    ]


def draw_graph(graph: Sequence[GraphStep], layers: Sequence[Facts], steps: Sequence[int]) -> Facts:
    """The graph in pieces. `layers` are facts of the page's list, `steps` the step of each."""
    facts = dict(zip(steps, layers, strict=True))
    if not graph or len(graph) > _MAX_STEPS or not facts.keys() <= {step.step for step in graph}:
        return {"pieces": [], "joins": 0}
    numbers = {step: number for number, step in enumerate(steps, start=1)}
    scale = _Scale(layers)
    nodes = [Node(FROM_IMAGE, (), _JOIN_SIZE, _JOIN_SIZE)]
    nodes += [scale.node(step, facts.get(step.step)) for step in graph]
    operations = {step.step: step.operation for step in graph} | {FROM_IMAGE: "image"}
    labels = {
        key: _label(operation, facts.get(key), numbers.get(key))
        for key, operation in operations.items()
    }
    by_key = {node.key: node for node in nodes}
    pieces = [_piece_facts(piece, by_key, labels) for piece in draw_pieces(nodes)]
    return {"pieces": pieces, "joins": len(graph) - len(facts)}


class _Scale:
    """Sizes of nodes: as high as the root of the maps' side, as wide as the log of the channels."""

    def __init__(self, layers: Sequence[Facts]) -> None:
        self._side = max(max(layer["size"]) for layer in layers)
        self._channels = max(log2(layer["channels"] + 1) for layer in layers)

    def node(self, step: GraphStep, layer: Facts | None) -> Node:
        if layer is None:
            return Node(step.step, step.inputs, _JOIN_SIZE, _JOIN_SIZE)
        width = _MIN_WIDTH + _WIDTH_RANGE * log2(layer["channels"] + 1) / self._channels
        height = _MIN_HEIGHT + _HEIGHT_RANGE * (max(layer["size"]) / self._side) ** 0.5
        name, maps = tuple(_module_path(layer).split(".")), tuple(layer["size"])
        return Node(step.step, step.inputs, round(width, 1), round(height, 1), name, maps)


def _module_path(layer: Facts) -> str:
    """The name of a layer, or of the convolution of which it is the output."""
    return str(next(iter(layer["convolution"]), layer["name"]))


def _label(operation: str, layer: Facts | None, number: int | None) -> Facts:
    """What a node shows and says."""
    if layer is None or number is None:
        return {"title": operation, "text": _SIGNS.get(operation, ""), "href": None}
    size = format_size(layer["size"])
    return {
        "title": f"{layer['name']}: {layer['channels']} channels of {size}{_dead(layer)}",
        "text": str(number),
        "href": layer["href"],
        "name": _module_path(layer),
        "size": layer["size"],
        "dead": layer["dead"] / layer["scanned"] if layer["scanned"] else 0.0,
    }


def _dead(layer: Facts) -> str:
    return f", {layer['dead']} dead" if layer["dead"] else ""


def _piece_facts(piece: Drawing, nodes: Mapping[int, Node], labels: Mapping[int, Facts]) -> Facts:
    """A piece: its place in the network in words, and the lines and nodes to draw."""
    layers = [labels[key] for key in piece.nodes if labels[key]["href"]]
    paths = [tuple(layer["name"].split(".")) for layer in layers]
    prefix = paths[0] if len(paths) == 1 else common_parts(paths)
    sizes = [layer["size"] for layer in layers]
    return {
        "name": ".".join(prefix) or (f"{layers[0]['name']} …" if layers else ""),
        "sizes": [sizes[0]] if sizes and sizes[0] == sizes[-1] else sizes[:1] + sizes[-1:],
        "width": round(piece.width, 1),
        "height": round(piece.height, 1),
        "middle": round(piece.middle, 1),
        "leaves": piece.leaves,
        "lines": list(piece.lines),
        "nodes": [
            labels[key]
            | {
                "x": round(place.x - nodes[key].width / 2, 1),
                "y": round(place.y - nodes[key].height / 2, 1),
                "width": nodes[key].width,
                "height": nodes[key].height,
            }
            for key, place in piece.nodes.items()
        ],
    }
