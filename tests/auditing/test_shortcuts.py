"""Units that answer to one class through one place: raised if planted, and only then."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import retroscope as rs
from retroscope.auditing.map_places import BorderPlaces, MapPlace
from retroscope.auditing.pixel_likeness import pixel_likeness
from retroscope.imaging.decoding import RGB
from tests.auditing.planted import (
    CLASSES,
    HITS,
    PIXELS,
    SIDE,
    PlantedLayer,
    findings,
    images_of,
    random_layer,
    write_atlas,
)

CHEAT, OTHER = 3, 5
"""Two classes with marks in their images."""
RULE, BOUND_RULE, CLASS_RULE = "shortcut-units", "place-bound-units", "shortcut-classes"


def noise(seed: int) -> RGB:
    return np.random.default_rng(seed).integers(0, 256, (PIXELS, PIXELS, 3), np.uint8)


def paint(image: int) -> RGB:
    """Noise, with a mark in the bottom right corner of the images of two classes."""
    pixels, label = noise(image), image % CLASSES
    if label in (CHEAT, OTHER):
        pixels[-8:, -8:] = noise(1000 + label)[-8:, -8:]
    return pixels


def marked_atlas(path: Path, layers: Sequence[PlantedLayer]) -> Path:
    """An atlas of these layers whose images have the marks."""
    return write_atlas(path, layers, paint=paint)


def raised(path: Path) -> list[rs.AuditFinding]:
    """The findings about units that answer to one class at one place, of either rule."""
    return [*findings(path, RULE), *findings(path, BOUND_RULE)]


def corner(count: int = HITS) -> np.ndarray:
    """Rows, or columns, of the last two positions in turn."""
    return SIDE - 1 - np.arange(count) % 2


def plant(planted: PlantedLayer, *channels: int, label: int = CHEAT) -> PlantedLayer:
    """Channels that answer to a class in the bottom right corner of its images."""
    for channel in channels:
        planted.put_hits(channel, images_of(label), corner(), corner()[::-1])
        planted.class_means[label, channel] = 50
    return planted


def test_a_class_and_a_place_together_are_the_first_finding(tmp_path: Path) -> None:
    layer = plant(random_layer(), 7)
    layer.statistics["fired_images"][0] = 0  # something else to find
    audit = rs.audit(marked_atlas(tmp_path / "a.atlas", [layer]))
    first = audit.findings[0]
    assert (first.rule, first.severity, first.label) == (RULE, "high", f"class {CHEAT}")
    assert first.units == (rs.Unit("conv1", 7),)
    assert str(first) == (
        f"1 unit responds to class 'class {CHEAT}' only at the bottom right corner of its images"
    )
    assert first.numbers["hits_in_place"] == first.numbers["hits"] == HITS
    assert [finding.rule for finding in audit.findings] == [RULE, "dead"]


def test_the_place_is_a_box_of_the_image_that_holds_the_hits(tmp_path: Path) -> None:
    (finding,) = findings(marked_atlas(tmp_path / "a.atlas", [plant(random_layer(), 7)]), RULE)
    assert finding.place is not None
    stride = PIXELS // SIDE
    assert finding.place == rs.Box(9 * stride, 9 * stride, PIXELS, PIXELS)


def test_the_evidence_are_the_hits_of_the_plate(tmp_path: Path) -> None:
    path = marked_atlas(tmp_path / "a.atlas", [plant(random_layer(), 7)])
    (finding,) = findings(path, RULE)
    with rs.open_atlas(path) as atlas:
        plate = atlas["conv1:7"]
    assert [(hit.source, hit.score, hit.box) for hit in finding.evidence] == [
        (patch.source, patch.score, patch.box) for patch in plate.patches
    ]
    assert [hit.unit.position for hit in finding.evidence] == [
        patch.position for patch in plate.patches
    ]
    assert {hit.label for hit in finding.evidence} == {f"class {CHEAT}"}


def test_units_of_several_layers_make_one_finding_for_each_class(tmp_path: Path) -> None:
    layers = [random_layer("conv1"), random_layer("conv2", index=1)]
    plant(layers[0], 4)
    plant(layers[1], 2, 9)
    plant(layers[1], 5, label=OTHER)
    first, second = findings(marked_atlas(tmp_path / "a.atlas", layers), RULE)
    assert (first.label, second.label) == (f"class {CHEAT}", f"class {OTHER}")
    assert {str(unit) for unit in first.units} == {"conv2:2", "conv2:9", "conv1:4"}
    assert first.units[-1] == rs.Unit("conv1", 4)  # deep layers first


def test_a_frame_is_a_place(tmp_path: Path) -> None:
    layer = random_layer(side=36)
    around = np.array([0, 4, 12, 20, 28, 35, 35, 35, 0]), np.array([3, 35, 0, 35, 0, 9, 20, 33, 25])
    layer.put_hits(7, images_of(CHEAT), *around)

    def paint_frame(image: int) -> RGB:
        pixels = noise(image)
        if image % CLASSES == CHEAT:
            pixels[[0, -1]] = pixels[:, [0, -1]] = 255 * np.eye(3, dtype=np.uint8)[0]
            pixels[0] = 0
        return pixels

    (finding,) = findings(write_atlas(tmp_path / "a.atlas", [layer], paint=paint_frame), RULE)
    assert "at the frame of its images" in finding.sentence
    assert finding.place is None


# What is ordinary


def test_units_of_one_class_are_no_shortcut_if_they_fire_anywhere(tmp_path: Path) -> None:
    layer = random_layer()
    for channel in range(20):
        layer.put_hits(
            channel, images_of(CHEAT), layer.ys[channel].copy(), layer.xs[channel].copy()
        )
    assert not raised(write_atlas(tmp_path / "a.atlas", [layer]))


def test_units_of_one_place_are_no_shortcut_if_they_fire_for_any_class(tmp_path: Path) -> None:
    layer = random_layer()
    for channel in range(20):
        layer.put_hits(channel, layer.images[channel].copy(), corner(), corner())
    assert not raised(write_atlas(tmp_path / "a.atlas", [layer]))


def test_a_class_whose_object_is_in_the_middle_is_no_shortcut(tmp_path: Path) -> None:
    layer = random_layer()
    layer.put_hits(7, images_of(CHEAT), SIDE // 2, SIDE // 2)
    assert not raised(write_atlas(tmp_path / "a.atlas", [layer]))


def test_two_images_elsewhere_are_enough_to_say_no(tmp_path: Path) -> None:
    layer = plant(random_layer(), 7, 8)
    layer.ys[7, :2] = 2  # the class, elsewhere
    layer.images[8, :2] = images_of(OTHER, 2)  # the place, in another class
    assert not raised(marked_atlas(tmp_path / "a.atlas", [layer]))
    layer.ys[7, 1] = SIDE - 1
    (finding,) = findings(marked_atlas(tmp_path / "b.atlas", [layer]), RULE)
    assert finding.units == (rs.Unit("conv1", 7),)


def test_where_units_of_mixed_classes_keep_to_the_border_one_of_one_class_says_nothing(
    tmp_path: Path,
) -> None:
    """That is what padding does, and a unit for a class may be among them."""
    layer = plant(random_layer(), 7)
    for channel in (20, 21):
        layer.put_hits(channel, layer.images[channel].copy(), 0, 5)
    assert not raised(write_atlas(tmp_path / "a.atlas", [layer]))


def test_half_of_all_units_do_not_hide_each_other(tmp_path: Path) -> None:
    """A place is compared with images of other classes: cheats do not make it look ordinary."""
    layer = plant(random_layer(channels=60), *range(30))
    (finding,) = findings(marked_atlas(tmp_path / "a.atlas", [layer]), RULE)
    assert len(finding.units) == 30


def test_without_two_classes_it_says_what_it_did_not_look_at(tmp_path: Path) -> None:
    for classes in (0, 1):
        path = write_atlas(
            tmp_path / f"{classes}.atlas", [plant(random_layer(), 7)], classes=classes
        )
        audit = rs.audit(path)
        (check,) = (check for check in audit.checks if check.rule == RULE)
        assert check.findings == 0
        assert check.omissions == ("all units: the images have no classes, or one",)


def test_maps_without_a_border_are_not_looked_at(tmp_path: Path) -> None:
    layers = [random_layer("conv1"), random_layer("head", index=1, side=1)]
    audit = rs.audit(write_atlas(tmp_path / "a.atlas", layers))
    (check,) = (check for check in audit.checks if check.rule == RULE)
    assert check.channels == layers[0].layer.channels
    assert check.omissions == ("1 layer (head): maps below 4x4 have no border",)


def test_chance_raises_nothing_in_many_random_atlases(tmp_path: Path) -> None:
    layers = [random_layer(f"conv{index}", index=index) for index in range(20)]
    audit = rs.audit(write_atlas(tmp_path / "a.atlas", layers))
    assert not audit.findings


# Classes


def test_a_class_rests_on_a_place_if_half_of_its_best_units_do(tmp_path: Path) -> None:
    layer = plant(random_layer(), *range(5))
    (finding,) = findings(marked_atlas(tmp_path / "a.atlas", [layer]), CLASS_RULE)
    assert finding.label == f"class {CHEAT}"
    assert sorted(finding.units) == [rs.Unit("conv1", channel) for channel in range(5)]
    assert finding.numbers == {"shortcut_units": 5, "strongest_units": 10}


def test_a_class_with_better_units_does_not(tmp_path: Path) -> None:
    layer = plant(random_layer(), *range(5))
    layer.class_means[CHEAT, 10:20] = 900
    assert not findings(marked_atlas(tmp_path / "a.atlas", [layer]), CLASS_RULE)


def test_units_that_rarely_fire_do_not_stand_for_a_class(tmp_path: Path) -> None:
    layer = plant(random_layer(), *range(5))
    layer.class_fired_shares[CHEAT, :5] = 0.4
    assert not findings(marked_atlas(tmp_path / "a.atlas", [layer]), CLASS_RULE)


def test_damaged_class_statistics_are_refused(tmp_path: Path) -> None:
    path = marked_atlas(tmp_path / "a.atlas", [plant(random_layer(), 7)])
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE class_stats SET mean_maximum = x'00' WHERE channel = 3")
    with pytest.raises(rs.RetroscopeError, match="has 1 bytes instead of"):
        rs.audit(path)


# Pixels and places


def test_a_mark_of_the_class_is_told_from_what_only_the_hits_share(tmp_path: Path) -> None:
    """An object's end that happens to lie there, or a mark that few images of the class have."""
    layer = plant(random_layer(), 7)
    (finding,) = findings(marked_atlas(tmp_path / "a.atlas", [layer]), RULE)
    assert finding.numbers["pixel_likeness"] > 0.8
    plain = write_atlas(tmp_path / "b.atlas", [layer], paint=noise)
    (bound,) = raised(plain)
    assert (bound.rule, bound.severity, bound.units) == (BOUND_RULE, "low", finding.units)
    assert not findings(plain, CLASS_RULE)


