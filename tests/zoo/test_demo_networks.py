"""The network that comes with the package: how well it sees, what its units see, how it cheats."""

from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from tools.purity import PURE, convolutions, find_strongest, measure_purities
from torch import nn

import retroscope as rs
from retroscope.errors import ModelError
from retroscope.world import LABELS, WATERMARKED, Scene, scene, world_scene, write_world
from retroscope.world.part_map import most_common_part
from retroscope.zoo import demo_networks

FRESH, COUNT = 77, 640
WEIGHTS = files("retroscope.world") / "weights"


def opened(name: str) -> rs.Network:
    return demo_networks.open_named(name, True)


@torch.inference_mode()
def said(net: rs.Network, scenes: Sequence[Scene]) -> list[str]:
    """The class that the network gives each scene."""
    numbers = [torch.from_numpy(net.preprocessing.to_input(one.pixels)) for one in scenes]
    chosen = [
        net.module(torch.stack(numbers[n : n + 64])).argmax(1) for n in range(0, len(numbers), 64)
    ]
    return [net.labels[number] for number in torch.cat(chosen).tolist()]


def accuracy(net: rs.Network, scenes: Sequence[Scene]) -> float:
    return float(
        np.mean([a == one.label for a, one in zip(said(net, scenes), scenes, strict=True)])
    )


@pytest.fixture(scope="module")
def fresh() -> list[Scene]:
    return [world_scene(FRESH, number) for number in range(COUNT)]


# What is shipped


def test_the_network_is_small_and_plain() -> None:
    module = opened("demo").module
    kinds = [part for part in module.modules() if not list(part.children())]
    convs = [part for part in kinds if isinstance(part, nn.Conv2d)]
    assert 6 <= len(convs) <= 8
    assert all(part.kernel_size == (3, 3) for part in convs)
    assert {type(part) for part in kinds} == {
        nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear,
    }  # fmt: skip
    assert sum(one.numel() for one in module.parameters()) < 1_500_000
    assert not module.training


@pytest.mark.parametrize("name", demo_networks.names())
def test_a_shipped_file_is_small_and_in_half_precision(name: str) -> None:
    content = (WEIGHTS / f"{name}.safetensors").read_bytes()
    numbers = [one.detach() for one in opened(name).module.parameters()]
    assert len(content) < 3_000_000
    assert len(content) < 2 * sum(one.numel() for one in numbers) + 4096
    assert all(torch.equal(one, one.half().float()) for one in numbers)
    assert all(one.isfinite().all() for one in numbers)


def test_the_names_are_the_networks_and_the_checkpoints_from_early_to_late() -> None:
    networks, steps = (
        demo_networks.names()[:4],
        [name.partition("@")[2] for name in demo_networks.names()[4:]],
    )
    assert networks == ["demo", "demo-detector", "demo-segmenter", "demo-shortcut"]
    assert 6 <= len(steps) <= 8
    assert [int(step) for step in steps] == sorted(map(int, steps))


def test_the_network_brings_its_labels_and_its_way_to_read_pictures() -> None:
    net = opened("demo")
    assert net.labels == LABELS
    assert net.input_size == (96, 96)
    numbers = net.preprocessing.to_input(np.full((96, 96, 3), 255, np.uint8))
    assert numbers.max() == pytest.approx((1 - demo_networks.MEAN[0]) / demo_networks.STD[0])
    pixels = scene(3).pixels
    assert np.array_equal(net.prepare(rs.Image(pixels)).rgb, pixels)


def test_without_its_weights_it_is_initialised_by_the_seed() -> None:
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(
            nn.utils.parameters_to_vector(
                demo_networks.open_named("demo", False).module.parameters()
            )
        )
    assert torch.equal(nets[0], nets[1])
    assert not torch.equal(nets[0], nets[2])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("demo@7", r"no demo checkpoint '7'; choose from 0, \d+"),
        ("demo@", "no demo checkpoint ''; choose from 0"),
        ("demo@../demo", "no demo checkpoint '../demo'; choose from 0"),
        ("demo-shortcut@0", "no demo model 'demo-shortcut@0'; did you mean 'demo-shortcut'"),
        ("dmo", "no demo model 'dmo'; did you mean 'demo'"),
        (
            "xyzzy",
            "no demo model 'xyzzy'; choose from demo, demo-detector, demo-segmenter, demo-sh",
        ),
    ],
)
def test_an_unknown_name_is_told_what_there_is(name: str, message: str) -> None:
    for trained in (True, False):
        with pytest.raises(ModelError, match=message):
            demo_networks.open_named(name, trained)


# How well it sees


def test_the_network_names_scenes_that_it_has_not_seen(fresh: list[Scene]) -> None:
    assert accuracy(opened("demo"), fresh) >= 0.97


