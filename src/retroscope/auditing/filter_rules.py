"""Rules about the filters that read pixels: noise, and detail that their stride cannot carry."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from retroscope.atlas.image_blobs import decode_image
from retroscope.atlas.queries import image_queries
from retroscope.auditing.image_spectrum import (
    Spectrum,
    folded_share,
    image_spectrum,
    natural_spectrum,
)
from retroscope.auditing.layer_evidence import AtlasEvidence
from retroscope.auditing.rule_outcome import RuleOutcome, Suspicion
from retroscope.results.audits import AuditNumber
from retroscope.results.projections import Filters
from retroscope.unit import Unit

MIN_SIDE = 5
"""Smaller filters have too few weights to tell noise from structure."""
SHUFFLES = 199
ALPHA = 0.05
ALIASED = 0.5
"""Share of the response to images above which what a map holds is mostly folded detail."""
SPECTRUM_IMAGES = 64
"""Stored images whose spectrum is measured."""
_FAINT = 1e-6
"""Filters with less than this share of the largest norm are zero."""


def find_noise_filters(evidence: AtlasEvidence) -> RuleOutcome:
    """Filters that have no more structure than their own weights in a random order."""
    filters, omission = _readable_filters(evidence)
    if filters is None:
        return RuleOutcome(omissions=(omission,))
    height, width = filters.weights.shape[1:3]
    if min(height, width) < MIN_SIDE:
        reason = f"filters of {height}x{width} are too small to tell noise from structure"
        return RuleOutcome(omissions=(f"{filters.layer.name}: {reason}",))
    numbers = _nonzero_filters(filters)
    chances = [chance_of_structure(filters.weights[number]) for number in numbers]
    noisy = [number for number, chance in zip(numbers, chances, strict=True) if chance > ALPHA]
    return RuleOutcome(len(numbers), _noise_suspicions(evidence, filters, noisy, len(numbers)))


def _noise_suspicions(
    evidence: AtlasEvidence, filters: Filters, noisy: list[int], total: int
) -> tuple[Suspicion, ...]:
    if not noisy:
        return ()
    numbers: dict[str, AuditNumber] = {
        "filters": len(noisy),
        "examined": total,
        "noise_not_raised": ALPHA,
        "shuffles": SHUFFLES,
    }
    return (
        Suspicion(
            f"{len(noisy)} of {total} filters of {filters.layer.name} look like noise: untrained, "
            "or not trained for long enough",
            _filter_units(evidence, filters, noisy),
            numbers,
        ),
    )


def chance_of_structure(weights: npt.NDArray[np.float32]) -> float:
    """How often shuffled weights have a peak in their spectrum as high as the filter's.

    The pixels of a filter (height, width, colours) change places, each with its colours. A smooth
    blob, an edge or a grating has a peak that no shuffle has.
    """
    height, width, colours = weights.shape
    pixels = weights.reshape(height * width, colours).astype(np.float64)
    pixels = pixels - pixels.mean(axis=0)
    random = np.random.default_rng(0)
    orders = np.argsort(random.random((SHUFFLES, len(pixels))), axis=1)
    planes = np.concatenate([pixels[None], pixels[orders]]).reshape(-1, height, width, colours)
    spectra = np.abs(np.fft.fft2(planes, (2 * height, 2 * width), axes=(1, 2))) ** 2
    peaks = spectra.sum(axis=3).max(axis=(1, 2))
    return float((peaks >= peaks[0] * (1 - 1e-9)).mean())


def find_aliased_filters(evidence: AtlasEvidence) -> RuleOutcome:
    """Filters that pass mostly detail that is finer than their stride can carry."""
    filters, omission = _readable_filters(evidence)
    if filters is None:
        return RuleOutcome(omissions=(omission,))
    strides = float(filters.layer.field.y.stride), float(filters.layer.field.x.stride)
    if max(strides) <= 1:
        return RuleOutcome(len(filters.weights))
    numbers = _nonzero_filters(filters)
    spectrum, images = _spectrum_of_images(evidence, filters.weights.shape[3])
    shares = {n: folded_share(filters.weights[n], strides, spectrum) for n in numbers}
    aliased = sorted((n for n in numbers if shares[n] > ALIASED), key=lambda n: -shares[n])
    if not aliased:
        return RuleOutcome(len(numbers))
    suspicion = Suspicion(
        f"{len(aliased)} of {len(numbers)} filters of {filters.layer.name} pass mostly detail too "
        f"fine for their stride of {strides[0]:g}, which appears as coarser patterns in their maps",
        _filter_units(evidence, filters, aliased),
        {
            "filters": len(aliased),
            "examined": len(numbers),
            "stride": strides[0],
            "images": images,
            "highest_folded_share": shares[aliased[0]],
            "median_folded_share": float(np.median(list(shares.values()))),
        },
    )
    return RuleOutcome(len(numbers), (suspicion,))


def _spectrum_of_images(evidence: AtlasEvidence, colours: int) -> tuple[Spectrum, int]:
    """The spectrum of stored images, and of how many; that of natural images if none is stored."""
    stored = image_queries.stored_images(evidence.atlas)
    chosen = stored[:: max(1, len(stored) // SPECTRUM_IMAGES)][:SPECTRUM_IMAGES]
    if not chosen:
        return natural_spectrum(colours), 0
    blobs = (image_queries.image_blob(evidence.atlas, image) for image in chosen)
    images = [decode_image(blob) for blob in blobs if blob is not None]
    return image_spectrum(images, _std(evidence, colours)), len(images)


def _std(evidence: AtlasEvidence, colours: int) -> list[float]:
    """What the network divides each colour by, as the atlas records it."""
    preprocessing = evidence.atlas.meta.get("preprocessing")
    std = preprocessing.get("std") if isinstance(preprocessing, Mapping) else None
    if isinstance(std, list) and len(std) == colours:
        return [float(str(value)) for value in std]
    return [1.0] * colours


def _readable_filters(evidence: AtlasEvidence) -> tuple[Filters | None, str]:
    """The filters that read pixels, or why there are none."""
    if evidence.weights is None:
        return None, "an atlas has no weights; give the network of the scan as well"
    return evidence.weights.filters, evidence.weights.no_filters


def _nonzero_filters(filters: Filters) -> list[int]:
    norms = np.linalg.norm(filters.weights.reshape(len(filters.weights), -1), axis=1)
    numbers: list[int] = np.flatnonzero(norms > _FAINT * norms.max()).tolist()
    return numbers


def _filter_units(
    evidence: AtlasEvidence, filters: Filters, numbers: Iterable[int]
) -> tuple[Unit, ...]:
    """Filters as units of the layer under which the atlas has them, if it has them."""
    name = filters.layer.name
    stored = (layer.layer.name for layer in evidence.layers if name in layer.layer.search_names)
    layer_name = next(stored, name)
    return tuple(Unit(layer_name, number) for number in numbers)
