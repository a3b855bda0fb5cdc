"""Network dissection against a slow definition: sorted lists, loops over pixels, sets."""

from math import floor, isnan, nan
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch

from retroscope.errors import RetroscopeError
from retroscope.geometry import Field, ReceptiveField
from retroscope.imaging.image import Fit
from retroscope.scanning.scoring.concept_masks import open_masks
from retroscope.scanning.scoring.dissection import (
    BestConcept,
    ConceptCounts,
    LargestValues,
    best_concepts,
    concept_planes,
    partners,
    upsample,
)
from retroscope.world import write_world
from retroscope.world.part_map import PART_NUMBERS

Maps = npt.NDArray[np.float64]


def random_maps(seed: int = 0, *, images: int = 6, channels: int = 4, side: int = 9) -> Maps:
    """Rounded, so that there are ties; the third channel is constant, the last dead but once."""
    maps = np.random.default_rng(seed).normal(size=(images, channels, side, side)).round(1)
    maps[:, 2] = 1.5
    maps[:, 3] = 0
    maps[1, 3, 4, 4] = 2
    return maps


def threshold(values: Maps, share: float) -> float:
    """The value that at most this share of the values exceeds."""
    finite = sorted(value for value in values.ravel() if np.isfinite(value))
    return finite[len(finite) - 1 - floor(share * len(finite))]


@pytest.mark.parametrize("share", [0.005, 0.02, 0.2])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4]])
def test_thresholds_are_those_of_sorted_values(share: float, order: list[int]) -> None:
    maps = random_maps()
    maps[2, 0, 1] = nan
    maps[3, 1, 0, 0] = np.inf
    largest = LargestValues(4, maps[:, 0].size, share)
    for image in order:
        largest.add(torch.from_numpy(maps[[image]]).float())
    expected = [threshold(maps[:, channel], share) for channel in range(4)]
    np.testing.assert_allclose(largest.thresholds(), expected, rtol=1e-6)
    for channel, value in enumerate(expected):
        finite = maps[:, channel][np.isfinite(maps[:, channel])]
        assert (finite > value).mean() <= share


def test_a_channel_without_finite_values_is_nowhere_strong() -> None:
    largest = LargestValues(1, 9)
    largest.add(torch.full((1, 1, 3, 3), nan))
    assert largest.thresholds().tolist() == [np.inf]


def test_upsampling_interpolates_between_the_centres_of_fields() -> None:
    field = ReceptiveField(Field(3, 4, -1), Field(2, 3, 0))
    maps = np.random.default_rng(0).normal(size=(3, 4))
    found = upsample(torch.from_numpy(maps), field, (14, 11)).numpy()
    for y in range(14):
        for x in range(11):
            rows = np.arange(3) * 4 + 0.0  # a field of 3 from -1: its centre is pixel 0
            columns = np.arange(4) * 3 + 0.5
            along_x = [np.interp(x, columns, row) for row in maps]
            assert found[y, x] == pytest.approx(np.interp(y, rows, along_x))


def test_a_map_of_one_unit_is_the_same_everywhere() -> None:
    whole = ReceptiveField(Field.whole(8), Field.whole(8), whole=True)
    assert (upsample(torch.full((2, 1, 1), 3.0), whole, (8, 8)) == 3).all()


def overlap(strong: npt.NDArray[np.bool_], concept: npt.NDArray[np.bool_]) -> float:
    """Intersection over union of sets of pixels of all images."""
    first, second = set(np.flatnonzero(strong)), set(np.flatnonzero(concept))
    return len(first & second) / len(first | second) if first | second else 0.0


def random_pixels(seed: int, *shape: int) -> npt.NDArray[np.bool_]:
    return np.random.default_rng(seed).random(shape) > 0.7


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]])
def test_overlaps_are_those_of_sets_of_pixels(order: list[int]) -> None:
    strong, labels = random_pixels(1, 5, 3, 30), np.random.default_rng(2).integers(0, 4, (5, 5, 6))
    strong[:, 2] = False
    counts = ConceptCounts.empty(5, 3, 2)
    for image in order:
        planes = concept_planes(labels[image], [3, 1])
        counts.add(image, torch.from_numpy(strong[image]), planes)
    for channel in range(3):
        for concept, number in enumerate([3, 1]):
            expected = overlap(strong[:, channel], labels.reshape(5, 30) == number)
            assert counts.overlaps()[0, channel, concept] == pytest.approx(expected)
    best = best_concepts(counts, None)
    assert best[2].overlap == 0
    assert not best[2].is_name


