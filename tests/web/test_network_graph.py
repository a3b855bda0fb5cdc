"""The graph of a network: every edge drawn, nothing overlaps, cut where it is one line."""

import re
from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from retroscope.results.layers import FROM_IMAGE, GraphStep
from retroscope.web.site.pages.graph_layout import Drawing, Node, draw_pieces
from retroscope.web.site.pages.network_graph import draw_graph

SIDE = 20.0
RESIDUAL = {1: (0,), 2: (1,), 3: (2, 0), 4: (3,), 5: (4, 3)}
"""Two residual blocks: 0 is the image, 3 and 5 are additions."""
INCEPTION = {1: (0,), 2: (0,), 3: (2,), 4: (0,), 5: (1, 3, 4), 6: (5,)}
DENSE = {1: (0,), 2: (0, 1), 3: (0, 1, 2), 4: (0, 1, 2, 3)}


@st.composite
def graphs(draw: st.DrawFn) -> dict[int, tuple[int, ...]]:
    """Every node reads a node before it, and sometimes several."""
    count = draw(st.integers(1, 24))
    return {
        n: tuple(draw(st.sets(st.integers(max(0, n - 6), n - 1), min_size=1, max_size=3)))
        for n in range(1, count)
    }


def draw(inputs: dict[int, tuple[int, ...]]) -> list[Drawing]:
    nodes = [Node(0, (), SIDE, SIDE)]
    return draw_pieces([*nodes, *(Node(n, sources, SIDE, SIDE) for n, sources in inputs.items())])


@given(graphs())
def test_every_node_stands_once_and_apart_from_all_others(
    graph: dict[int, tuple[int, ...]],
) -> None:
    pieces = draw(graph)
    assert [key for piece in pieces for key in sorted(piece.nodes)] == [0, *graph]
    for piece in pieces:
        for place, other in combinations(piece.nodes.values(), 2):
            assert max(abs(place.x - other.x), abs(place.y - other.y)) > SIDE
        for place in piece.nodes.values():
            assert SIDE / 2 <= place.x <= piece.width - SIDE / 2
            assert SIDE / 2 <= place.y <= piece.height - SIDE / 2


@given(graphs())
def test_every_edge_is_a_line_from_its_source_to_its_reader(
    graph: dict[int, tuple[int, ...]],
) -> None:
    for piece in draw(graph):
        ends = [_ends(line) for line in piece.lines]
        for key, place in piece.nodes.items():
            for source in graph.get(key, ()):
                start = piece.nodes.get(source)
                begin = (start.x + SIDE / 2, start.y) if start else (0.0, piece.middle)
                line = next(
                    (a, b)
                    for a, b in ends
                    if _distance(a, begin) < 0.1
                    and _distance(b, (place.x, place.y)) < SIDE / 2 + 0.1
                )
                ends.remove(line)
        assert not ends


def _distance(point: tuple[float, float], other: tuple[float, float]) -> float:
    return max(abs(point[0] - other[0]), abs(point[1] - other[1]))


def _ends(path: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """The first and the last point of an SVG path of absolute commands."""
    x = y = 0.0
    points = []
    for command, numbers in re.findall(r"([MHVCQ])([^MHVCQ]*)", path):
        values = [float(number) for number in numbers.split()]
        if command == "H":
            x = values[-1]
        elif command == "V":
            y = values[-1]
        else:
            x, y = values[-2:]
        points.append((x, y))
    return points[0], points[-1]


@given(graphs())
def test_a_piece_ends_where_all_that_follows_reads_nothing_but_its_last_node(
    graph: dict[int, tuple[int, ...]],
) -> None:
    """Neither less nor more: a piece that could be cut again is a chain of single nodes."""
    pieces = draw(graph)
    for piece in pieces:
        last = max(piece.nodes)
        read = {source for key, sources in graph.items() if key > last for source in sources}
        assert {source for source in read if source <= last} <= {last}
        assert piece.leaves == (last in read)


def test_a_residual_block_is_one_lane_with_an_arch_over_it() -> None:
    stem, first, second = draw(RESIDUAL)
    assert sorted(stem.nodes) == [0]
    for block in (first, second):
        assert len({place.y for place in block.nodes.values()}) == 1
        assert len([line for line in block.lines if "Q" in line]) == 1


def test_branches_have_lanes_below_the_longest() -> None:
    _, module, _ = draw(INCEPTION)
    lanes = {key: place.y for key, place in module.nodes.items()}
    assert lanes[2] == lanes[3] == lanes[5] == module.middle
    assert len({lanes[1], lanes[2], lanes[4]}) == 3
    assert min(lanes[1], lanes[4]) > module.middle


def test_lines_of_different_sources_run_on_different_tracks() -> None:
    (piece,) = (piece for piece in draw(DENSE) if len(piece.nodes) > 1)
    heights: dict[str, set[float]] = {}
    for line in piece.lines:
        if "Q" in line:
            source = line.split(" Q")[0]
            heights.setdefault(source, set()).add(float(line.split(" Q ")[2].split()[1]))
    assert all(len(tracks) == 1 for tracks in heights.values())
    assert len(set.union(*heights.values())) == len(heights)


def layer(name: str, channels: int = 8, side: int = 16, dead: int = 0) -> dict[str, Any]:
    """What the list of the page says about a layer."""
    facts = {"channels": channels, "size": [side, side], "dead": dead, "scanned": channels}
    return {"name": name, "convolution": [], "href": f"{name}.html", **facts}


def test_blocks_show_maps_channels_and_dead_shares() -> None:
    layers = [layer("a.conv1", side=64), layer("a.conv2", 512, 16, dead=128)]
    graph = (GraphStep(3, "conv", (FROM_IMAGE,)), GraphStep(5, "conv", (3,)))
    pieces = draw_graph(graph, layers, [3, 5])["pieces"]
    high, wide = (node for piece in pieces for node in piece["nodes"] if node["href"])
    assert high["height"] > wide["height"]
    assert wide["width"] > high["width"]
    assert (high["dead"], wide["dead"]) == (0, 0.25)
    assert "128 dead" in wide["title"]
    assert [high["text"], wide["text"]] == ["1", "2"]


def test_a_chain_of_one_module_is_one_piece_named_after_it() -> None:
    layers = [layer(f"features.{n}") for n in range(3)] + [layer("head.0")]
    graph = [GraphStep(0, "conv", (FROM_IMAGE,))]
    graph += [GraphStep(n, "conv", (n - 1,)) for n in range(1, 4)]
    pieces = draw_graph(graph, layers, [0, 1, 2, 3])["pieces"]
    assert [piece["name"] for piece in pieces] == ["features", "head.0"]


def test_a_graph_that_lacks_a_layer_is_not_drawn() -> None:
    graph = (GraphStep(3, "conv", (FROM_IMAGE,)),)
    layers = [layer("a"), layer("b")]
    assert draw_graph(graph, layers, [3, 4])["pieces"] == []
