"""Where the nodes of a network's graph stand, and the lines between them.

The graph is cut wherever everything goes through one node. The pieces follow each other like words
and wrap like them, so the drawing fits any window::

    conv1            layer1.0                       inception3a

                      ┌───────────────┐              ┌──[1]───────────┐
    [1]──────       ──┴──[2]───[3]───(+)──         ──┼──[2]───[3]─────⊕──
                                                     └──[4]───────────┘

The longest path of a piece is its lane 0; the other paths have lanes below it. What skips a path
runs above it on a track, one for each source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, takewhile
from math import floor

_GAP, _LANE_GAP, _TRACK = 20.0, 12.0, 7.0
"""Between columns, between lanes, between tracks."""
_BEND = 5.0
"""The radius of a corner."""
_LABEL = 13.0
"""Room for a line of text under a node."""
_MAX_RUN = 8
"""Nodes of a piece without branches."""


@dataclass(frozen=True)
class Node:
    """A node to place: what it reads, its size, and the parts of its name.

    Neighbours in a chain with similar names and the same `maps` share a piece.
    """

    key: int
    inputs: tuple[int, ...]
    width: float
    height: float
    name: tuple[str, ...] = ()
    maps: tuple[int, ...] = ()


@dataclass(frozen=True)
class Place:
    """The middle of a node."""

    x: float
    y: float


@dataclass(frozen=True)
class Drawing:
    """A piece in pixels; `middle` is the height of lane 0, `lines` are SVG paths.

    `enters` and `leaves` say whether a line comes in from the left and goes out to the right.
    """

    nodes: Mapping[int, Place]
    lines: tuple[str, ...]
    width: float
    height: float
    middle: float
    enters: bool
    leaves: bool


def draw_pieces(nodes: Sequence[Node]) -> list[Drawing]:
    """The drawings of all pieces, with lane 0 at the same height. Nodes are in running order."""
    readers = _last_readers(nodes)
    pieces = [_Piece(tuple(run)) for run in _split(nodes, readers)]
    middle = _sharp(max((piece.room_above for piece in pieces), default=0.0))
    last = {node.key for n, node in enumerate(nodes) if readers[node.key] <= n}
    return [
        piece.draw(middle, leaves=any(node.key not in last for node in piece.nodes[-1:]))
        for piece in pieces
    ]


def _last_readers(nodes: Sequence[Node]) -> dict[int, int]:
    """For each node the number of the last one that reads it; its own, if none does."""
    last = {node.key: number for number, node in enumerate(nodes)}
    for number, node in enumerate(nodes):
        last |= dict.fromkeys(node.inputs, number)
    return last


def _split(nodes: Sequence[Node], last_readers: Mapping[int, int]) -> list[list[Node]]:
    """Runs of nodes. After each nothing is read but its last node."""
    runs: list[list[Node]] = [[]]
    farthest = -1
    for number, node in enumerate(nodes):
        runs[-1].append(node)
        if farthest <= number:
            runs.append([])
        farthest = max(farthest, last_readers[node.key])
    return _join_chains([run for run in runs if run])


def _join_chains(runs: list[list[Node]]) -> list[list[Node]]:
    """Single nodes that follow each other as one run, if they belong together."""
    joined: list[list[Node]] = []
    is_chain = False
    for run in runs:
        previous = joined[-1] if joined else []
        if is_chain and len(run) == 1 and _belongs(run[0], previous):
            previous.extend(run)
        else:
            joined.append(list(run))
            is_chain = len(run) == 1
    return joined


def _belongs(node: Node, run: Sequence[Node]) -> bool:
    before = run[-1]
    if len(run) >= _MAX_RUN or before.key not in node.inputs:
        return False
    if before.maps not in ((), node.maps):
        return False
    depth = min(len(before.name), len(node.name))
    return depth < 2 or len(common_parts([before.name, node.name])) >= max(depth - 2, 1)


def common_parts(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What all names begin with.

    >>> common_parts([("layer1", "0", "conv1"), ("layer1", "0", "conv2")])
    ('layer1', '0')
    """
    columns = zip(*names, strict=False)
    return tuple(takewhile(bool, (column[0] * (len(set(column)) == 1) for column in columns)))


@dataclass(frozen=True)
class _Path:
    """Nodes one after another, from a source in another lane to a reader in another lane."""

    nodes: tuple[Node, ...]
    source: int | None
    reader: int | None


@dataclass(frozen=True)
class _Skip:
    """A line above lane 0, from a node or from the left border (None) to a node."""

    source: int | None
    target: int


