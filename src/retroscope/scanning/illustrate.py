"""The second pass, over the winners only: their pictures and their projections."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.writer import AtlasWriter, Hit
from retroscope.engine.batching import Prepared
from retroscope.engine.rules import rule_book
from retroscope.errors import RetroscopeError
from retroscope.methods.atlas_match import refuse_other_weights
from retroscope.methods.deconv.deconv import deconv_many
from retroscope.network import Network
from retroscope.progress import Listener, Watch, silent
from retroscope.results.layer_lookup import checked
from retroscope.results.values import Projection
from retroscope.scanning.loading import default_workers
from retroscope.scanning.plan import named_layers
from retroscope.scanning.sources import Pictures, Source, pictures
from retroscope.unit import Unit

HITS_AT_ONCE, PICTURES_KEPT, PICTURES_AT_ONCE = 512, 384, 32

HowMany = str | int | bool


def illustrate(
    atlas: str | Path,
    net: Network,
    images: Source | None = None,
    *,
    layers: str | Sequence[str] = (),
    units: Sequence[str | Unit] | None = None,
    ranks: HowMany = "all",
    rules: str = "deconvnet",
    labels: str | Path | None = None,
    glob: str | None = None,
    workers: int | None = None,
    progress: Listener = silent,
) -> None:
    """Projects the winners of a scanned atlas that have no projection by these rules yet.

    `ranks` is `all`, `max` (the hits by maximum), or how many hits of each channel; `layers` and
    `units` name some: layers, channels, or hits at one position. The images are named as they were
    for the scan; left out, they are those that the atlas remembers. The copies in the atlas would
    not do: what little WebP loses changes switches, and with them the projections of deep layers.
    """
    with open_atlas(atlas) as scanned:
        listed = _listed(scanned, images, glob=glob, labels=labels)
        _refuse_other(scanned, net, listed)
        wanted = _named(scanned, named_layers(layers), units)
        with AtlasWriter(atlas) as writer:
            readers = workers or default_workers()
            keep_pictures(writer, net, listed, workers=readers, progress=progress)
            illustrate_winners(
                writer,
                net,
                listed,
                ranks=ranks_of(ranks),
                wanted=wanted,
                rules=rules,
                progress=progress,
            )


def _listed(
    scanned: Atlas,
    images: Source | None,
    *,
    glob: str | None,
    labels: str | Path | None,
) -> Pictures:
    """The images that are named, or that the atlas remembers."""
    meta = scanned.meta
    source = images if images is not None else meta.get("source")
    if source is None:
        raise RetroscopeError(
            f"{str(scanned.path)!r} does not remember its images; give them as for the scan"
        )
    if images is not None:
        return pictures(images, glob=glob, labels=labels)
    remembered = meta.get("glob")
    return pictures(str(source), glob=glob or (str(remembered) if remembered else None))


def _named(
    scanned: Atlas, layers: Sequence[str], units: Sequence[str | Unit] | None
) -> frozenset[Unit] | None:
    """What some layers and units stand for under the layers' own names; None for everything."""
    if not layers and units is None:
        return None
    asked = [Unit.parse(unit) if isinstance(unit, str) else unit for unit in units or ()]
    named = [replace(checked(one, scanned.layer(one.layer)), whole_map=False) for one in asked]
    return frozenset([*named, *(Unit(scanned.layer(name).name) for name in layers)])


def _refuse_other(scanned: Atlas, net: Network, listed: Pictures) -> None:
    meta, name = scanned.meta, repr(str(scanned.path))
    if meta.get("state") not in ("scanned", "illustrated"):
        raise RetroscopeError(f"{name} is not scanned to its end; scan first")
    refuse_other_weights(scanned, net, name)
    _refuse_other_images(scanned, listed)


def _refuse_other_images(scanned: Atlas, listed: Pictures) -> None:
    count, name = len(scanned.images), repr(str(scanned.path))
    if len(listed.keys) != count:
        raise RetroscopeError(
            f"{name} is of {count} images, not of {len(listed.keys)}; give the same images"
        )
    for image, key in zip(scanned.images, listed.keys, strict=True):
        if image.key != key:
            raise RetroscopeError(
                f"image {image.id} of {name} is {image.key!r}, not {key!r}; give the same images"
            )


@dataclass(frozen=True)
class Ranks:
    """How many hits of each ranking are projected, None for all; `by_mean` or those by maximum."""

    most: int | None = None
    by_mean: bool = True


