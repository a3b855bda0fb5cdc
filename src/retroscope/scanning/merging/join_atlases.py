"""Finished atlases of one network, over different images, joined into one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from retroscope.atlas.queries import join_queries, reader_queries
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.row_decoding import graph_from_rows
from retroscope.atlas.schema import AtlasError, Json, ScanState
from retroscope.atlas.sqlite_errors import quote_path
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import RetroscopeError
from retroscope.progress import ProgressListener, ProgressReporter
from retroscope.results.layers import Layer
from retroscope.scanning.class_correlation import correlation_numbers
from retroscope.scanning.merging.joined_hits import (
    join_patterns,
    read_pixels,
    read_projections,
)
from retroscope.scanning.merging.joined_images import JoinedImages, join_images, read_files
from retroscope.scanning.merging.joined_rankings import (
    JoinedClassRankings,
    JoinedSample,
    common_rankings,
    join_layer_hits,
)
from retroscope.scanning.merging.joined_statistics import (
    ClassProfiles,
    join_class_profiles,
    join_statistics,
    joined_maxima,
)
from retroscope.scanning.plan import FACT_LABELS, stored_count
from retroscope.scanning.sources.image_list import ListFingerprint
from retroscope.scanning.sources.left_out import LeftOutShards

_SAME_FACTS = ("weights", "preprocessing", "inputs", "precision")


def join_atlases(
    paths: Sequence[Path], *, to: Path, restart: bool, progress: ProgressListener
) -> None:
    """Joins two or more atlases into a new one."""
    _refuse_same_files(paths, to)
    with ExitStack() as stack:
        atlases = [stack.enter_context(open_atlas(path)) for path in paths]
        for atlas in atlases:
            _refuse_unfinished(atlas)
        for atlas in atlases[1:]:
            _refuse_other_scan(atlases[0], atlas)
        images = join_images(atlases)
        with _create(to, restart=restart) as writer, writer.transaction():
            _Join(atlases, images, writer).run(progress)


def _refuse_same_files(paths: Sequence[Path], to: Path) -> None:
    if len(paths) < 2:
        raise RetroscopeError("cannot join a single atlas; give two or more")
    resolved: dict[Path, Path] = {}
    for path in paths:
        if resolved.setdefault(path.resolve(), path) is not path:
            raise RetroscopeError(f"{quote_path(path)} is given twice; give each atlas once")
    if to.resolve() in resolved:
        raise RetroscopeError(
            f"{quote_path(to)} is one of the atlases to join; join them into another file",
            parameter="to",
        )


def _refuse_unfinished(atlas: Atlas) -> None:
    state = atlas.meta.get("state")
    if state is None or not ScanState(str(state)).is_finished:
        raise AtlasError(
            f"the scan of {quote_path(atlas.path)} is not finished; run the same scan again, then "
            "join"
        )


def _refuse_other_scan(first: Atlas, second: Atlas) -> None:
    """Raises AtlasError if two atlases are not of one network, or are copies of one scan."""
    meta, other = first.meta, second.meta
    names = f"{quote_path(first.path)} and {quote_path(second.path)}"
    differences = [FACT_LABELS[key] for key in _SAME_FACTS if _fact(meta, key) != _fact(other, key)]
    if _layer_facts(first) != _layer_facts(second):
        differences.append(FACT_LABELS["layers"])
    if differences:
        raise AtlasError(
            f"{names} cannot be joined: they differ in {' and '.join(differences)}; scan the same "
            "layers with the same network"
        )
    if meta.get("created") == other.get("created"):
        raise AtlasError(f"{names} are copies of one scan; join atlases of different images")


def _fact(meta: Mapping[str, Json], key: str) -> Json:
    """A fact about a scan; the first atlases do not record that they are in full precision."""
    return meta.get(key, "full" if key == "precision" else None)


def _layer_facts(atlas: Atlas) -> list[tuple[str, int, tuple[int, ...]]]:
    return [(layer.name, layer.channels, layer.size) for layer in atlas.layers]


@contextmanager
def _create(path: Path, *, restart: bool) -> Iterator[AtlasWriter]:
    """An atlas that holds nothing yet; after an error there is no file."""
    with AtlasWriter(path, restart=restart) as writer:
        if "state" in writer.meta:
            raise RetroscopeError(
                f"{quote_path(path)} exists; join into another file, or replace it with restart",
                parameter="restart",
            )
        try:
            yield writer
        except BaseException:
            writer.discard()
            raise


@dataclass(frozen=True, eq=False)
class _Join:
    """Several atlases, their images as one list, and the atlas to write."""

    atlases: Sequence[Atlas]
    images: JoinedImages
    writer: AtlasWriter
    hit_images: set[int] = field(default_factory=set)

    @cached_property
    def sample(self) -> JoinedSample | None:
        """The sample of all images, if every atlas has one."""
        return JoinedSample.join(self.atlases, self.images.starts)

    @cached_property
    def class_rankings(self) -> JoinedClassRankings:
        """The rankings by class."""
        return JoinedClassRankings(self.atlases, self.images)

    def run(self, progress: ProgressListener) -> None:
        """Writes all tables."""
        layers = self.atlases[0].layers
        reporter = ProgressReporter("join", len(layers), progress)
        self._write_images()
        self.writer.put_layers(layers)
        graphs = (graph_from_rows(reader_queries.graph_steps(atlas)) for atlas in self.atlases)
        self.writer.put_graph(next(filter(None, graphs), ()))
        if self.sample is not None:
            self.writer.put_sample_images(self.sample.images.tolist(), self.sample.hashes.tolist())
            self.hit_images.update(self.sample.images.tolist())
        with self.writer.rebuild_hit_index():
            for number, layer in enumerate(layers):
                reporter.update(number)
                self._write_layer(layer)
        self._write_pixels()
        self.writer.put_meta(self._facts())
        reporter.update(len(layers))

    def _write_images(self) -> None:
        images = self.images
        self.writer.put_images(images.keys, images.labels, images.class_names)
        self.writer.mark_read(n for n in range(len(images.keys)) if n not in images.errors)
        for number, error in images.errors.items():
            self.writer.mark_unreadable(number, error)
        for atlas, start in self._parts():
            for files in read_files(atlas, start):
                self.writer.put_image_files(files)

    def _parts(self) -> Iterator[tuple[Atlas, int]]:
        """Each atlas with the number of its first image."""
        return zip(self.atlases, self.images.starts, strict=True)

    def _write_layer(self, layer: Layer) -> None:
        columns = join_statistics(
            [
                join_queries.layer_statistics(atlas, self._layer_id(atlas, layer), layer.channels)
                for atlas in self.atlases
            ]
        )
        if self.with_classes:
            parts = [self._class_profiles(atlas, layer) for atlas in self.atlases]
            profiles = join_class_profiles(
                [part for part in parts if part.images], len(self.images.class_names)
            )
            self.writer.put_class_stats(layer.name, profiles.mean_maxima, profiles.fired_shares)
            sums = joined_maxima(columns, profiles)
            self.writer.put_numbers(correlation_numbers(layer, sums, self.images.class_names))
            columns["top_label"] = profiles.top_label
        self.writer.put_channels(layer.name, columns)
        self._write_hits(layer)
        self.writer.put_pattern_rows(layer.name, join_patterns(self.atlases, layer.name))

    def _write_hits(self, layer: Layer) -> None:
        """Writes the rankings of a layer, and the projections of the hits that are in them."""
        places = set()
        for ranking in common_rankings(self.atlases):
            hits = join_layer_hits(
                self.atlases, ranking, layer, starts=self.images.starts, top=self.top
            )
            self.writer.put_hits(layer.name, ranking, hits.scores, **hits.columns)
            places |= hits.places()
        for label in self.class_rankings.labels:
            hits = self.class_rankings.join(layer, label)
            self.writer.put_class_hits(layer.name, label, hits.scores, **hits.columns)
            places |= hits.places()
        if self.sample is not None:
            table = self.sample.layer_table(layer)
            places |= table.put_layer(self.writer, layer).places()
        self.hit_images.update(image for _, image, _, _ in places)
        for atlas, start in self._parts():
            for rows in read_projections(atlas, layer.name, places, start=start):
                self.writer.put_projection_rows(layer.name, rows)

    def _write_pixels(self) -> None:
        for atlas, start in self._parts():
            images = range(start, start + len(atlas.images))
            stored = sorted(self.hit_images.intersection(images))
            for rows in read_pixels(atlas, stored, start=start):
                self.writer.put_stored_images(rows)

    def _layer_id(self, atlas: Atlas, layer: Layer) -> int:
        return join_queries.layer_id(atlas, layer.name)

    def _class_profiles(self, atlas: Atlas, layer: Layer) -> ClassProfiles:
        rows = join_queries.layer_class_stats(atlas, self._layer_id(atlas, layer))
        numbers = self.images.class_numbers[self.atlases.index(atlas)]
        return ClassProfiles(rows, [label.images for label in atlas.labels], numbers)

    @property
    def with_classes(self) -> bool:
        """Whether every atlas with classes has statistics of them."""
        with_labels = [atlas for atlas in self.atlases if atlas.labels]
        return bool(with_labels) and all(
            atlas.meta.get("with_classes", True) for atlas in with_labels
        )

    @property
    def top(self) -> int:
        """The smallest number of hits that an atlas keeps of a channel."""
        return min(stored_count(atlas.meta, "top") for atlas in self.atlases)

    def _facts(self) -> dict[str, Json]:
        metas = [atlas.meta for atlas in self.atlases]
        fingerprint = ListFingerprint()
        images = self.images
        fingerprint.add(images.keys, images.labels, images.class_names)
        kept = ("model", *_SAME_FACTS, "layers", "rules", "rules_reason")
        illustrated = all(meta["state"] == ScanState.ILLUSTRATED for meta in metas)
        return {
            **{key: metas[0][key] for key in kept if key in metas[0]},
            "images": len(images.keys),
            "image_list": fingerprint.digest,
            "readable": len(images.keys) - len(images.errors),
            "top": self.top,
            "with_classes": self.with_classes,
            **self.class_rankings.request.facts,
            "version": version("retroscope"),
            "sources": [entry for atlas in self.atlases for entry in _source_facts(atlas)],
            "state": ScanState.ILLUSTRATED if illustrated else ScanState.SCANNED,
        }


def _source_facts(atlas: Atlas) -> list[Json]:
    """Where the images of an atlas are; those of a joined one are in several places."""
    meta = atlas.meta
    sources = meta.get("sources")
    if isinstance(sources, list):
        return sources
    source: dict[str, Json] = {
        "source": meta.get("source"),
        "glob": meta.get("glob"),
        "images": len(atlas.images),
        **({"input_sources": meta["input_sources"]} if "input_sources" in meta else {}),
    }
    return [source | LeftOutShards.from_facts(meta).facts]