class _Piece:
    """The layout of a piece. A source before it is the left border, which is column 0."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = nodes

    @cached_property
    def by_key(self) -> dict[int, Node]:
        return {node.key: node for node in self.nodes}

    @cached_property
    def sources(self) -> dict[int, tuple[int | None, ...]]:
        """What each node reads; None is the left border."""
        return {
            node.key: tuple(
                dict.fromkeys(key if key in self.by_key else None for key in node.inputs)
            )
            for node in self.nodes
        }

    @cached_property
    def readers(self) -> dict[int | None, list[int]]:
        readers: dict[int | None, list[int]] = {}
        for key, sources in self.sources.items():
            for source in sources:
                readers.setdefault(source, []).append(key)
        return readers

    @cached_property
    def columns(self) -> dict[int | None, int]:
        """The length of the longest path to each node."""
        columns: dict[int | None, int] = {None: 0}
        for key, sources in self.sources.items():
            columns[key] = 1 + max((columns[source] for source in sources), default=0)
        return columns

    @cached_property
    def paths(self) -> list[_Path]:
        """All nodes in paths. The first is the longest one to the last node."""
        paths: list[_Path] = []
        free = set(self.by_key)
        ends = [self.nodes[-1].key, *sorted(self.by_key, key=lambda key: -self.columns[key])]
        for end in ends:
            if end in free:
                path = self._path_to(end, free)
                free -= {node.key for node in path.nodes}
                paths.append(path)
        return paths

    def _path_to(self, end: int, free: set[int]) -> _Path:
        nodes = [self.by_key[end]]
        while True:
            sources = self.sources[nodes[0].key]
            unplaced = [source for source in sources if source is not None and source in free]
            if not unplaced:
                break
            nodes.insert(0, self.by_key[max(unplaced, key=lambda key: self.columns[key])])
        source = max(sources, key=lambda key: self.columns[key], default=None)
        readers = self.readers.get(end, [])
        reader = min(readers, key=lambda key: self.columns[key], default=None)
        return _Path(tuple(nodes), source, reader)

    @cached_property
    def lanes(self) -> dict[int | None, int]:
        """The lane of each node: the first one that is free from its source to its reader."""
        lanes: dict[int | None, int] = {None: 0}
        spans: dict[int, list[tuple[int, int]]] = {}
        for number, path in enumerate(self.paths):
            start, end = self._span(path)
            lane = 0 if number == 0 else 1
            while any(start < stop and first < end for first, stop in spans.get(lane, [])):
                lane += 1
            spans.setdefault(lane, []).append((start, end))
            lanes |= dict.fromkeys((node.key for node in path.nodes), lane)
        return lanes

    def _span(self, path: _Path) -> tuple[int, int]:
        """The columns of a path's source and reader."""
        end = path.reader if path.reader is not None else path.nodes[-1].key
        return self.columns[path.source], self.columns[end] + (path.reader is None)

    @cached_property
    def lines(self) -> dict[tuple[int | None, int], bool]:
        """The edges in lanes, and whether each changes its lane at its end."""
        lines: dict[tuple[int | None, int], bool] = {}
        for number, path in enumerate(self.paths):
            keys = [node.key for node in path.nodes]
            if self.sources[keys[0]]:
                lines[path.source, keys[0]] = False
            lines |= dict.fromkeys(pairwise(keys), False)
            if number and path.reader is not None:
                lines[keys[-1], path.reader] = True
        return lines

    @cached_property
    def tracks(self) -> dict[_Skip, int]:
        """The track of every other edge. Short ones are nearest; those of a source share one."""
        skips = [
            _Skip(source, key)
            for key, sources in self.sources.items()
            for source in sources
            if (source, key) not in self.lines
        ]
        spans: dict[int | None, tuple[int, int]] = {}
        for skip in skips:
            farthest = spans.get(skip.source, (0, 0))[1]
            ends = self.columns[skip.source], max(farthest, self.columns[skip.target])
            spans[skip.source] = ends
        taken: list[list[tuple[int, int]]] = []
        tracks: dict[int | None, int] = {}
        for source, (start, end) in sorted(spans.items(), key=lambda item: item[1][1] - item[1][0]):
            track = _free_track(taken, start, end)
            taken[track].append((start, end))
            tracks[source] = track
        return {skip: tracks[skip.source] for skip in skips}

    @cached_property
    def room_above(self) -> float:
        """From the top to lane 0."""
        tracks = max(self.tracks.values(), default=-1) + 1
        room = max(node.height for node in self.nodes) / 2
        return room + 2 + (tracks * _TRACK + _BEND if tracks else 0)

    @cached_property
    def x(self) -> dict[int, float]:
        """The middle of each column."""
        widths: dict[int, float] = {}
        for node in self.nodes:
            column = self.columns[node.key]
            widths[column] = max(widths.get(column, 0), node.width)
        x, at = _GAP, dict[int, float]()
        for column in sorted(widths):
            at[column] = x + widths[column] / 2
            x += widths[column] + _GAP
        return at

    def lane_middles(self, middle: float) -> dict[int, float]:
        heights: dict[int, float] = {}
        for node in self.nodes:
            lane = self.lanes[node.key]
            heights[lane] = max(heights.get(lane, 0), node.height)
        y, at = middle, {0: middle}
        below = heights.get(0, 0) / 2 + _LABEL
        for lane in range(1, max(heights) + 1):
            y += below + _LANE_GAP + heights[lane] / 2
            at[lane] = y = _sharp(y)
            below = heights[lane] / 2 + _LABEL
        return at

    def draw(self, middle: float, *, leaves: bool) -> Drawing:
        lanes = self.lane_middles(middle)
        places = {
            node.key: Place(self.x[self.columns[node.key]], lanes[self.lanes[node.key]])
            for node in self.nodes
        }
        pen = _Pen(self.by_key, places, middle)
        lines = [pen.line(*edge, late=late) for edge, late in self.lines.items()]
        top = max(node.height for node in self.nodes) / 2 + _BEND
        lines += [
            pen.arch(skip, middle - top - track * _TRACK) for skip, track in self.tracks.items()
        ]
        bottom = max(place.y + self.by_key[key].height / 2 for key, place in places.items())
        last = self.nodes[-1]
        width = places[last.key].x + last.width / 2
        return Drawing(
            nodes=places,
            lines=tuple(lines),
            width=max(width, *(place.x for place in places.values())) + _GAP,
            height=bottom + _LABEL,
            middle=middle,
            enters=None in self.readers,
            leaves=leaves,
        )