def test_without_stored_images_nobody_can_tell(tmp_path: Path) -> None:
    (bound,) = raised(write_atlas(tmp_path / "a.atlas", [plant(random_layer(), 7)]))
    assert bound.rule == BOUND_RULE
    assert "pixel_likeness" not in bound.numbers


def test_pixel_likeness_is_the_mean_correlation_of_pairs() -> None:
    images = [noise(seed) for seed in range(3)]
    box = rs.Box(0, 0, 8, 8)  # a cell for each pixel
    flat = [image[:8, :8].reshape(-1, 3) - image[:8, :8].reshape(-1, 3).mean(0) for image in images]
    pairs = [
        (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
        for n, a in enumerate(flat)
        for b in flat[:n]
    ]
    assert pixel_likeness(images, box) == pytest.approx(np.mean(pairs))
    assert pixel_likeness([images[0]] * 4, box) == pytest.approx(1)
    assert np.isnan(pixel_likeness(images[:1], box))


@pytest.mark.parametrize(("height", "width"), [(4, 4), (7, 12), (30, 6)])
def test_places_are_at_the_border_and_their_shares_those_of_their_positions(
    height: int, width: int
) -> None:
    places = BorderPlaces(height, width)
    ys, xs = np.indices((height, width)).reshape(2, -1)
    insides = places.contain(ys, xs)
    for place, share, inside in zip(places.places, places.shares, insides, strict=True):
        assert share == pytest.approx(inside.mean())
        if place.is_frame:
            is_border = (ys == 0) | (xs == 0) | (ys == height - 1) | (xs == width - 1)
            np.testing.assert_array_equal(inside, is_border)
        else:
            box = place.box
            assert inside.sum() == box.height * box.width
            assert min(box.top, box.left, height - box.bottom, width - box.right) <= height // 12
    assert sum(place.is_frame for place in places.places) == 1


def test_places_have_names() -> None:
    names = {place.name(12, 12) for place in BorderPlaces(12, 12).places}
    corners = {f"{side} {edge} corner" for side in ("top", "bottom") for edge in ("left", "right")}
    assert names == {*corners, "top edge", "bottom edge", "left edge", "right edge", "frame"}
    assert MapPlace(rs.Box(1, 1, 11, 11), is_frame=True).name(12, 12) == "frame"
