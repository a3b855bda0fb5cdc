"""The hits of a unit in its rankings, and of classes, with the plates that show them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from retroscope.atlas.image_blobs import stored_image_sizes
from retroscope.atlas.queries import channel_queries, hit_queries
from retroscope.atlas.queries.hit_queries import UnitHitRow
from retroscope.atlas.queries.rankings import HitRanking
from retroscope.atlas.reader import Atlas
from retroscope.atlas.schema import DEFAULT_RANKINGS
from retroscope.geometry import ReceptiveField
from retroscope.imaging.decoding import Size
from retroscope.render.mosaics import cell_size
from retroscope.results.as_json import box_json
from retroscope.results.layers import Layer
from retroscope.results.plates import HALF, Patch, place_in_image
from retroscope.results.slice_stacks import from_stack
from retroscope.unit import Unit
from retroscope.web.site.pages.missing_projections import command_facts, missing_of_ranking
from retroscope.web.site.pages.plate_facts import VIEW_LETTERS, class_plate_urls, plate_urls
from retroscope.web.site.site import Facts, Site
from retroscope.web.site.site_files import PLATE_KINDS
from retroscope.web.site.slice_plates import count_plates, slice_facts
from retroscope.web.site.urls import url_template

_TONE, OF_SLICES = "-gamma", "-slices"


def galleries(
    site: Site, layer: Layer, channel: int, *, rankings: Sequence[HitRanking]
) -> dict[HitRanking, Facts]:
    """The hits of a channel in each of these rankings, and the plates that show them.

    The plates are those of projections and lit patches, in the same order; `gamma` those of
    projections by that tone. `cell` is the side of a square that holds the window of any of the
    hits: all are shown at one scale. An export has no plates of classes. Of volumes, sizes and
    boxes are those in a slice, and `slices` of a hit says which slices there are.
    """
    rows = hit_queries.unit_hits(site.atlas, layer, channel, rankings=rankings)
    images = {row.image for hits in rows.values() for row in hits}
    reader = _GalleryReader(
        site,
        layer,
        channel,
        sizes=_image_sizes(site, images),
        has_contrast=_has_contrast(site, layer, channel),
        href=url_template(site, "image"),
        src=url_template(site, "image_file"),
        labels={label.id: label.name for label in site.atlas.labels},
        command=command_facts(site),
        volume=site.volume,
    )
    return {ranking: reader.gallery(ranking, rows[ranking]) for ranking in rankings}


def _image_sizes(site: Site, images: Collection[int]) -> dict[int, Size]:
    """Height and width of those images that are stored; each is read once."""
    sizes = _known_sizes(site.atlas, site.atlas.file_version)
    unknown = [image for image in images if image not in sizes]
    if unknown:
        sizes |= dict.fromkeys(unknown) | stored_image_sizes(site.atlas, unknown)
    return {image: size for image in images if (size := sizes[image]) is not None}


@lru_cache(maxsize=8)
def _known_sizes(_atlas: Atlas, _version: int) -> dict[int, Size | None]:
    return {}


@lru_cache(maxsize=16_384)
def _field_facts(field: ReceptiveField, position: tuple[int, ...], size: Size | None) -> Facts:
    """Where a unit looks in an image of a size, or in a slice; many hits are at the same position.

    `place` is the middle of a field whose patch looks like the image; `middle`, to be marked in
    the image, also that of fields half as large.
    """
    box = replace(field.box(*position), front=0, back=1)
    visible = box if size is None else box.clip(*size)
    middle = None if size is None or visible == box else place_in_image(box, size, share=HALF)
    return {
        "box": box_json(box),
        "window": box_json(visible),
        "place": place_in_image(box, size) if size and middle else None,
        "middle": middle,
    }


def _has_contrast(site: Site, layer: Layer, channel: int) -> bool:
    span = range(channel, channel + 1)
    return bool(channel_queries.channels_with_rules(site.atlas, layer, "contrast", channels=span))


@dataclass(frozen=True, eq=False)
class _GalleryReader:
    """What the galleries of a channel share: sizes of images, and paths but for their numbers."""

    site: Site
    layer: Layer
    channel: int
    sizes: Mapping[int, Size]
    has_contrast: bool
    href: str
    src: str
    labels: Mapping[int, str]
    command: Facts
    volume: tuple[int, int, int] | None

    def gallery(self, ranking: HitRanking, rows: Sequence[UnitHitRow]) -> Facts:
        """The hits of a ranking, their plates, and how many lack a projection."""
        patches = self._volume_patches(ranking)[: len(rows)]
        slices = [
            {"slices": slice_facts(patch, count_plates(patches), self.volume or ())}
            for patch in patches
        ]
        hits = list(map(self._hit, rows))
        for hit, facts in zip(hits, slices, strict=False):
            hit.update(facts)
        windows = [hit["window"] for hit in hits]
        sides = cell_size((bottom - top, right - left) for top, left, bottom, right in windows)
        return {
            **self._plates(ranking, rows),
            "missing": self._missing(ranking, rows),
            "cell": max(sides),
            "hits": hits,
        }

    def _volume_patches(self, ranking: HitRanking) -> Sequence[Patch]:
        """The patches of a ranking, of an atlas of volumes alone: their slices are looked at."""
        if self.volume is None:
            return ()
        unit = Unit(self.layer.name, self.channel)
        label, ranked_by = self._label(ranking), str(ranking.ranked_by)
        return self.site.atlas.plate(unit, ranked_by=ranked_by, label=label).patches

    def _missing(self, ranking: HitRanking, rows: Sequence[UnitHitRow]) -> Facts | None:
        """What the hits lack, where a plate of their projections could be shown."""
        if not self._has_plates(ranking):
            return None
        label = self._label(ranking)
        return missing_of_ranking(
            f"{self.layer.name}:{self.channel}",
            self.command,
            hits=sum(row.activation is None for row in rows),
            ranked_by=str(ranking.ranked_by) if label is None else None,
            labels=[] if label is None else [label],
        )

    def _has_plates(self, ranking: HitRanking) -> bool:
        """One for each channel and class would be too many files for an export."""
        return ranking.label is None or self.site.answers_queries

    def _plates(self, ranking: HitRanking, rows: Sequence[UnitHitRow]) -> Facts:
        """The paths of the plates that there are; None for the others."""
        kinds: list[str] = []
        if self._has_plates(ranking) and any(row.activation is not None for row in rows):
            kinds += ["projections", "lit"]
        if self.volume is not None:
            return self._volume_plates(ranking, kinds)
        if self.has_contrast and ranking.label is None:
            kinds += ["contrast"] if kinds or ranking.ranked_by in DEFAULT_RANKINGS else []
        tones = {view: view + _TONE for view in kinds if view + _TONE in PLATE_KINDS}
        urls = self._plate_urls(ranking, [*kinds, *tones.values()])
        return {
            **{view: urls.get(view) for view in VIEW_LETTERS},
            "gamma": {view: urls[tone] for view, tone in tones.items()},
        }

    def _volume_plates(self, ranking: HitRanking, kinds: Sequence[str]) -> Facts:
        """The paths of the plates that have all slices, in one tone."""
        urls = self._plate_urls(ranking, [f"{kind}{OF_SLICES}" for kind in kinds])
        views = {kind: urls[f"{kind}{OF_SLICES}"] for kind in kinds}
        return {**dict.fromkeys(VIEW_LETTERS), **views, "gamma": {}}

    def _plate_urls(self, ranking: HitRanking, views: Sequence[str]) -> Facts:
        if not views:
            return {}
        site, layer, channel, label = self.site, self.layer, self.channel, self._label(ranking)
        if label is None:
            return plate_urls(site, layer, channel, views, ranked_by=str(ranking.ranked_by))
        return class_plate_urls(site, layer, channel, views, label=label)

    def _label(self, ranking: HitRanking) -> str | None:
        """The name of the class whose images are ranked; None for those of all classes."""
        return None if ranking.label is None else self.labels[ranking.label]

    def _hit(self, row: UnitHitRow) -> Facts:
        """A hit with the keys of `patch_json`, its rank, its class, and its image if stored."""
        size, position = self.sizes.get(row.image), from_stack(row.y, row.x, self.layer.size)
        if size and self.volume:
            size = self.volume[1:]
        return {
            **_field_facts(self.layer.field, position, size),
            "rank": row.rank,
            "score": row.score,
            "quantile": None,
            "remark": "",
            "position": list(position),
            "image": row.image,
            "source": row.key,
            "class": row.label,
            "href": self.href.format(image=row.image) if size else None,
            "src": self.src.format(image=row.image) if size else None,
            "size": list(size) if size else None,
            "projected": row.activation is not None,
            "notes": row.note.splitlines() if row.note else [],
        }