def test_the_order_of_images_does_not_change_the_interval() -> None:
    strong, labels = random_pixels(1, 6, 2, 30), np.random.default_rng(2).integers(0, 3, (6, 5, 6))
    results = []
    for order in (range(6), reversed(range(6))):
        counts = ConceptCounts.empty(6, 2, 2)
        for image in order:
            planes = concept_planes(labels[image], [1, 2])
            counts.add(image, torch.from_numpy(strong[image]), planes)
        results.append(best_concepts(counts, counts))
    assert results[0] == results[1]
    best = results[0][0]
    assert best.low < best.overlap < best.high
    assert best.chance == best.overlap
    assert not best.is_name


def test_one_image_has_neither_interval_nor_chance_and_so_no_name() -> None:
    counts = ConceptCounts.empty(1, 1, 1)
    counts.add(0, torch.ones(1, 4, dtype=torch.bool), torch.ones(4, 1, dtype=torch.bool))
    (best,) = best_concepts(counts, None)
    assert best.overlap == 1
    assert isnan(best.low)
    assert isnan(best.chance)
    assert not best.is_name


def test_a_name_needs_overlap_and_more_than_chance() -> None:
    assert BestConcept(0, 0.05, 0.03, 0.07, 0.02).is_name
    assert not BestConcept(0, 0.05, 0.01, 0.07, 0.02).is_name
    assert not BestConcept(0, 0.03, 0.025, 0.04, 0.02).is_name


@pytest.mark.parametrize("images", [2, 3, 10])
def test_partners_are_one_cycle_without_fixed_points(images: int) -> None:
    other = partners(images)
    visited, image = set[int](), 0
    while image not in visited:
        visited.add(image)
        image = other[image]
    assert visited == set(range(images))


def test_the_masks_of_a_world_are_its_parts(tmp_path: Path) -> None:
    write_world(tmp_path / "w", count=3, masks=True)
    keys = sorted(str(path.relative_to(tmp_path / "w")) for path in tmp_path.glob("w/*/*.png"))
    masks = open_masks(tmp_path / "w-parts", keys)
    assert masks.names == {number: part for part, number in PART_NUMBERS.items() if number}
    with PIL.Image.open(tmp_path / "w-parts" / keys[0]) as image:
        expected = np.asarray(image)
    assert (masks.read(keys[0], Fit((96, 96))) == expected).all()


def write_masks(folder: Path, table: str = "number,name\n1,sky\n300,sea\n") -> Path:
    folder.mkdir()
    labels = np.zeros((4, 8), np.uint16)
    labels[:, 4:] = 300
    PIL.Image.fromarray(labels).save(folder / "a.png")
    (folder / "names.csv").write_text(table)
    return folder


def test_masks_are_fitted_as_the_image_is_without_mixing_numbers(tmp_path: Path) -> None:
    masks = open_masks(write_masks(tmp_path / "m"), ["a.jpg"])
    assert masks.names == {1: "sky", 300: "sea"}
    cropped = masks.read("a.jpg", Fit((8, 8)))  # the shorter side becomes 8, then the centre
    assert np.unique(cropped[:, :4]).tolist() == [0]
    assert np.unique(cropped[:, 4:]).tolist() == [300]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("number,name\n1,sky\n", "has the number 300"),
        ("1,sky\n1,sea\n", "two names"),
        ("1\n", "has a row '1'"),
        ("0,none\n", "names no concept"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, table: str, reason: str) -> None:
    with pytest.raises(RetroscopeError, match=reason):
        open_masks(write_masks(tmp_path / "m", table), ["a.jpg"]).read("a.jpg", Fit((8, 8)))


def test_masks_of_other_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match=r"no mask of any image; the mask of 'b\.jpg'"):
        open_masks(write_masks(tmp_path / "m"), ["b.jpg"])


def test_a_colour_image_is_no_mask(tmp_path: Path) -> None:
    masks = open_masks(write_masks(tmp_path / "m"), ["a.jpg"])
    PIL.Image.new("RGB", (8, 4)).save(tmp_path / "m/a.png")
    with pytest.raises(RetroscopeError, match="mode RGB"):
        masks.read("a.jpg", Fit((8, 8)))
