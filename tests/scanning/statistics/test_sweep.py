"""A sweep is what its definition says, and a monoid: in parts, in any order, it is the same."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retroscope.results.statistics import accumulated_statistics
from retroscope.scanning.statistics import image_sample
from retroscope.scanning.statistics.batch_images import BatchImages
from retroscope.scanning.statistics.exact_sums import read_sums
from retroscope.scanning.statistics.plain_summary import Scratch
from retroscope.scanning.statistics.sweep import Arrays, Sweep, SweepBatch, concatenate_layers
from tests.scanning.statistics.sweep_definition import (
    CLASSES,
    FINITE,
    PER_CLASS,
    SAMPLE,
    TOP,
    Batch,
    add_batch,
    assert_same_arrays,
    batches,
    sweep_by_definition,
    sweep_of_batch,
)

CUT = st.integers(0, 8)


@pytest.fixture(scope="module", autouse=True)
def _small_sample() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_sample, "SAMPLE_IMAGES", SAMPLE)
        yield


@given(batches())
def test_a_sweep_is_what_a_slow_loop_finds(batch: Batch) -> None:
    sweep, arrays = sweep_of_batch(batch), sweep_by_definition(batch)
    finished = sweep.channel_sums.finish()
    for name in [name for name in arrays if name.startswith("finished.")]:
        values = finished[name.removeprefix("finished.")]
        atol = 1e-7 if "std" in name else 1e-12
        np.testing.assert_allclose(values, arrays.pop(name), atol=atol, err_msg=name)
    assert_same_arrays(_readable_arrays(sweep), arrays)


def _readable_arrays(sweep: Sweep) -> Arrays:
    """The sums of real numbers as floats instead of digits, and tables of all classes."""
    arrays = {
        name: array
        for name, array in sweep.to_arrays().items()
        if not name.startswith(("classes.", "class_rankings."))
    }
    for row in (row for row, _ in accumulated_statistics() if row.is_real_sum):
        arrays[f"channels.{row.name}"] = read_sums(sweep.channel_sums[row.name]).numpy()
    tables = sweep.class_sums.tables(CLASSES)._asdict()
    rankings = [vars(sweep.class_rankings[label]) for label in range(CLASSES)]
    return (
        arrays
        | {f"classes.{name}": table.numpy() for name, table in tables.items()}
        | {
            f"class_rankings.{name}": np.stack([ranking[name].numpy() for ranking in rankings])
            for name in rankings[0]
        }
    )


@given(batches(), CUT)
def test_merging_two_sweeps_is_sweeping_both(batch: Batch, cut: int) -> None:
    merged = sweep_of_batch(batch[:cut]).merge(sweep_of_batch(batch[cut:]))
    assert_same_arrays(merged.to_arrays(), sweep_of_batch(batch).to_arrays())


@given(batches(), CUT)
def test_adding_batch_by_batch_is_adding_all(batch: Batch, cut: int) -> None:
    assert_same_arrays(
        add_batch(sweep_of_batch(batch[:cut]), batch[cut:]).to_arrays(),
        sweep_of_batch(batch).to_arrays(),
    )


@given(batches(), CUT, CUT)
@settings(max_examples=60)
def test_three_sweeps_merge_the_same_in_any_order_and_grouping(
    batch: Batch, one: int, other: int
) -> None:
    low, high = sorted([one, other])
    parts = [
        sweep_of_batch(batch[:low]),
        sweep_of_batch(batch[low:high]),
        sweep_of_batch(batch[high:]),
    ]
    expected = sweep_of_batch(batch).to_arrays()
    for a, b, c in permutations(parts):
        assert_same_arrays(a.merge(b).merge(c).to_arrays(), expected)
        assert_same_arrays(a.merge(b.merge(c)).to_arrays(), expected)


@given(st.lists(batches(st.floats(width=32)), min_size=3, max_size=3), st.booleans())
@settings(max_examples=60)
def test_sweeps_of_any_numbers_merge_to_the_same_bits(parts: list[Batch], restore: bool) -> None:
    """Whatever the size of the numbers, also when a part comes from a checkpoint."""
    channels = min(part.maps.shape[1] for part in parts)
    sweeps = []
    for number, part in enumerate(parts):
        images = [image + 10 * number for image in part.images]
        batch = Batch(part.maps[:, :channels], images, part.labels, part.hashes)
        sweep = sweep_of_batch(batch, dtype=torch.float32)
        sweeps.append(Sweep.from_arrays(sweep.to_arrays()) if restore else sweep)
    expected = sweeps[0].merge(sweeps[1]).merge(sweeps[2]).to_arrays()
    for a, b, c in permutations(sweeps):
        assert_same_arrays(a.merge(b).merge(c).to_arrays(), expected)
        assert_same_arrays(a.merge(b.merge(c)).to_arrays(), expected)


@given(batches())
def test_a_sweep_of_nothing_changes_nothing(batch: Batch) -> None:
    found = sweep_of_batch(batch)
    nothing = sweep_of_batch(batch[:0])
    assert_same_arrays(nothing.merge(found).to_arrays(), found.to_arrays())
    assert_same_arrays(found.merge(nothing).to_arrays(), found.to_arrays())


@given(batches(st.sampled_from([0.0, 1.0])), st.randoms())
def test_ties_go_to_the_lower_number_whatever_comes_first(batch: Batch, random: Random) -> None:
    order = list(range(len(batch.images)))
    random.shuffle(order)
    mixed = Batch(
        batch.maps[order],
        [batch.images[n] for n in order],
        [batch.labels[n] for n in order],
        [batch.hashes[n] for n in order],
    )
    one_by_one = sweep_of_batch(batch[:0])
    for n in range(len(order)):
        one_by_one = add_batch(one_by_one, mixed[n : n + 1])
    assert_same_arrays(one_by_one.to_arrays(), sweep_of_batch(batch).to_arrays())


@given(batches())
def test_stored_arrays_restore_the_sweep(batch: Batch) -> None:
    found = sweep_of_batch(batch)
    assert_same_arrays(Sweep.from_arrays(found.to_arrays()).to_arrays(), found.to_arrays())


@given(batches(), st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
def test_narrow_numbers_are_swept_exactly(batch: Batch, dtype: torch.dtype) -> None:
    """Halves up to 3, and their sums, are exact in every float."""
    found = sweep_of_batch(batch, dtype=dtype)
    assert_same_arrays(found.to_arrays(), sweep_of_batch(batch).to_arrays())


@given(batches(), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_the_layout_of_the_maps_plays_no_part(batch: Batch, dtype: torch.dtype) -> None:
    maps = torch.from_numpy(batch.maps).to(dtype)
    laid_out = maps.to(memory_format=torch.channels_last)
    every_other = torch.stack([maps, -maps], dim=4)[..., 0]
    images, scratch = BatchImages.of(batch.swept), Scratch()
    empty = Sweep.empty(maps.shape[1], top=3, per_class=2)
    expected = empty.add(empty.summarise(maps, images), images).to_arrays()
    for same in (maps, laid_out, every_other):
        seen = empty.summarise(same, images, scratch=scratch)
        assert_same_arrays(empty.add(seen, images).to_arrays(), expected)


@given(batches(), st.integers(1, 3))
def test_layers_swept_side_by_side_are_each_swept_alone(batch: Batch, copies: int) -> None:
    """The layers differ in the size of their maps and in the number of their channels."""
    layers = [batch.maps, np.repeat(batch.maps[:, :1, :1, :1] + 1, copies, axis=1)]
    alone = [sweep_of_batch(replace(batch, maps=maps)) for maps in layers]
    rows = [range(layers[0].shape[1]), range(layers[0].shape[1], layers[0].shape[1] + copies)]
    images = BatchImages.of(batch.swept)
    sweep = Sweep.empty(rows[-1].stop, top=TOP, per_class=PER_CLASS)
    looks = [
        sweep.select_channels(own).summarise(torch.from_numpy(maps), images)
        for own, maps in zip(rows, layers, strict=True)
    ]
    sweep = sweep.add(SweepBatch.concatenate(looks), images)
    assert_same_arrays(sweep.to_arrays(), concatenate_layers([one.to_arrays() for one in alone]))
    for own, one in zip(rows, alone, strict=True):
        assert_same_arrays(sweep.select_channels(own).to_arrays(), one.to_arrays())


@given(batches(FINITE.map(lambda number: -abs(number) - 1)))
def test_a_channel_below_zero_is_dead_and_has_its_best_images_all_the_same(batch: Batch) -> None:
    found = sweep_of_batch(batch, top=len(batch.images))
    assert not found.channel_sums["fired_images"].any()
    assert not found.channel_sums["fired_positions"].any()
    assert (found.channel_sums["maximum"] < 0).all()
    assert (found.by_max.image >= 0).all()


@given(batches(st.just(float("nan"))))
def test_a_channel_without_a_finite_number_has_no_hits(batch: Batch) -> None:
    found = sweep_of_batch(batch)
    assert (found.by_max.image == found.by_mean.image).all()
    assert (found.by_max.image == -1).all()
    assert not found.channel_sums["images"].any()
    assert (found.channel_sums["non_finite"] == batch.maps[:, 0].size).all()
    assert (found.channel_sums.finish()["mean"] == 0).all()


@pytest.mark.parametrize("top", [1, 4, 9])
def test_fewer_images_than_slots_leave_slots_empty(top: int) -> None:
    batch = Batch(np.arange(8.0).reshape(4, 2, 1, 1), [0, 1, 2, 3], [-1] * 4, [0] * 4)
    check = sweep_by_definition(batch, top=top)
    found = sweep_of_batch(batch, top=top)
    assert ((found.by_max.image >= 0).sum(1) == min(top, 4)).all()
    np.testing.assert_array_equal(found.by_max.image, check["by_max.image"])


def test_a_sweep_is_never_changed_by_adding_to_it() -> None:
    batch = Batch(np.random.default_rng(0).normal(size=(6, 2, 2, 2)), range(6), [0] * 6, range(6))
    first = sweep_of_batch(batch[:3])
    before = {name: numbers.copy() for name, numbers in first.to_arrays().items()}
    add_batch(first, batch[3:])
    first.merge(sweep_of_batch(batch[3:]))
    assert_same_arrays(first.to_arrays(), before)
