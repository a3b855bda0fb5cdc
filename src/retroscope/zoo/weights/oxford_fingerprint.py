"""Recognises Oxford's VGG16 and VGG19 by their first filters, and how a copy of them is laid out.

Copies of these weights circulate under the same names with filters flipped or not, for BGR or RGB.
"""

from dataclasses import dataclass

import numpy as np

from retroscope.zoo.weights.imported_weights import ImportedWeights, flip_filters

OXFORD_MEAN = (123.68, 116.779, 103.939)
"""The mean colour of the training set: red, green, blue."""


@dataclass(frozen=True)
class Fingerprint:
    """The first four biases, and two opposite corners of the first filter's blue channel.

    Flipping the filter exchanges the corners.
    """

    network: str
    biases: tuple[float, float, float, float]
    corner: float
    opposite: float


FINGERPRINTS = (
    Fingerprint("VGG16", (0.73430, 0.09340, 0.06776, 0.88630), 0.42947, -0.35010),
    Fingerprint("VGG19", (0.73018, 0.06494, 0.03429, 0.82604), 0.341195, -0.336833),
)
BLUE_CHANNEL = {"BGR": 0, "RGB": 2}
TOLERANCE = 1e-3
"""Wide enough for copies in half precision."""


def identify_oxford_vgg(weights: ImportedWeights) -> ImportedWeights:
    """The same weights; if they are Oxford's, upright and with their colour order and mean."""
    first = weights.first
    if first.weight.shape[1:] != (3, 3, 3) or first.bias is None:
        return weights
    for fingerprint in FINGERPRINTS:
        if _is_close(first.bias[:4], fingerprint.biases):
            return _correct_orientation(weights, fingerprint)
    return weights


def _correct_orientation(weights: ImportedWeights, fingerprint: Fingerprint) -> ImportedWeights:
    match = f"its first filters are those of Oxford's {fingerprint.network}"
    for colour_order, blue in BLUE_CHANNEL.items():
        corner = weights.first.weight[0, blue, 0, 0]
        if _is_close(corner, fingerprint.corner):
            sentence = f"{match}, for {colour_order} and upright"
            return weights.evolve(sentence, colour_order=colour_order, mean=OXFORD_MEAN)
        if _is_close(corner, fingerprint.opposite):
            sentence = f"{match}, for {colour_order} and rotated by 180 degrees; they are flipped"
            layers = flip_filters(weights.layers)
            return weights.evolve(
                sentence, layers=layers, colour_order=colour_order, mean=OXFORD_MEAN
            )
    return weights


def _is_close(values: object, expected: object) -> bool:
    actual, reference = np.asarray(values), np.asarray(expected)
    return actual.shape == reference.shape and bool(
        np.allclose(actual, reference, rtol=0, atol=TOLERANCE)
    )
