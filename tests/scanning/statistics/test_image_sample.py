"""The sample: the images with the lowest hashes, and those of it that an atlas shows."""

from bisect import bisect_left

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retroscope.scanning.sources.image_list import key_hash
from retroscope.scanning.statistics import image_sample
from retroscope.scanning.statistics.batch_images import BatchImages, SweptImage
from retroscope.scanning.statistics.image_sample import (
    SAMPLE_HITS,
    SAMPLE_IMAGES,
    ImageSample,
    choose_strata,
)

QUANTILES = (0.99, 0.95, 0.9, 0.75, 0.5)
SCORES = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])


def sample_of(keys: list[str]) -> ImageSample:
    """One channel, in which the maximum of each image is its number."""
    swept = [SweptImage(number, key_hash(key)) for number, key in enumerate(keys)]
    scores = torch.arange(float(len(keys)))[:, None]
    return ImageSample(1).add(scores, BatchImages.of(swept), scores.long())


@given(st.lists(st.lists(SCORES, min_size=1, max_size=9), min_size=1, max_size=3))
def test_an_atlas_shows_the_images_at_the_quantiles_and_a_random_one(
    channels: list[list[float]],
) -> None:
    count = min(map(len, channels))
    table = np.array([channel[:count] for channel in channels], np.float32)
    for channel, (scores, strata) in enumerate(zip(table, choose_strata(table), strict=True)):
        ordered = sorted((score, place) for place, score in enumerate(scores) if score > -np.inf)
        if not ordered:
            assert strata.tolist() == [-1] * SAMPLE_HITS
            continue
        expected = [ordered[round(share * (len(ordered) - 1))][1] for share in QUANTILES]
        finite = [place for place, score in enumerate(scores) if score > -np.inf]
        expected.append(finite[channel * 2654435761 % 2**32 % len(finite)])
        assert strata.tolist() == expected


def test_up_to_128_images_are_all_sampled() -> None:
    sample = sample_of([f"{number}.jpg" for number in range(SAMPLE_IMAGES)])
    assert sorted(sample.numbers) == list(range(128))
    assert sample.hashes == sorted(sample.hashes)


def test_a_sample_is_uniform() -> None:
    """Of 40,000 keys in order, 128 are as spread as random ones: by Kolmogorov and Smirnov."""
    count = 40_000
    numbers = sorted(sample_of([f"class/{number:05}.jpg" for number in range(count)]).numbers)
    shares = np.array([bisect_left(numbers, place) for place in range(count)]) / len(numbers)
    distance = np.abs(shares - np.arange(count) / count).max()
    assert len(numbers) == SAMPLE_IMAGES
    assert distance < 1.63 / np.sqrt(SAMPLE_IMAGES), "beyond this in one of a hundred samples"


def test_an_image_keeps_no_memory_of_its_batch() -> None:
    sample = sample_of(["a", "b", "c"])
    for image in sample.images:
        assert image.score.untyped_storage().nbytes() == 4
        assert image.position.untyped_storage().nbytes() == 4


def test_a_channel_without_a_finite_value_has_no_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_sample, "SAMPLE_IMAGES", 2)
    images = BatchImages.of([SweptImage(number, -number) for number in range(3)])
    maximum = torch.tensor([[1.0], [-torch.inf], [3.0]])
    sample = ImageSample(1).add(maximum, images, torch.tensor([[5], [6], [7]]))
    tensors = sample.to_tensors()
    assert tensors["number"].tolist() == [2, 1]
    assert tensors["score"].flatten().tolist() == [3.0, -torch.inf]
    assert tensors["position"].flatten().tolist() == [7, -1]


@pytest.mark.parametrize("key", ["a.jpg", "b/\udcff.png", ""])
def test_a_hash_is_a_signed_number_of_64_bits(key: str) -> None:
    assert -(2**63) <= key_hash(key) < 2**63
    assert key_hash(key) == key_hash(key) != key_hash(f"{key}x")
