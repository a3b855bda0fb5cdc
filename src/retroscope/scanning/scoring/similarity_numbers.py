"""Numbers from how similar the images are that excite a unit, and those that do not.

`maxima` is the highest activation of a channel in each image, `embeddings` a unit vector for each
image, whose products say how similar two images are.
"""

from dataclasses import dataclass
from math import nan

import numpy as np
import numpy.typing as npt

from retroscope.scanning.scoring.intervals import image_weights, mean_interval, tail_interval

Values = npt.NDArray[np.float64]

REFERENCES, DRAWS = 9, 20


@dataclass(frozen=True)
class Score:
    """A number with its interval and its chance level."""

    value: float
    low: float = nan
    high: float = nan
    chance: float = nan


def unit_vectors(vectors: Values) -> Values:
    """Vectors of length 1 in the same directions; one of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Values = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return units


def interpretability(maxima: Values, embeddings: Values, seed: int = 0) -> Score:
    """The machine interpretability score of a channel (Zimmermann et al. 2024).

    The 9 images with the highest and the 9 with the lowest maxima are references. Each of up to 20
    draws compares the next image of either end with them: it is right if the strong image is closer
    to the strong references, relative to the weak ones, than the weak image is; a tie is half
    right. Equal maxima are in a random order.

    NaN for fewer than 20 images, if all maxima are equal, and if one is not finite.
    """
    draws = min(DRAWS, len(maxima) // 2 - REFERENCES)
    is_undefined = not np.isfinite(maxima).all() or maxima.max() == maxima.min()
    if draws < 1 or is_undefined:
        return Score(nan, chance=0.5)
    ties = np.random.default_rng(seed).permutation(len(maxima))
    order = np.lexsort((ties, maxima))
    weak, strong = embeddings[order], embeddings[order[::-1]]
    references = strong[:REFERENCES].mean(axis=0) - weak[:REFERENCES].mean(axis=0)
    queries = slice(REFERENCES, REFERENCES + draws)
    margins = (strong[queries] - weak[queries]) @ references
    right = np.where(margins == 0, 0.5, margins > 0)
    return Score(float(right.mean()), *mean_interval(right), chance=0.5)


def monosemanticity(maxima: Values, embeddings: Values) -> list[Score]:
    """The monosemanticity of each channel (Pach et al. 2025); `maxima` are (images, channels).

    The mean similarity of two images, weighted by the product of their activations scaled to 0 to
    1. Chance is the mean similarity of any two images.

    NaN for fewer than two images, and for a channel whose maxima are all equal or not all finite.
    """
    maxima = np.where(np.isfinite(maxima).all(axis=0), maxima, 0)
    lowest, highest = maxima.min(axis=0), maxima.max(axis=0)
    spans = np.where(highest > lowest, highest - lowest, nan)
    activations = (maxima - lowest) / spans
    plain = np.ones((1, len(maxima)))
    values = _mean_similarity(activations, embeddings, plain)[0]
    chance = _mean_similarity(np.ones((len(maxima), 1)), embeddings, plain)[0, 0]
    samples = _mean_similarity(activations, embeddings, image_weights(len(maxima)))
    return [
        Score(float(value), *tail_interval(samples[:, channel]), chance=float(chance))
        for channel, value in enumerate(values)
    ]


def _mean_similarity(activations: Values, embeddings: Values, weights: Values) -> Values:
    """The weighted mean similarity of the pairs of different images (samples, channels).

    The pairs need not be formed: the sum over all pairs is the squared length of a sum of vectors.
    """
    squares = activations**2
    products = (embeddings**2).sum(axis=1)
    similar = np.empty((len(weights), activations.shape[1]))
    for sample, counts in enumerate(weights):
        weighted = counts[:, None] * activations
        alone = (counts**2)[:, None] * squares
        sums = ((weighted.T @ embeddings) ** 2).sum(axis=1) - (alone * products[:, None]).sum(
            axis=0
        )
        total = weighted.sum(axis=0) ** 2 - alone.sum(axis=0)
        similar[sample] = np.divide(sums, total, out=np.full_like(sums, nan), where=total > 1e-12)
    return similar
