"""What it takes to optimise canvases: memory, and how the steps of a run compare."""

from collections.abc import Sequence
from math import prod

from retroscope.engine.batching import Size, pass_bytes
from retroscope.engine.memory import refuse_too_large
from retroscope.geometry import format_size
from retroscope.methods.synthesis.canvas_plan import CanvasPlan
from retroscope.methods.synthesis.canvas_view import last_step
from retroscope.methods.synthesis.recipes import Recipe
from retroscope.network import Network
from retroscope.progress import StagePart

_BYTES_PER_PIXEL = 100
"""About what a canvas and its transforms hold for each value of a pixel, as measured."""


def canvas_bytes(net: Network, plan: CanvasPlan, canvases: int) -> int:
    """About the memory that a step of so many canvases takes."""
    pixels = net.preprocessing.channels * prod(plan.size)
    return canvases * (_pass_bytes(net, plan, plan.size) + _BYTES_PER_PIXEL * pixels)


def refuse_large_canvas(net: Network, plan: CanvasPlan, canvases: int) -> None:
    """Raises if there is not enough memory for a step of so many canvases."""
    count = f"{canvases} times " if canvases > 1 else ""
    work = f"a pattern of {count}{format_size(plan.size)} pixels"
    refuse_too_large(canvas_bytes(net, plan, canvases), net.device, work=work, parameter="size")


def batch_lengths(count: int, size: int) -> list[int]:
    """How long the batches of so many patterns are.

    >>> batch_lengths(7, 3), batch_lengths(2, 3)
    ([3, 3, 1], [2])
    """
    return [min(size, count - start) for start in range(0, count, size)]


def step_parts(
    net: Network, plan: CanvasPlan, recipe: Recipe, batches: Sequence[int]
) -> list[StagePart]:
    """The steps of batches of so many patterns, by the size of their canvas."""
    steps = recipe.ascent.steps
    return [
        StagePart(f"{plan.steps} {size}", patterns * steps, _pass_bytes(net, plan, size))
        for patterns in batches
        for size in recipe.stage_sizes(*plan.size)
    ]


def _pass_bytes(net: Network, plan: CanvasPlan, size: Size) -> int:
    """What a canvas of this size takes up to the steps that the plan reads."""
    survey = net.survey()
    return pass_bytes(survey, last_step(survey, plan.steps), size)
