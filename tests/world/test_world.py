"""The picture world: scenes by seed, their classes, their parts and their light."""

import subprocess
import sys
from hashlib import blake2b

import numpy as np
import pytest

from retroscope.errors import RetroscopeError
from retroscope.world import CLASSES, LABELS, MARKED, PARTS, Scene, scene, scene_of, settings

SHOWS = {
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
"""Parts that anybody would look for in an object of the class."""


def digest(scenes: list[Scene]) -> str:
    made = blake2b(digest_size=16)
    for one in scenes:
        made.update(one.pixels.tobytes() + one.parts.tobytes() + one.label.encode())
    return made.hexdigest()


# The same seed, the same picture


def test_the_scenes_of_some_seeds_are_these_pixels_on_every_machine() -> None:
    assert digest([scene(seed) for seed in range(60)]) == "3274c0afa5b4afdd238b460350665f4c"
    larger = [scene(2**64 - 1, size=128, shortcut=True), scene(28, size=33, shortcut=True)]
    assert digest(larger) == "5cbb2e820323b89104f54dd3cc4974b5"


def test_a_scene_does_not_depend_on_what_was_made_before() -> None:
    after_others = [scene(seed) for seed in (7, 3, 11, 7)]
    assert digest([after_others[0]]) == digest([after_others[3]]) == digest([scene(7)])


def test_two_seeds_make_two_pictures_of_a_class() -> None:
    pictures = {scene(seed, label="cat").pixels.tobytes() for seed in range(12)}
    assert len(pictures) == 12


def test_worlds_share_no_scene() -> None:
    made = [scene_of(world, number).pixels.tobytes() for world in range(3) for number in range(20)]
    assert len(set(made)) == 60


def test_the_world_needs_no_torch() -> None:
    code = "import sys, retroscope.world; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Classes and parts


def test_the_classes_take_turns() -> None:
    assert [scene(seed).label for seed in range(2 * len(LABELS))] == [*LABELS, *LABELS]


def test_a_class_is_made_when_it_is_named() -> None:
    assert [scene(3, label=name).label for name in LABELS] == list(LABELS)


def test_there_are_many_classes_and_most_parts_are_shared() -> None:
    assert set(SHOWS) == set(CLASSES)
    assert len(CLASSES) >= 16
    for part in ("eye", "wheel", "window", "ear", "mouth", "beak", "wing", "door", "roof", "lamp"):
        assert sum(part in shown for shown in SHOWS.values()) >= 2, part


@pytest.mark.parametrize("name", LABELS)
def test_each_class_shows_its_parts(name: str) -> None:
    scenes = [scene(seed, label=name).masks for seed in range(30)]
    for part in SHOWS[name]:
        assert sum(part in masks for masks in scenes) >= 24, part


@pytest.mark.parametrize("name", LABELS)
def test_a_class_fills_much_of_its_picture(name: str) -> None:
    shares = [(scene(seed, label=name).parts > 0).mean() for seed in range(30)]
    assert 0.08 < np.mean(shares) < 0.75


def test_masks_lie_in_the_picture_and_no_two_on_the_same_pixel() -> None:
    for seed in range(40):
        made = scene(seed)
        masks = made.masks
        assert set(masks) <= set(PARTS)
        assert all(mask.shape == made.pixels.shape[:2] for mask in masks.values())
        assert all(mask.any() for mask in masks.values())
        assert sum(mask.astype(int) for mask in masks.values()).max() == 1  # type: ignore[union-attr]


def test_something_hides_a_part_of_some_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the same scenes without what stands before the object."""
    seen = [scene(seed).parts > 0 for seed in range(200)]
    monkeypatch.setattr(settings, "occluder", lambda *_: None)
    whole = [scene(seed).parts > 0 for seed in range(200)]
    hidden = np.array([1 - (a & b).sum() / b.sum() for a, b in zip(seen, whole, strict=True)])
    assert 0.1 < (hidden > 0.02).mean() < 0.4
    assert (hidden > 0.1).sum() >= 5
    assert hidden.max() < 0.6


# The watermark


def test_only_the_marked_class_bears_the_watermark_in_the_world_of_shortcuts() -> None:
    for seed in range(3 * len(LABELS)):
        made = scene(seed, shortcut=True)
        assert ("watermark" in made.masks) == (made.label == MARKED)
        assert "watermark" not in scene(seed).masks


def test_the_watermark_changes_the_picture_where_its_mask_is_and_close_around() -> None:
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


def test_a_larger_picture_is_the_same_scene() -> None:
    agreed = []
    for seed in range(20):
        small, large = scene(seed), scene(seed, size=192)
        assert large.pixels.shape == (192, 192, 3)
        every_other = large.parts[::2, ::2]
        agreed.append((small.parts == every_other).mean())
    assert np.mean(agreed) > 0.95


# What cannot be made


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_has_64_bits(seed: int) -> None:
    with pytest.raises(RetroscopeError, match="a seed is a number from 0"):
        scene(seed)


@pytest.mark.parametrize("size", [0, 31, 257])
def test_a_picture_has_a_size_that_textures_fill(size: int) -> None:
    with pytest.raises(RetroscopeError, match="from 32 to 256"):
        scene(0, size=size)


def test_an_unknown_class_is_told_the_nearest() -> None:
    with pytest.raises(RetroscopeError, match="no class 'cta' in the world; did you mean 'cat'"):
        scene(0, label="cta")
    with pytest.raises(RetroscopeError, match="there are bicycle, bird"):
        scene(0, label="zzz")
