"""Dead, nearly dead, saturated and duplicate channels: raised if planted, and only then."""

from pathlib import Path

import numpy as np
import pytest

import retroscope as rs
from retroscope.auditing.channel_rules import images_to_tell
from retroscope.auditing.exact_tests import highest_rate
from retroscope.results.statistics import HISTOGRAM_EDGES
from tests.auditing.planted import (
    CHANNELS,
    HITS,
    IMAGES,
    PlantedLayer,
    findings,
    random_layer,
    write_atlas,
)


def units(finding: rs.AuditFinding) -> list[str]:
    return [str(unit) for unit in finding.units]


def omissions(path: Path, rule: str) -> tuple[str, ...]:
    (check,) = (check for check in rs.audit(path).checks if check.rule == rule)
    return check.omissions


# Dead


def test_a_channel_that_never_fires_is_dead(tmp_path: Path) -> None:
    layer = random_layer()
    layer.statistics["fired_images"][[3, 8]] = 0
    (finding,) = findings(write_atlas(tmp_path / "a.atlas", [layer]), "dead")
    assert units(finding) == ["conv1:3", "conv1:8"]
    assert str(finding) == f"2 of {CHANNELS} channels of conv1 never fire in {IMAGES} images"
    assert finding.numbers == {
        "channels": 2,
        "layers": 1,
        "images": IMAGES,
        "highest_rate": highest_rate(0, IMAGES),
    }


def test_where_values_may_be_negative_only_a_constant_channel_is_dead(tmp_path: Path) -> None:
    layer = random_layer()
    layer.statistics["minimum"][:] = -1.0
    layer.statistics["fired_images"][[3, 8]] = 0
    layer.statistics["maximum"][3] = -0.5
    layer.statistics["maximum"][8] = -1.0
    path = write_atlas(tmp_path / "a.atlas", [layer])
    (finding,) = findings(path, "dead")
    assert units(finding) == ["conv1:8"]
    assert "never change in" in str(finding)
    assert omissions(path, "dead") == (
        "1 channel of layers with negative values without a value above zero: dead if a rectifier "
        "follows",
    )


def test_dead_channels_of_several_layers_are_one_finding(tmp_path: Path) -> None:
    layers = [random_layer("conv1"), random_layer("conv2", index=1), random_layer("conv3", index=2)]
    layers[0].statistics["fired_images"][3] = 0
    layers[2].statistics["fired_images"][[1, 2]] = 0
    (finding,) = findings(write_atlas(tmp_path / "a.atlas", layers), "dead")
    assert units(finding) == ["conv1:3", "conv3:1", "conv3:2"]
    assert str(finding) == (
        f"3 of {3 * CHANNELS} channels in 2 of 3 layers (2 of {CHANNELS} in conv3) never fire in "
        f"{IMAGES} images"
    )


# Nearly dead


@pytest.mark.parametrize(("fired", "is_raised"), [(1, True), (2, True), (20, False)])
def test_a_channel_is_nearly_dead_if_its_rate_is_surely_below_one_percent(
    tmp_path: Path, fired: int, *, is_raised: bool
) -> None:
    images = 1000
    layer = random_layer()
    for name in ("images", "fired_images"):
        layer.statistics[name][:] = images
    layer.statistics["fired_images"][4] = fired
    path = write_atlas(tmp_path / "a.atlas", [layer], images=images)
    raised = findings(path, "nearly-dead")
    assert [units(finding) for finding in raised] == ([["conv1:4"]] if is_raised else [])
    assert is_raised == (highest_rate(fired, images) < 0.01)


def test_few_images_cannot_tell(tmp_path: Path) -> None:
    layer = random_layer()
    layer.statistics["fired_images"][4] = 1
    path = write_atlas(tmp_path / "a.atlas", [layer])
    assert not findings(path, "nearly-dead")
    assert omissions(path, "nearly-dead") == (
        f"too few images ({IMAGES}); it takes 473 to tell that a channel fires in less than 1 % of "
        "them",
    )
    assert highest_rate(1, images_to_tell(0.01)) < 0.01 <= highest_rate(1, images_to_tell(0.01) - 1)


def test_a_detector_of_one_class_of_a_thousand_is_not_nearly_dead(tmp_path: Path) -> None:
    """It may fire in a thousandth of the images."""
    layer = random_layer()
    layer.statistics["images"][:] = layer.statistics["fired_images"][:] = 10_000
    layer.statistics["fired_images"][4] = 10
    path = write_atlas(tmp_path / "a.atlas", [layer], images=10_000, classes=1000)
    assert not findings(path, "nearly-dead")
    layer.statistics["fired_images"][5] = 1
    (finding,) = findings(
        write_atlas(tmp_path / "b.atlas", [layer], images=10_000, classes=1000), "nearly-dead"
    )
    assert units(finding) == ["conv1:5"]


# Saturated


def saturate(layer: PlantedLayer, *channels: int, limit: float = 6.0, share: float = 0.5) -> None:
    """Channels that reach the limit in this share of the images, and nobody goes beyond."""
    layer.scores[:] = np.minimum(layer.scores, limit - 1)
    layer.statistics["maximum"] = layer.scores[:, 0].copy()
    layer.scores[channels, :] = layer.statistics["maximum"][list(channels)] = limit
    bin_number = np.searchsorted(HISTOGRAM_EDGES, limit)
    layer.statistics["histogram"][channels, :] = 0
    layer.statistics["histogram"][channels, bin_number] = int(share * IMAGES)
    layer.statistics["histogram"][channels, 20] = IMAGES - int(share * IMAGES)