def ranks_of(how_many: HowMany) -> Ranks:
    """What the words of a user ask for.

    >>> ranks_of("max"), ranks_of(False).most
    (Ranks(most=None, by_mean=False), 0)
    """
    text = {"True": "all", "False": "none"}.get(str(how_many), str(how_many))
    if text in _WORDS:
        return _WORDS[text]
    if not text.isdecimal():
        raise RetroscopeError(
            f"cannot illustrate {text!r}; write all, max, none, or a number of hits"
        )
    return Ranks(int(text))


_WORDS = {"all": Ranks(), "max": Ranks(by_mean=False), "none": Ranks(0)}


class Shelf:
    """Pictures of the list, prepared by threads; the last ones used stay at hand."""

    def __init__(
        self, net: Network, listed: Pictures, workers: int, *, most: int = PICTURES_KEPT
    ) -> None:
        self._net, self._listed, self._workers, self._most = net, listed, workers, most
        self._kept: OrderedDict[int, Prepared] = OrderedDict()

    def fetch(self, numbers: Sequence[int]) -> dict[int, Prepared]:
        """The pictures of these numbers."""
        missing = [number for number in dict.fromkeys(numbers) if number not in self._kept]
        with ThreadPoolExecutor(self._workers) as pool:
            self._kept.update(zip(missing, pool.map(self._read, missing), strict=True))
        found = {number: self._kept[number] for number in numbers}
        for number in found:
            self._kept.move_to_end(number)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found

    def _read(self, number: int) -> Prepared:
        return self._net.prepare(self._listed.get(number))


def keep_pictures(
    writer: AtlasWriter, net: Network, listed: Pictures, *, workers: int, progress: Listener
) -> None:
    """Puts each winning picture into the atlas once, at the size that the network takes."""
    missing = writer.missing_pictures()
    if not missing:
        return
    shelf = Shelf(net, listed, workers, most=0)
    watch = Watch("keep pictures", len(missing), progress)
    for start, some in _parts(missing, PICTURES_AT_ONCE):
        found = shelf.fetch(some)
        with writer.transaction():
            for number, prepared in found.items():
                writer.put_winner_picture(number, prepared.picture)
        watch.at(start + len(some))


def illustrate_winners(
    writer: AtlasWriter,
    net: Network,
    listed: Pictures,
    *,
    ranks: Ranks,
    wanted: frozenset[Unit] | None = None,
    rules: str = "deconvnet",
    progress: Listener = silent,
) -> None:
    """Puts the projections of the winners that have none into the atlas.

    The hits by maximum come first, layer by layer, then those by mean alone: so stopped at any
    moment what people look at first is there first.
    """
    book = rule_book(rules)
    hits = _to_project(writer, wanted, ranks=ranks, rules=book.name)
    shelf = Shelf(net, listed, default_workers())
    watch = Watch("illustrate", len(hits), progress)
    for start, some in _parts(hits, HITS_AT_ONCE):
        found = shelf.fetch([hit.image for hit in some])
        shown = deconv_many(net, [(_unit(hit), found[hit.image]) for hit in some], rules=book)
        projections: list[Projection] = []
        try:
            projections.extend(shown)  # what is there when it is stopped is kept
        finally:
            with writer.transaction():
                for hit, projection in zip(some, projections, strict=False):
                    writer.put_projection(hit.image, projection)
        watch.at(start + len(some))
    if wanted is None or any(unit.channel is None for unit in wanted):
        with writer.transaction():
            writer.put_meta({"state": "illustrated" if ranks.most != 0 else "scanned"})


def _to_project(
    writer: AtlasWriter, wanted: frozenset[Unit] | None, *, ranks: Ranks, rules: str
) -> list[Hit]:
    """The hits that lack a projection, the most wanted first."""
    layers = [None] if wanted is None else sorted({unit.layer for unit in wanted})
    hits = [
        hit
        for layer in layers
        for hit in writer.missing_projections(layer, ranks=ranks.most, rules=rules)
        if (wanted is None or _is_wanted(hit, wanted))
        and (ranks.by_mean or not _by_mean_alone(hit))
    ]
    return sorted(hits, key=_by_mean_alone)


def _by_mean_alone(hit: Hit) -> bool:
    """Only a hit by maximum has its score."""
    return hit.score is None


def _is_wanted(hit: Hit, wanted: frozenset[Unit]) -> bool:
    here = _unit(hit)
    names = {here, replace(here, position=None), Unit(hit.layer)}
    return not wanted.isdisjoint(names)


def _unit(hit: Hit) -> Unit:
    return Unit(hit.layer, hit.channel, (hit.y, hit.x))


Item = TypeVar("Item")


def _parts(items: Sequence[Item], size: int) -> Iterator[tuple[int, Sequence[Item]]]:
    for start in range(0, len(items), size):
        yield start, items[start : start + size]
