"""The second pass, over the winners only: their pictures and their projections."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from retroscope.atlas.loading import default_workers
from retroscope.atlas.plan import fingerprint
from retroscope.atlas.progress import Listener, Watch, silent
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.sources import Dataset, Pictures, pictures
from retroscope.atlas.writer import AtlasWriter, Hit
from retroscope.errors import RetroscopeError
from retroscope.methods.deconv import deconv_many
from retroscope.network import Network, Prepared
from retroscope.rules import rule_book
from retroscope.unit import Unit

HITS_AT_ONCE, PICTURES_KEPT = 512, 384

HowMany = str | int | bool


def illustrate(
    atlas: str | Path,
    net: Network,
    images: str | Path | Dataset,
    *,
    layers: Sequence[str] = (),
    ranks: HowMany = "all",
    rules: str = "deconvnet",
    labels: str | Path | None = None,
    glob: str | None = None,
    workers: int | None = None,
    progress: Listener = silent,
) -> None:
    """Projects the winners of a scanned atlas that have no projection by these rules yet.

    `ranks` is `all`, or how many hits of each channel; `layers` the names of some. The images are
    named as they were for the scan.
    """
    listed = pictures(images, glob=glob, labels=labels)
    with open_atlas(atlas) as scanned:
        _refuse_other(scanned, net, listed)
    with AtlasWriter(atlas) as writer:
        names = [net.layer(name).name for name in layers]
        keep_pictures(writer, net, listed, workers=workers or default_workers(), progress=progress)
        illustrate_winners(
            writer,
            net,
            listed,
            ranks=ranks_of(ranks),
            layers=names or None,
            rules=rules,
            progress=progress,
        )


def _refuse_other(scanned: Atlas, net: Network, listed: Pictures) -> None:
    meta, name = scanned.meta, repr(str(scanned.path))
    if meta.get("state") not in ("scanned", "illustrated"):
        raise RetroscopeError(f"{name} is not scanned to its end; scan first")
    if meta["weights"] != fingerprint(net.module):
        raise RetroscopeError(
            f"{name} is of {meta['model']} with other weights; give the same model"
        )
    if meta["preprocessing"] != repr(net.preprocessing):
        raise RetroscopeError(f"{name} was scanned with another preprocessing; give the same")
    if len(listed.keys) != meta["images"]:
        raise RetroscopeError(
            f"{name} is of {meta['images']} images, not of {len(listed.keys)}; give the same images"
        )
    for image, key in zip(scanned.images, listed.keys, strict=True):
        if image.key != key:
            raise RetroscopeError(
                f"image {image.id} of {name} is {image.key!r}, not {key!r}; give the same images"
            )


def ranks_of(how_many: HowMany) -> int | None:
    """How many hits of each channel are illustrated; None for all."""
    if isinstance(how_many, bool):
        return None if how_many else 0
    text = str(how_many)
    if text in ("all", "none"):
        return None if text == "all" else 0
    if not text.isdecimal():
        raise RetroscopeError(f"cannot illustrate {text!r}; write all, none, or a number of hits")
    return int(text)


class Shelf:
    """Pictures of the list, prepared by threads; the last ones used stay at hand."""

    def __init__(self, net: Network, listed: Pictures, workers: int) -> None:
        self._net, self._listed, self._workers = net, listed, workers
        self._kept: OrderedDict[int, Prepared] = OrderedDict()

    def fetch(self, numbers: Sequence[int]) -> dict[int, Prepared]:
        """The pictures of these numbers."""
        missing = [number for number in dict.fromkeys(numbers) if number not in self._kept]
        with ThreadPoolExecutor(self._workers) as pool:
            self._kept.update(zip(missing, pool.map(self._read, missing), strict=True))
        found = {number: self._kept[number] for number in numbers}
        for number in found:
            self._kept.move_to_end(number)
        while len(self._kept) > PICTURES_KEPT:
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
    shelf, watch = Shelf(net, listed, workers), Watch("keep pictures", len(missing), progress)
    for start, some in _parts(missing):
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
    ranks: int | None,
    layers: Sequence[str] | None = None,
    rules: str = "deconvnet",
    progress: Listener = silent,
) -> None:
    """Puts the projections of the winners that have none into the atlas, layer by layer."""
    book = rule_book(rules)
    hits = [
        hit
        for layer in (layers or (None,))
        for hit in writer.missing_projections(layer, ranks=ranks, rules=book.name)
    ]
    shelf = Shelf(net, listed, default_workers())
    watch = Watch("illustrate", len(hits), progress)
    for start, some in _parts(hits):
        found = shelf.fetch([hit.image for hit in some])
        shown = deconv_many(net, [(_unit(hit), found[hit.image]) for hit in some], rules=book)
        projections = list(shown)
        with writer.transaction():
            for hit, projection in zip(some, projections, strict=True):
                writer.put_projection(hit.image, projection)
        watch.at(start + len(some))
    with writer.transaction():
        writer.put_meta({"state": "illustrated" if ranks != 0 else "scanned"})


def _unit(hit: Hit) -> Unit:
    return Unit(hit.layer, hit.channel, (hit.y, hit.x))


Item = TypeVar("Item")


def _parts(items: Sequence[Item]) -> Iterator[tuple[int, Sequence[Item]]]:
    for start in range(0, len(items), HITS_AT_ONCE):
        yield start, items[start : start + HITS_AT_ONCE]