def test_channels_whose_hits_tie_at_a_limit_are_saturated(tmp_path: Path) -> None:
    layer = random_layer()
    saturate(layer, 2, 5)
    (finding,) = findings(write_atlas(tmp_path / "a.atlas", [layer]), "saturated")
    assert units(finding) == ["conv1:2", "conv1:5"]
    assert finding.numbers == {
        "channels": 2,
        "layers": 1,
        "images": IMAGES,
        "ties_at_least": HITS,
        "share_at_most": 0.5,
    }


def test_a_maximum_that_only_one_channel_has_is_no_limit(tmp_path: Path) -> None:
    layer = random_layer()
    saturate(layer, 2)
    assert not findings(write_atlas(tmp_path / "a.atlas", [layer]), "saturated")


def test_a_channel_with_one_hit_below_its_limit_is_not_saturated(tmp_path: Path) -> None:
    layer = random_layer()
    saturate(layer, 2, 5)
    layer.scores[5, -1] = 5.9
    (finding,) = findings(write_atlas(tmp_path / "a.atlas", [layer]), "saturated")
    assert units(finding) == ["conv1:2"]


def test_few_images_at_the_limit_are_not_many(tmp_path: Path) -> None:
    layer = random_layer()
    saturate(layer, 2, 5, share=0.04)
    assert not findings(write_atlas(tmp_path / "a.atlas", [layer]), "saturated")


# Duplicates


def copy_channel(layer: PlantedLayer, source: int, target: int, *, scale: float = 1) -> None:
    for array in (layer.images, layer.ys, layer.xs):
        array[target] = array[source]
    layer.scores[target] = layer.scores[source] * scale
    for name, column in layer.statistics.items():
        is_scaled = name in ("mean", "std", "maximum", "minimum")
        column[target] = column[source] * (scale if is_scaled else 1)


def test_copies_up_to_a_scale_are_duplicates(tmp_path: Path) -> None:
    layer = random_layer()
    copy_channel(layer, 3, 9)
    copy_channel(layer, 3, 20, scale=2.5)
    copy_channel(layer, 1, 30, scale=0.1)
    (finding,) = findings(write_atlas(tmp_path / "a.atlas", [layer]), "duplicates")
    groups = [[str(unit) for unit in group] for group in finding.groups]
    assert groups == [["conv1:1", "conv1:30"], ["conv1:3", "conv1:9", "conv1:20"]]
    assert finding.numbers == {"channels": 5, "layers": 1, "groups": 2, "spare": 3}
    assert units(finding) == [unit for group in groups for unit in group]


@pytest.mark.parametrize("difference", ["score", "mean", "count", "place", "image"])
def test_one_difference_is_enough_to_be_no_duplicate(tmp_path: Path, difference: str) -> None:
    layer = random_layer()
    copy_channel(layer, 3, 9, scale=2)
    match difference:
        case "score":
            layer.scores[9, 4] *= 1.05
        case "mean":
            layer.statistics["mean"][9] *= 1.05
        case "count":
            layer.statistics["fired_images"][9] += 1
        case "place":
            layer.xs[9, 4] += 1
        case "image":
            layer.images[9, 4] = min(set(range(IMAGES)) - set(layer.images[9].tolist()))
    assert not findings(write_atlas(tmp_path / "a.atlas", [layer]), "duplicates")


def test_channels_that_never_change_are_no_duplicates(tmp_path: Path) -> None:
    layer = random_layer()
    copy_channel(layer, 3, 9)
    layer.statistics["minimum"][[3, 9]] = layer.statistics["maximum"][[3, 9]]
    assert not findings(write_atlas(tmp_path / "a.atlas", [layer]), "duplicates")


def test_channels_whose_maxima_are_zero_have_no_ratio(tmp_path: Path) -> None:
    layer = random_layer()
    copy_channel(layer, 3, 9)
    layer.statistics["maximum"][[3, 9]], layer.statistics["minimum"][[3, 9]] = 0, -1
    layer.scores[[3, 9]] = 0
    assert not findings(write_atlas(tmp_path / "a.atlas", [layer]), "duplicates")


def test_channels_that_never_fire_are_no_duplicates(tmp_path: Path) -> None:
    layer = random_layer()
    for channel in (3, 9):
        layer.images[channel] = -1
        for name in ("maximum", "mean", "std", "fired_images", "fired_positions"):
            layer.statistics[name][channel] = 0
    assert not findings(write_atlas(tmp_path / "a.atlas", [layer]), "duplicates")


# Values that are not finite


def test_channels_with_values_that_are_not_finite_are_named(tmp_path: Path) -> None:
    layer = random_layer()
    layer.statistics["non_finite"][[2, 30]] = 5
    (finding,) = findings(write_atlas(tmp_path / "a.atlas", [layer]), "non-finite")
    assert units(finding) == ["conv1:2", "conv1:30"]
    assert finding.numbers == {"channels": 2, "layers": 1, "positions": 10}
