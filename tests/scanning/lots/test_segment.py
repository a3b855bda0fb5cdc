"""A segment is read back as it was written, and a damaged one is always found out."""

import json
from pathlib import Path

import numpy as np
import pytest

from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.scanning.lots.plan_folder import LotTask
from retroscope.scanning.lots.segment import (
    LotImages,
    LotStage,
    Segment,
    SegmentError,
    SegmentFacts,
    SegmentFile,
    write_segment,
)
from retroscope.scanning.lots.sweep_part import sweep
from retroscope.scanning.statistics import image_sample
from retroscope.scanning.statistics.sweep import Sweep
from retroscope.scanning.winners import ranked_images
from tests.scanning.lots.planning import plan


@pytest.fixture
def path(photos: Path, tmp_path: Path) -> Path:
    folder = plan(photos, tmp_path / "p.plan")
    sweep(folder.path, part=(1, 3))
    return folder.segment(LotTask(0))


def read_all(path: Path) -> tuple[object, ...]:
    """All that a segment holds."""
    with SegmentFile(path) as segment:
        images = segment.read_images()
        arrays = {name: array.tobytes() for name, array in segment.read_sweep().to_arrays().items()}
        pixels = list(segment.read_pixels(set(images.numbers)))
        return segment.facts, vars(images), arrays, pixels


def test_what_is_written_is_read(tmp_path: Path) -> None:
    images = LotImages(
        [1 << 32, (1 << 32) + 1],
        ["a/\udcff.png", "b\n'\0\".png"],
        [1, -1],
        ["ant", "b\udcffe"],
        {(1 << 32) + 1: "cannot be decoded: \udc80"},
        [ImageFileRow(1 << 32, 2**40, -5, b"\0" * 8)],
    )
    sweep = Sweep.empty(3, top=2)
    segment = Segment(SegmentFacts("p", 7, LotStage.SCAN, "m"), sweep, images, {1 << 32: b"webp\0"})
    write_segment(tmp_path / "a.seg", segment)
    facts, read_images, arrays, pixels = read_all(tmp_path / "a.seg")
    assert facts == segment.facts
    assert read_images == vars(images)
    assert arrays == {name: array.tobytes() for name, array in sweep.to_arrays().items()}
    assert pixels == [(1 << 32, b"webp\0")]


def test_numpy_alone_reads_a_segment_without_pickle(path: Path) -> None:
    with np.load(path, allow_pickle=False) as arrays:
        assert json.loads(arrays["header"].tobytes())["lot"] == 0
        assert arrays["sweep.by_max.image"].shape[1] == 9
        assert arrays["images.numbers"].tolist() == [*range(5), *range(1 << 32, (1 << 32) + 5)]


def test_only_winners_keep_their_pixels(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_sample, "SAMPLE_IMAGES", 1)
    folder = plan(photos, tmp_path / "p.plan", top=1, layers="head")
    sweep(folder.path)
    with SegmentFile(folder.segment(LotTask(0))) as segment:
        winners = ranked_images(segment.read_sweep())
        stored = {row.image for row in segment.read_pixels(winners)}
    assert stored == winners
    assert len(stored) < 9


def test_pixels_are_those_of_the_wanted_images(path: Path) -> None:
    with SegmentFile(path) as segment:
        everything = {row.image: row.blob for row in segment.read_pixels(range(2**40))}
        some = {row.image: row.blob for row in segment.read_pixels({1, 3})}
    assert some == {number: everything[number] for number in (1, 3)}
    assert all(blob[8:12] == b"WEBP" for blob in everything.values())


def test_a_segment_cut_anywhere_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for length in {0, 1, len(content) // 3, len(content) // 2, len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(SegmentError, match="delete it and sweep the plan again"):
            read_all(path)


def test_a_changed_byte_is_never_read_as_something_else(path: Path) -> None:
    content, expected = path.read_bytes(), read_all(path)
    for place in np.random.default_rng(0).integers(0, len(content), 400).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 0x40
        path.write_bytes(damaged)
        try:
            assert read_all(path) == expected, f"byte {place}"
        except SegmentError:
            continue


def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("retroscope.scanning.lots.segment._image_arrays", stop)
    segment = Segment(
        SegmentFacts("p", 7, LotStage.SCAN, "m"), Sweep.empty(3, top=2), LotImages(), {}
    )
    with pytest.raises(KeyboardInterrupt):
        write_segment(tmp_path / "a.seg", segment)
    assert not list(tmp_path.iterdir())
