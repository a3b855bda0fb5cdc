"""Heat maps and occlusion maps: where in an image the evidence for a class is."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from retroscope.errors import RetroscopeError, list_words
from retroscope.geometry import IMAGE_RANK, INPUTS, LENGTHS, format_size
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import Fit, resize_array
from retroscope.results.display import ArrayResult
from retroscope.results.projections import Pixels, check_slice
from retroscope.unit import Unit

Map = npt.NDArray[np.float32]
"""Height, width; of a volume the depth in front."""

Mask = npt.NDArray[np.bool_]
"""Height, width; of a volume the depth in front."""

METHOD_TITLES = {
    "gradient": "Gradient",
    "smoothgrad": "SmoothGrad",
    "guided": "Guided backpropagation",
    "input_x_gradient": "Input times gradient",
    "integrated": "Integrated gradients",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "xgradcam": "XGrad-CAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "eigencam": "Eigen-CAM",
    "scorecam": "Score-CAM",
    "ablationcam": "Ablation-CAM",
    "guided-gradcam": "Guided Grad-CAM",
    "occlusion": "Occlusion",
}
"""What the literature calls each method, by its name in options."""


BoxEdges = tuple[float, float, float, float]
"""Top, left, bottom, right, in pixels of the network's input; between pixels, too."""


@dataclass(frozen=True)
class Target:
    """What is explained: a class, a box of a detector, a segment, or a number among the outputs.

    `index` is that of the class in the network's output, `label` its label if it has one. `box`
    and `score` are those of a detection. `description` says which target it is, if the class alone
    does not.

    >>> str(Target(281, "tabby")), str(Target(281))
    ('tabby', 'class 281')
    >>> str(Target(17, "cat", (12.0, 30.0, 80.0, 99.0), 0.9, "box 1: cat at 12,30,80,99"))
    'box 1: cat at 12,30,80,99'
    """

    index: int | None
    label: str = ""
    box: BoxEdges | None = None
    score: float | None = None
    description: str = ""

    def __str__(self) -> str:
        return self.description or self.class_name

    @property
    def class_name(self) -> str:
        """The label of the class, or its number if it has no label."""
        return self.label or f"class {self.index}"


@dataclass(frozen=True)
class Prediction:
    """A class, a box or a segment, and the probability that the network gives it."""

    target: Target
    probability: float


@dataclass(frozen=True, eq=False, repr=False)
class HeatMap(ArrayResult):
    """Where in an image the evidence for a class, or for a unit, is.

    `values` have the layer's resolution, or that of the image if there is no `layer`. `pixels` is
    signed, in the space of the network's input, for methods that attribute every pixel. In a volume
    all of them have a depth in front, and `slice(z)` is the heat map of one slice. The
    `probability` is None for a unit, and for a number among the outputs. `mask` marks the pixels
    whose scores are explained, for a segmenter, and those of the mask that a detector predicts for
    a box. As an array or a tensor it is `values`; `full()` has the size of the image.
    """

    values: Map
    layer: str
    target: Target | Unit
    probability: float | None
    score: float
    method: str
    caveats: tuple[str, ...]
    size: tuple[int, ...]
    pixels: Pixels | None = None
    image: RGB | None = None
    source: str = ""
    fit: Fit | None = None
    notes: tuple[str, ...] = ()
    mask: Mask | None = None

    def resize(self, *size: int) -> Map:
        """The values at another size, interpolated between the centres of positions.

        >>> heat = HeatMap(
        ...     np.float32([[0, 4]]), "conv5", Target(0), 0.5, 1.0, "gradcam", (), (2, 4)
        ... )
        >>> heat.resize(1, 4).tolist()
        [[0.0, 1.0, 3.0, 4.0]]
        """
        if len(size) != self.values.ndim:
            kind, lengths = INPUTS[self.values.ndim], LENGTHS[self.values.ndim]
            raise RetroscopeError(
                f"cannot resize the heat map of a {kind} to {format_size(size)}; give "
                f"{list_words(lengths)}"
            )
        return _resize(self.values, size)

    def slice(self, z: int) -> "HeatMap":
        """The heat in one slice of a volume, at the size of the network's input."""
        check_slice(z, self.size)
        return replace(
            self,
            values=self.full()[z],
            size=self.size[1:],
            pixels=None if self.pixels is None else self.pixels[z],
            image=None if self.image is None else self.image[z],
            mask=None if self.mask is None else self.mask[z],
            fit=None,
        )

    @property
    def method_title(self) -> str:
        """The method as the literature calls it.

        >>> HeatMap(
        ...     np.float32([[0, 4]]), "conv5", Target(0), 0.5, 1.0, "gradcam", (), (2, 4)
        ... ).method_title
        'Grad-CAM'
        """
        return METHOD_TITLES.get(self.method, self.method)

    def _array(self) -> Map:
        return self.values

    def full(self) -> Map:
        """The values at the size of the network's input."""
        return self.resize(*self.size)


