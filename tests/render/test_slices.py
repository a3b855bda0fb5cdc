"""Figures of volumes and signals: slices side by side, each as the slice of the result itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import retroscope as rs
from retroscope.geometry import Box, Field, ReceptiveField
from retroscope.render.draw import draw
from retroscope.render.slices import choose_slices, flatten_heat, flatten_projection
from retroscope.render.tone import apply_tone
from retroscope.results.layers import Layer
from retroscope.results.projections import Activations, Projection

DEPTH, HEIGHT, WIDTH = 5, 6, 7


@pytest.fixture
def projection() -> Projection:
    dice = np.random.default_rng(0)
    pixels = dice.normal(size=(DEPTH, HEIGHT, WIDTH, 1)).astype(np.float32)
    patch = dice.integers(0, 256, (DEPTH, HEIGHT, WIDTH, 3), np.uint8)
    box = Box(1, 2, 1 + HEIGHT, 2 + WIDTH, 3, 3 + DEPTH)
    unit = rs.Unit("conv", 2, (1, 1, 1))
    return Projection(unit, 0.5, box, pixels, "gradient", (12, 20, 20), patch)


@given(st.lists(st.floats(0, 9), min_size=1, max_size=40), st.integers(1, 9))
def test_few_slices_are_chosen_with_the_strongest_among_them(
    strengths: list[float], most: int
) -> None:
    chosen = choose_slices(np.array(strengths), most)
    assert len(chosen) == min(most, len(strengths)) == len(set(chosen))
    assert list(chosen) == sorted(chosen)
    assert strengths[chosen[int(np.argmax([strengths[n] for n in chosen]))]] == max(strengths)


def test_a_view_of_a_projection_shows_each_slice_with_gaps(projection: Projection) -> None:
    flat, slices = flatten_projection(projection)
    assert slices == tuple(range(DEPTH))
    figure = np.asarray(draw(projection, view="projection"))
    assert figure.shape == (HEIGHT, DEPTH * WIDTH + DEPTH - 1, 3)
    toned = apply_tone(flat.pixels)
    for number in slices:
        left, start = number * (WIDTH + 1), number * WIDTH
        assert np.array_equal(figure[:, left : left + WIDTH], toned[:, start : start + WIDTH])
        expected = projection.slice(3 + number).pixels
        assert np.array_equal(flat.pixels[:, start : start + WIDTH], expected)
    assert (figure[:, WIDTH] == 255).all()


def test_the_lit_patch_of_a_volume_is_lit_in_depth(projection: Projection) -> None:
    figure = np.asarray(draw(projection, view="lit"))
    lit = projection.lit()
    assert np.array_equal(figure[:, :WIDTH], lit[0])
    assert np.array_equal(figure[:, -WIDTH:], lit[-1])


def test_a_slice_outside_of_the_box_is_empty(projection: Projection) -> None:
    assert not projection.slice(0).pixels.any()
    assert projection.slice(0).patch is None
    full = projection.full()
    for z in range(12):
        assert np.array_equal(projection.slice(z).full(), full[z])


def test_heat_of_a_volume_is_drawn_slice_by_slice() -> None:
    values = np.random.default_rng(1).uniform(size=(3, 4, 5)).astype(np.float32)
    heat = rs.HeatMap(values, "conv", rs.Target(0), 0.5, 1.0, "gradcam", (), (6, 8, 10))
    flat, slices = flatten_heat(heat)
    assert slices == tuple(range(6))
    for number in slices:
        start = number * 10
        assert np.array_equal(flat.values[:, start : start + 10], heat.slice(number).values)
    assert draw(heat).size[0] > draw(heat, bare=True).size[0] == 6 * 10 + 5


def test_a_signal_is_drawn_as_a_band() -> None:
    pixels = np.random.default_rng(2).normal(size=(30, 1)).astype(np.float32)
    box, unit = Box(0, 4, 1, 34), rs.Unit("conv", 0, (3,))
    projection = Projection(unit, 1.0, box, pixels, "gradient", (90,))
    figure = np.asarray(draw(projection, view="projection"))
    assert figure.shape == (8, 30, 3)
    assert (figure == figure[:1]).all()
    assert draw(projection).size[0] > 30


def test_maps_of_a_volume_are_those_of_its_strongest_slice() -> None:
    maps = np.random.default_rng(3).uniform(size=(4, 3, 6, 6)).astype(np.float32)
    maps[2, 1, 4, 4] = 9
    axis = Field(3)
    layer = Layer("conv", "conv", 4, (3, 6, 6), ReceptiveField(axis, axis, z=axis))
    flat = Layer("conv", "conv", 4, (6, 6), ReceptiveField(axis, axis))
    volume, image = draw(Activations(layer, maps)), draw(Activations(flat, maps[:, 1]))
    assert volume.size[0] == image.size[0]
    assert np.array_equal(np.asarray(volume)[-60:], np.asarray(image)[-60:])
