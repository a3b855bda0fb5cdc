"""Every shape of network that the engine must be right about, by name.

>>> from tests.reference.programs import Tape, one_unit
>>> shape = SHAPES["vgg"]
>>> net, tape = shape.build(0), Tape()
>>> nodes = shape.program(net, tape, shape.image(0))
>>> unit = one_unit(nodes["10"].value, (5, 2, 1))
>>> tape.project(nodes["10"], unit, "deconvnet").shape
(3, 17, 14)
"""

from tests.reference.graph_shapes import GRAPH_SHAPES
from tests.reference.making import Shape
from tests.reference.relu_shapes import RELU_SHAPES
from tests.reference.window_shapes import WINDOW_SHAPES

__all__ = ["SHAPES", "Shape"]

SHAPES: dict[str, Shape] = {**RELU_SHAPES, **GRAPH_SHAPES, **WINDOW_SHAPES}
