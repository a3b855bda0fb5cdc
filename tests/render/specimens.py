"""Made-up results with visible structure: blobs, stripes, smooth colours."""

import numpy as np
import numpy.typing as npt

from retroscope.geometry import Box, Field, ReceptiveField
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import crop
from retroscope.render.context_figures import HitContext
from retroscope.results.layers import Layer
from retroscope.results.plates import Patch, Plate
from retroscope.results.projections import Activations, Pixels, Projection
from retroscope.results.statistics import HISTOGRAM_EDGES, ChannelStats, ClassStats
from retroscope.unit import Unit

SIZE = (224, 224)


def float32(values: npt.ArrayLike) -> Pixels:
    """Values as a network holds them."""
    return np.asarray(values, np.float32)


def field(size: int = 92, *, whole: bool = False) -> ReceptiveField:
    """A square field."""
    axis = Field(size, 16, -size // 2)
    return ReceptiveField(axis, axis, whole=whole)


def scene(height: int, width: int, *, seed: int = 0) -> RGB:
    """An image of smooth colours."""
    y, x = _axes(height, width)
    bands = [np.sin(4 * x * (band + 1) + 3 * y + seed) for band in range(3)]
    image: RGB = np.rint(128 + 100 * np.stack(bands, axis=-1)).astype(np.uint8)
    return image


def stripes(height: int, width: int, *, seed: int = 0) -> Pixels:
    """A signed ripple that fades towards the edges."""
    random = np.random.default_rng(seed)
    y, x = _axes(height, width)
    angle = 3 * random.random()
    ripple = np.sin(25 * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)))
    ripple_patch = ripple * np.exp(-((y - 0.5) ** 2 + (x - 0.5) ** 2) / 0.05)
    tint = 1 + 2 * random.random(3)
    return float32(ripple_patch[..., None] * tint)


def blobs(channels: int, height: int, width: int, *, lowest: float = 0) -> Pixels:
    """Maps with three bumps each; the bumps go below zero where `lowest` does."""
    random = np.random.default_rng(1)
    y, x = _axes(height, width)
    maps = np.zeros((channels, height, width), np.float32)
    for channel in range(channels):
        for top, left, share in random.random((3, 3)):
            peak = lowest + share * (1 - lowest)
            maps[channel] += peak * np.exp(-((y - top) ** 2 + (x - left) ** 2) / 0.02)
    return maps


def projection(
    height: int = 40,
    width: int = 40,
    *,
    channel: int = 42,
    patch: bool = True,
    source: str = "photos/cat.jpg",
    notes: tuple[str, ...] = (),
) -> Projection:
    """A projection of a made-up unit, beside its patch or without one."""
    return Projection(
        unit=Unit("features.28", channel, (6, 7)),
        activation=12.34,
        box=Box(12, 40, 12 + height, 40 + width),
        pixels=stripes(height, width, seed=channel),
        rules="deconvnet",
        size=SIZE,
        patch=scene(height, width, seed=channel) if patch else None,
        source=source,
        notes=notes,
    )


def corner_patch() -> Patch:
    """A patch whose field leaves the image at the top left, by 10 and 20 pixels."""
    corner_projection = Projection(
        Unit("conv2_1", 5, (0, 0)), 3.5, Box(0, 0, 40, 30), stripes(40, 30), "deconvnet", SIZE
    )
    return Patch(
        3.5, "photos/cat.jpg", (0, 0), Box(-10, -20, 40, 30), scene(40, 30), corner_projection, SIZE
    )


def photo(height: int, width: int, *, seed: int = 0) -> RGB:
    """Something like a photograph: a woven sky, bars before it, a disc before them."""
    random = np.random.default_rng(seed)
    y, x = _axes(height, width)
    sky, bars, disc, ink = random.integers(20, 250, (4, 3)) + 0.0
    pixels = sky * (0.6 + 0.4 * y[..., None])
    pixels[y > 0.4 + 0.3 * random.random()] = bars
    pixels[(np.sin((12 + 20 * random.random()) * (x + random.random() * y)) > 0.6) & (y > 0.3)] = (
        ink
    )
    top, left = 0.25 + 0.5 * random.random(2)
    pixels[(y - top) ** 2 + (x - left) ** 2 < 0.15**2] = disc
    weave = 9 * np.sin(0.21 * height * y) * np.sin(0.17 * width * x)
    image: RGB = np.clip(np.rint(pixels + weave[..., None]), 0, 255).astype(np.uint8)
    return image


