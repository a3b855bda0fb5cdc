"""Results as arrays and tensors."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from retroscope.results.display import ArrayResult
from retroscope.results.heat_maps import HeatMap, OcclusionMap, Target
from retroscope.results.patterns import Pattern
from retroscope.results.plates import Patch
from retroscope.results.projections import Filters, Projection
from tests.render.specimens import activations, blobs, layers, plate, projection
from tests.render.test_pattern_figures import pattern


def heat_map() -> HeatMap:
    """A heat map of 5 by 7 positions."""
    return HeatMap(blobs(1, 5, 7)[0], "conv5", Target(0), 0.5, 1.0, "gradcam", (), (50, 70))


def filters() -> Filters:
    """Two filters of 3 by 5 pixels."""
    return Filters(layers(1)[0], blobs(2, 15, 3).reshape(2, 3, 5, 3))


def occlusion() -> OcclusionMap:
    """Two by three positions of an occluder."""
    probabilities = np.array([[0.2, 0.5, 0.9], [0.1, 0.4, 0.8]], np.float32)
    return OcclusionMap(
        probabilities,
        np.zeros((2, 3), np.int64),
        None,
        tops=(0, 4),
        lefts=(0, 4, 8),
        occluder=(6, 6),
        fill="grey",
        target=Target(0),
        probability=0.9,
        unit=None,
        activation=0.0,
        class_names=(Target(0),),
        caveats=(),
        size=(10, 14),
    )


def examples() -> list[tuple[ArrayResult, Any]]:
    """Each result and the array that it stands for."""
    maps, heat, projected = activations(blobs(3, 4, 5)), heat_map(), projection()
    first, occluded = filters(), occlusion()
    patch, drawn = plate().patches[0], pattern()
    return [
        *((maps, maps.maps), (heat, heat.values), (projected, projected.full())),
        *((first, first.weights), (occluded, occluded.heat.full())),
        *((patch, patch.pixels), (drawn, drawn.image)),
    ]


CHANNEL_AXES = {Projection: (2, 0), Filters: (3, 1), Patch: (2, 0), Pattern: (2, 0)}


@pytest.mark.parametrize("index", range(7))
def test_numpy_takes_a_result_for_its_array(index: int) -> None:
    result, array = examples()[index]
    np.testing.assert_array_equal(np.asarray(result), array)
    assert np.asarray(result, np.float64).dtype == np.float64
    assert np.isclose(np.mean(np.asarray(result)), array.mean())


@pytest.mark.parametrize("index", range(7))
def test_a_tensor_is_a_copy_of_the_array_with_the_channels_first(index: int) -> None:
    result, array = examples()[index]
    tensor = result.to_tensor()
    expected = np.moveaxis(array, *CHANNEL_AXES.get(type(result), (0, 0)))
    is_image = isinstance(result, Patch | Pattern)
    assert tensor.dtype == (torch.uint8 if is_image else torch.float32)
    np.testing.assert_array_equal(tensor.numpy(), expected)
    tensor.zero_()
    assert np.asarray(result).any()


def test_a_projection_as_a_tensor_has_the_shape_of_the_networks_input() -> None:
    example = projection()
    assert example.to_tensor().shape == (3, *example.size)


def test_copying_is_up_to_numpy() -> None:
    maps = activations(blobs(3, 4, 5))
    assert np.shares_memory(np.array(maps, copy=False), maps.maps)
    assert not np.shares_memory(np.array(maps), maps.maps)


def test_results_are_arrays_without_torch() -> None:
    code = (
        "import sys, numpy as np; from retroscope.results.heat_maps import HeatMap, Target;"
        "h = HeatMap(np.ones((2, 2), np.float32), '', Target(0), .5, 1., '', (), (2, 2));"
        "assert np.asarray(h).sum() == 4 and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