def _resize(values: Map, size: tuple[int, ...]) -> Map:
    """Values at another size with as many axes."""
    if len(size) < IMAGE_RANK:
        row: Map = resize_array(values[None], (1, size[0]))[0]
        return row
    *depth, height, width = size
    if not depth:
        return resize_array(values, (height, width))
    planes = resize_array(np.moveaxis(values, 0, 2), (height, width))
    volume: Map = np.moveaxis(_resize_last(planes, *depth), 2, 0)
    return np.ascontiguousarray(volume)


def _resize_last(values: Map, length: int) -> Map:
    """The last axis at another length, interpolated between the centres of positions."""
    count = values.shape[-1]
    if count == length:
        return values
    places = np.clip((np.arange(length) + 0.5) * count / length - 0.5, 0, count - 1)
    first = np.floor(places).astype(int)
    second = np.minimum(first + 1, count - 1)
    share = (places - first).astype(np.float32)
    resized: Map = values[..., first] * (1 - share) + values[..., second] * share
    return resized


@dataclass(frozen=True, eq=False, repr=False)
class OcclusionMap(ArrayResult):
    """The network's response while an occluder covers each position (Zeiler & Fergus, Fig. 7).

    For each position of the occluder, in rows and columns, of a volume in slices too: the
    probability of the target, the most probable class (None if the target is not a class of an
    image), and the total activation of the map that is strongest in the clean image (None for a
    network without maps). A number among the outputs has no probability: `measure` is then "score",
    and the score stands in its place. `tops` and `lefts` are the occluder's positions, of a volume
    `fronts` as well; the last ones are moved in to the border. `starts` has those along each axis.
    As an array or a tensor it is `heat.values`: the loss at every pixel.
    """

    probabilities: Map
    classes: npt.NDArray[np.int64] | None
    activations: Map | None
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    occluder: tuple[int, ...]
    fill: str
    target: Target
    probability: float
    unit: Unit | None
    activation: float
    class_names: tuple[Target, ...]
    caveats: tuple[str, ...]
    size: tuple[int, ...]
    image: RGB | None = None
    source: str = ""
    fit: Fit | None = None
    notes: tuple[str, ...] = ()
    measure: str = "probability"
    mask: Mask | None = None
    fronts: tuple[int, ...] = ()

    @property
    def starts(self) -> tuple[tuple[int, ...], ...]:
        """The occluder's positions along each axis."""
        return (self.fronts, self.tops, self.lefts)[-len(self.size) :]

    def _array(self) -> Map:
        return self.heat.values

    @cached_property
    def heat(self) -> HeatMap:
        """How much the probability drops when a pixel is covered.

        The value of a pixel is the mean over all occluders that cover it.
        """
        return HeatMap(
            values=_spread(self, self.probability - self.probabilities),
            layer="",
            target=self.target,
            probability=self.probability if self.measure == "probability" else None,
            score=self.probability,
            method="occlusion",
            caveats=self.caveats,
            size=self.size,
            image=self.image,
            source=self.source,
            fit=self.fit,
            mask=self.mask,
        )


def _spread(occlusion: OcclusionMap, values: Map) -> Map:
    """The mean of the values of all occluders that cover a pixel."""
    total, count = np.zeros((2, *occlusion.size))
    for place, starts in zip(np.ndindex(values.shape), product(*occlusion.starts), strict=True):
        box = tuple(
            slice(start, start + length)
            for start, length in zip(starts, occlusion.occluder, strict=True)
        )
        total[box] += values[place]
        count[box] += 1
    mean: Map = (total / np.maximum(count, 1)).astype(np.float32)
    return mean
