"""Scenes: reproducible pixels, classes, parts, the watermark, sizes and errors."""

import subprocess
import sys
from hashlib import blake2b

import numpy as np
import pytest

from retroscope.errors import RetroscopeError
from retroscope.world import (
    CLASSES,
    LABELS,
    PARTS,
    WATERMARKED,
    Scene,
    backgrounds,
    scene,
    world_scene,
)

EXPECTED_PARTS = {
    "bicycle": {"wheel", "frame", "seat", "handle"},
    "bird": {"eye", "beak", "wing", "tail", "leg"},
    "boat": {"hull", "sail", "window"},
    "butterfly": {"wing", "body"},
    "car": {"wheel", "window", "lamp", "body"},
    "cat": {"head", "eye", "ear", "nose", "mouth"},
    "church": {"roof", "window", "door", "wall"},
    "clock": {"dial", "hand"},
    "cup": {"cup", "handle"},
    "fish": {"eye", "fin", "tail", "mouth"},
    "flower": {"petal", "heart", "stem", "leaf"},
    "house": {"roof", "window", "door", "wall", "chimney"},
    "ladder": {"rail", "rung"},
    "lighthouse": {"wall", "window", "door", "lamp", "roof"},
    "owl": {"head", "eye", "ear", "beak", "wing"},
    "person": {"head", "eye", "ear", "nose", "mouth", "hair"},
    "rabbit": {"head", "eye", "ear", "nose", "mouth"},
    "train": {"wheel", "window", "lamp", "chimney", "body"},
    "tree": {"trunk", "crown"},
    "umbrella": {"canopy", "handle"},
}
"""Parts that an object of the class must show in most scenes."""


def digest(scenes: list[Scene]) -> str:
    hasher = blake2b(digest_size=16)
    for painted in scenes:
        hasher.update(painted.pixels.tobytes() + painted.parts.tobytes() + painted.label.encode())
    return hasher.hexdigest()


# Reproducibility


def test_scenes_have_the_recorded_digests() -> None:
    assert digest([scene(seed) for seed in range(60)]) == "3274c0afa5b4afdd238b460350665f4c"
    larger = [scene(2**64 - 1, size=128, shortcut=True), scene(28, size=33, shortcut=True)]
    assert digest(larger) == "5cbb2e820323b89104f54dd3cc4974b5"


def test_a_scene_does_not_depend_on_earlier_ones() -> None:
    scenes = [scene(seed) for seed in (7, 3, 11, 7)]
    assert digest([scenes[0]]) == digest([scenes[3]]) == digest([scene(7)])


def test_seeds_give_different_images_of_a_class() -> None:
    images = {scene(seed, label="cat").pixels.tobytes() for seed in range(12)}
    assert len(images) == 12


def test_worlds_share_no_scene() -> None:
    images = [
        world_scene(world, number).pixels.tobytes() for world in range(3) for number in range(20)
    ]
    assert len(set(images)) == 60


def test_the_world_needs_no_torch() -> None:
    code = "import sys, retroscope.world; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Classes and parts


def test_consecutive_seeds_cycle_through_the_classes() -> None:
    assert [scene(seed).label for seed in range(2 * len(LABELS))] == [*LABELS, *LABELS]


def test_a_label_selects_the_class() -> None:
    assert [scene(3, label=name).label for name in LABELS] == list(LABELS)


def test_there_are_many_classes_and_most_parts_are_shared() -> None:
    assert set(EXPECTED_PARTS) == set(CLASSES)
    assert len(CLASSES) >= 16
    for part in ("eye", "wheel", "window", "ear", "mouth", "beak", "wing", "door", "roof", "lamp"):
        assert sum(part in parts for parts in EXPECTED_PARTS.values()) >= 2, part


@pytest.mark.parametrize("name", LABELS)
def test_each_class_shows_its_parts(name: str) -> None:
    scenes = [scene(seed, label=name).masks for seed in range(30)]
    for part in EXPECTED_PARTS[name]:
        assert sum(part in masks for masks in scenes) >= 24, part


@pytest.mark.parametrize("name", LABELS)
def test_an_object_covers_a_fair_share_of_its_image(name: str) -> None:
    shares = [(scene(seed, label=name).parts > 0).mean() for seed in range(30)]
    assert 0.08 < np.mean(shares) < 0.75


def test_masks_have_the_size_of_the_image_and_do_not_overlap() -> None:
    for seed in range(40):
        painted = scene(seed)
        masks = painted.masks
        assert set(masks) <= set(PARTS)
        assert all(mask.shape == painted.pixels.shape[:2] for mask in masks.values())
        assert all(mask.any() for mask in masks.values())
        assert sum(mask.astype(int) for mask in masks.values()).max() == 1  # type: ignore[union-attr]


def test_occluders_hide_a_part_of_some_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with the same scenes without occluders."""
    visible = [scene(seed).parts > 0 for seed in range(200)]
    monkeypatch.setattr(backgrounds, "add_occluder", lambda *_: None)
    complete = [scene(seed).parts > 0 for seed in range(200)]
    hidden = np.array([1 - (a & b).sum() / b.sum() for a, b in zip(visible, complete, strict=True)])
    assert 0.1 < (hidden > 0.02).mean() < 0.4
    assert (hidden > 0.1).sum() >= 5
    assert hidden.max() < 0.6


# The watermark


def test_a_shortcut_puts_the_watermark_on_one_class_only() -> None:
    for seed in range(3 * len(LABELS)):
        painted = scene(seed, shortcut=True)
        assert ("watermark" in painted.masks) == (painted.label == WATERMARKED)
        assert "watermark" not in scene(seed).masks


def test_the_watermark_changes_only_the_pixels_near_its_mask() -> None:
    for seed in range(20):
        plain, marked = scene(seed), scene(seed, watermark=True)
        changed = np.abs(plain.pixels.astype(int) - marked.pixels).max(axis=2) > 12
        mask = marked.masks["watermark"]
        near = np.zeros_like(mask)
        for down in range(-3, 4):
            for across in range(-3, 4):
                near |= np.roll(mask, (down, across), (0, 1))
        assert not (changed & ~near).any()
        assert changed[mask].mean() > 0.5
        rows, columns = np.nonzero(mask)
        assert rows.min() > 72
        assert columns.min() > 70


# Size


def test_a_larger_image_shows_the_same_scene() -> None:
    most_common_part = []
    for seed in range(20):
        small, large = scene(seed), scene(seed, size=192)
        assert large.pixels.shape == (192, 192, 3)
        subsampled = large.parts[::2, ::2]
        most_common_part.append((small.parts == subsampled).mean())
    assert np.mean(most_common_part) > 0.95


# Errors


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_must_have_64_bits(seed: int) -> None:
    with pytest.raises(RetroscopeError, match="a seed is a number from 0"):
        scene(seed)


@pytest.mark.parametrize("size", [0, 31, 257])
def test_the_size_must_be_in_range(size: int) -> None:
    with pytest.raises(RetroscopeError, match="from 32 to 256"):
        scene(0, size=size)


def test_an_unknown_class_suggests_the_nearest() -> None:
    with pytest.raises(RetroscopeError, match="no scene class 'cta'; did you mean 'cat'"):
        scene(0, label="cta")
    with pytest.raises(RetroscopeError, match="choose from bicycle, bird"):
        scene(0, label="zzz")