def _sharp(y: float) -> float:
    """The middle of a row of pixels, where a thin line is sharp."""
    return floor(y) + 0.5


def _free_track(taken: list[list[tuple[int, int]]], start: int, end: int) -> int:
    """The lowest track without anything between these columns; `taken` gets one more if needed."""
    for track, spans in enumerate(taken):
        if all(end <= first or last <= start for first, last in spans):
            return track
    taken.append([])
    return len(taken) - 1


class _Pen:
    """Writes lines between placed nodes as SVG paths."""

    def __init__(
        self, nodes: Mapping[int, Node], places: Mapping[int, Place], middle: float
    ) -> None:
        self.nodes, self.places, self.middle = nodes, places, middle

    def _start(self, source: int | None) -> tuple[float, float]:
        """The right side of a node, or the left border at lane 0."""
        if source is None:
            return 0.0, self.middle
        place = self.places[source]
        return place.x + self.nodes[source].width / 2, place.y

    def line(self, source: int | None, target: int, *, late: bool) -> str:
        """Straight along a lane, with a bend behind the source or, if `late`, before the target."""
        x, y = self._start(source)
        place, node = self.places[target], self.nodes[target]
        left = place.x - node.width / 2
        if y == place.y:
            return _path("M", x, y, "H", left)
        if not late:
            bend = x + _GAP
            return _path("M", x, y, "C", x + 9, y, bend - 9, place.y, bend, place.y, "H", left)
        bend = left - _GAP
        end = left - 9, place.y
        return _path("M", x, y, "H", bend, "C", bend + 9, y, *end, left, place.y)

    def arch(self, skip: _Skip, top: float) -> str:
        """Up behind the source, along a track, and down on the target or, in a lane, before it."""
        x, y = self._start(skip.source)
        place, node = self.places[skip.target], self.nodes[skip.target]
        rise = x + _BEND
        up = ("M", x, y, "Q", rise, y, rise, y - _BEND, "V", top + _BEND)
        along = ("Q", rise, top, rise + _BEND, top, "H")
        if place.y == self.middle:
            over, roof = place.x, place.y - node.height / 2
            down = (over - _BEND, "Q", over, top, over, top + _BEND, "V", roof)
            return _path(*up, *along, *down)
        left = place.x - node.width / 2
        fall = left - 2 * _BEND
        down = (fall - _BEND, "Q", fall, top, fall, top + _BEND, "V", place.y - _BEND)
        return _path(*up, *along, *down, "Q", fall, place.y, fall + _BEND, place.y, "H", left)


def _path(*parts: str | float) -> str:
    return " ".join(part if isinstance(part, str) else f"{round(part, 1):g}" for part in parts)
