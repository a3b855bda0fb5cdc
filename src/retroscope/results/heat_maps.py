"""Heat maps and occlusion maps: where in an image the evidence for a class is."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import Fit, resize_array
from retroscope.results.display import ArrayResult
from retroscope.results.projections import Pixels
from retroscope.unit import Unit

Map = npt.NDArray[np.float32]
"""Height, width."""

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


@dataclass(frozen=True)
class Target:
    """A class: its index in the network's output, and its label if it has one.

    >>> str(Target(281, "tabby")), str(Target(281))
    ('tabby', 'class 281')
    """

    index: int
    label: str = ""

    def __str__(self) -> str:
        return self.label or f"class {self.index}"


@dataclass(frozen=True)
class Prediction:
    """A class, and the probability that the network gives it."""

    target: Target
    probability: float


@dataclass(frozen=True, eq=False, repr=False)
class HeatMap(ArrayResult):
    """Where in an image the evidence for a class, or for a unit, is.

    `values` have the layer's resolution, or that of the image if there is no `layer`. `pixels` is
    signed, in the space of the network's input, for methods that attribute every pixel. The
    `probability` is None for a unit. As an array or a tensor it is `values`; `full()` has the size
    of the image.
    """

    values: Map
    layer: str
    target: Target | Unit
    probability: float | None
    score: float
    method: str
    caveats: tuple[str, ...]
    size: tuple[int, int]
    pixels: Pixels | None = None
    image: RGB | None = None
    source: str = ""
    fit: Fit | None = None
    notes: tuple[str, ...] = ()

    def resize(self, height: int, width: int) -> Map:
        """The values at another size, interpolated between the centres of positions.

        >>> heat = HeatMap(
        ...     np.float32([[0, 4]]), "conv5", Target(0), 0.5, 1.0, "gradcam", (), (2, 4)
        ... )
        >>> heat.resize(1, 4).tolist()
        [[0.0, 1.0, 3.0, 4.0]]
        """
        return resize_array(self.values, (height, width))

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


@dataclass(frozen=True, eq=False, repr=False)
class OcclusionMap(ArrayResult):
    """The network's response while an occluder covers each position (Zeiler & Fergus, Fig. 7).

    For each position of the occluder, in rows and columns: the probability of the target, the most
    probable class, and the total activation of the map that is strongest in the clean image (None
    for a network without maps). `tops` and `lefts` are the occluder's positions; the last ones are
    moved in to the border. As an array or a tensor it is `heat.values`: the loss at every pixel.
    """

    probabilities: Map
    classes: npt.NDArray[np.int64]
    activations: Map | None
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    occluder: tuple[int, int]
    fill: str
    target: Target
    probability: float
    unit: Unit | None
    activation: float
    class_names: tuple[Target, ...]
    caveats: tuple[str, ...]
    size: tuple[int, int]
    image: RGB | None = None
    source: str = ""
    fit: Fit | None = None
    notes: tuple[str, ...] = ()

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
            probability=self.probability,
            score=self.probability,
            method="occlusion",
            caveats=self.caveats,
            size=self.size,
            image=self.image,
            source=self.source,
            fit=self.fit,
        )


def _spread(occlusion: OcclusionMap, values: Map) -> Map:
    """The mean of the values of all occluders that cover a pixel."""
    total, count = np.zeros((2, *occlusion.size))
    height, width = occlusion.occluder
    for row, top in enumerate(occlusion.tops):
        for column, left in enumerate(occlusion.lefts):
            box = slice(top, top + height), slice(left, left + width)
            total[box] += values[row, column]
            count[box] += 1
    return (total / np.maximum(count, 1)).astype(np.float32)