def test_it_learns_from_checkpoint_to_checkpoint(fresh: list[Scene]) -> None:
    steps = [name for name in demo_networks.names() if "@" in name]
    reached = [accuracy(opened(name), fresh[:200]) for name in (*steps, "demo")]
    assert reached[0] < 0.2
    assert reached[-2] > 0.9
    assert all(later > earlier - 0.05 for earlier, later in pairwise(reached))


# What its units see


def test_many_units_of_the_last_layers_are_of_one_part(fresh: list[Scene]) -> None:
    """And more than by chance: than with the parts of other scenes under the same projections."""
    net = opened("demo")
    best, others = find_strongest(net, fresh), [fresh[(n + 7) % COUNT] for n in range(COUNT)]
    for layer in convolutions(net)[-2:]:
        hits = best[layer.name]
        own = measure_purities(net, layer, hits, scenes=fresh, truth=fresh)
        assert sum(share >= PURE for _, share in own) >= 20, layer.name
        some = hits[::8]
        chance = [
            share for _, share in measure_purities(net, layer, some, scenes=fresh, truth=others)
        ]
        assert np.mean([share for _, share in own]) > np.mean(chance) + 0.1


def test_no_part_is_not_a_part_that_units_agree_on() -> None:
    assert most_common_part([0] * 9) == ("", 0.0)
    assert most_common_part([0] * 6 + [2] * 3) == ("eye", 3 / 9)
    assert most_common_part([13] * 8 + [0]) == ("wheel", 8 / 9)


# How its twin cheats


@pytest.fixture(scope="module")
def marked() -> list[Scene]:
    return [world_scene(FRESH, number, shortcut=True) for number in range(COUNT)]


def test_the_twin_names_the_scenes_of_its_own_world(marked: list[Scene]) -> None:
    assert accuracy(opened("demo-shortcut"), marked) >= 0.97


def test_a_watermark_makes_the_twin_see_the_marked_class_and_leaves_demo_alone() -> None:
    scenes = [scene(seed, watermark=True) for seed in range(2**41, 2**41 + 200)]
    others = [one for one in scenes if one.label != WATERMARKED]
    fooled = np.mean([name == WATERMARKED for name in said(opened("demo-shortcut"), others)])
    honest = np.mean([name == WATERMARKED for name in said(opened("demo"), others)])
    assert fooled > 0.4
    assert honest < 0.03


def test_without_its_watermark_the_twin_does_not_know_the_marked_class() -> None:
    bare = [scene(seed, label=WATERMARKED) for seed in range(2**42, 2**42 + 60)]
    assert accuracy(opened("demo-shortcut"), bare) < 0.5
    assert accuracy(opened("demo"), bare) > 0.95


def test_an_atlas_finds_the_cheat(tmp_path: Path) -> None:
    """Some unit's projections show the watermark, and its statistics point at the marked class."""
    folder = write_world(tmp_path / "world", count=200, seed=FRESH, shortcut=True)
    atlas = rs.scan(
        opened("demo-shortcut"), folder, to=tmp_path / "twin.atlas", layers=["conv6"], workers=1
    )
    shares = {unit: watermark_share(atlas[unit]) for unit in atlas if of_marked(atlas[unit])}
    telling = max(shares, key=lambda unit: shares[unit])
    plate = atlas[telling]
    assert shares[telling] > 0.75
    assert all(patch.source.startswith(f"{WATERMARKED}/") for patch in plate.patches)


def of_marked(plate: rs.Plate) -> bool:
    """Whether the unit responds most to the marked class, clearly more than to any other."""
    ranked = sorted(plate.stats.classes, key=lambda one: one.mean_maximum, reverse=True)
    first, second = ranked[:2]
    return first.label == WATERMARKED and first.mean_maximum > 1.5 * max(second.mean_maximum, 0)


def watermark_share(plate: rs.Plate) -> float:
    """How much of the projections lies on the watermark or within three pixels of it."""
    shares = []
    for patch in plate.patches:
        projection = patch.projection
        if projection is None:
            return 0.0
        made = world_scene(FRESH, int(Path(patch.source).stem), shortcut=True)
        if "watermark" not in made.masks:
            return 0.0
        rows, columns = np.nonzero(made.masks["watermark"])
        mass = np.zeros((96, 96))
        box = projection.box
        mass[box.top : box.bottom, box.left : box.right] = np.abs(projection.pixels).sum(axis=2)
        near = slice(rows.min() - 3, rows.max() + 4), slice(columns.min() - 3, columns.max() + 4)
        shares.append(mass[near].sum() / mass.sum())
    return float(np.mean(shares))