def patch(
    side: int,
    top: int,
    left: int,
    *,
    seed: int = 0,
    score: float = 1,
    illustrated: bool = True,
    notes: tuple[str, ...] = (),
) -> Patch:
    """What a field of this side sees of a made-up photograph, and the edges in its middle."""
    image, box = photo(*SIZE, seed=seed), Box(top, left, top + side, left + side)
    inside, place = box.clip(*SIZE), (max(top, 0) // 16, max(left, 0) // 16)
    clipped_pixels = crop(image, inside)
    patch_projection = Projection(
        Unit("features.28", 42, place),
        score,
        inside,
        _edges(clipped_pixels),
        "deconvnet",
        SIZE,
        notes=notes,
    )
    return Patch(
        score=score,
        source=f"photographs/{('lighthouse', 'harbour')[seed % 2]}/IMG_{2040 + seed}.jpg",
        position=place,
        box=box,
        pixels=clipped_pixels,
        projection=patch_projection if illustrated else None,
        size=SIZE,
    )


def plate(
    side: int = 40,
    *,
    count: int = 9,
    channel: int = 42,
    illustrated: int = 9,
    ranked_by: str = "max",
    channel_stats: ChannelStats | None = None,
    notes: tuple[str, ...] = (),
) -> Plate:
    """The plate of a made-up channel; every third field leaves its image."""
    random = np.random.default_rng(channel)
    tops = random.integers(0, max(SIZE[0] - side, 1), (count, 2))
    scores = np.sort(12 + random.gamma(2, 3, count))[::-1]
    patches = tuple(
        patch(
            side,
            -side // 4 if n % 3 == 2 else int(top),
            int(left),
            seed=10 * channel + n,
            score=float(score),
            illustrated=n < illustrated,
            notes=notes,
        )
        for n, ((top, left), score) in enumerate(zip(tops, scores, strict=True))
    )
    layer = Layer("features.28", "conv", 512, (14, 14), field(side), aliases=("conv13", "conv5_3"))
    unit = Unit("features.28", channel)
    return Plate(unit, layer, patches, channel_stats or stats(seed=channel), ranked_by)


def stats(
    images: int = 1000,
    *,
    firing: float = 0.12,
    classes: int = 5,
    seed: int = 0,
    non_finite: int = 0,
) -> ChannelStats:
    """Statistics of a channel that fires in this share of so many images."""
    random = np.random.default_rng(seed)
    maxima = np.where(random.random(images) < firing, random.lognormal(0.8, 1.1, images), 0)
    labels = ("lighthouse", "harbour", "beach wagon", "pier", "tabby cat", "lynx")[:classes]
    fired_images_count = int((maxima > 0).sum())
    return ChannelStats(
        images=images,
        positions=196 * images,
        mean=float(maxima.mean()) / 20 if images else 0.0,
        std=0.4,
        maximum=float(maxima.max(initial=0)),
        fired_images=fired_images_count,
        fired_positions=13 * fired_images_count,
        non_finite=non_finite,
        histogram=np.bincount(np.searchsorted(HISTOGRAM_EDGES, maxima), minlength=64),
        classes=tuple(
            ClassStats(label, images // 10, 4.1 / (n + 1), 0.5 / (n + 1))
            for n, label in enumerate(labels)
        ),
    )


def hit_contexts(side: int = 40, *, count: int = 3, illustrated: int = 2) -> list[HitContext]:
    """Hits of a made-up channel in their whole images."""
    hits = plate(side, count=count, illustrated=illustrated).patches
    units = [Unit("features.28", 42, hit.position) for hit in hits]
    return [
        HitContext(photo(*SIZE, seed=420 + n), hit.projection, hit.box, hit.score, hit.source, unit)
        for n, (hit, unit) in enumerate(zip(hits, units, strict=True))
    ]


def activations(maps: Pixels, *, kind: str = "relu") -> Activations:
    """Maps as the activations of a made-up layer."""
    channels, height, width = maps.shape
    layer = Layer("features.28", kind, channels, (height, width), field())
    return Activations(layer, maps, "photos/cat.jpg")


def layers(count: int) -> tuple[Layer, ...]:
    """Layers of a made-up network, deeper and smaller as they go."""
    return tuple(
        Layer(
            f"features.{n}",
            ("conv", "relu")[n % 2],
            64 << n // 4,
            (224 >> n // 4, 224 >> n // 4),
            field(3 + 4 * n, whole=n == 11),
            aliases=(f"conv{n // 2 + 1}",) if n % 2 == 0 else (),
            index=n,
            note="an operation is not known: the field is the whole image" if n == 11 else "",
        )
        for n in range(count)
    )


def _edges(image: RGB) -> Pixels:
    """What an image differs by from its neighbours, faded towards the border: signed."""
    if not image.size:
        return np.zeros(image.shape, np.float32)
    values = image / 255.0
    reach = max(min(image.shape[:2]) // 24, 1)
    shifted = [np.roll(values, step, axis) for step in (-reach, reach) for axis in (0, 1)]
    y, x = _axes(*image.shape[:2])
    middle = (y - y.max() / 2) ** 2 + (x - x.max() / 2) ** 2
    return float32((values - np.mean(shifted, axis=0)) * np.exp(-middle / 0.06)[..., None])


def _axes(height: int, width: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    y, x = np.mgrid[:height, :width] / max(height, width)
    return y, x
