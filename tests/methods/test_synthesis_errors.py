"""Objective names, and one-line errors for patterns that cannot be made."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from retroscope.errors import ModelError, RetroscopeError, UnitError
from retroscope.methods.synthesis.objectives import (
    Objective,
    diversity,
    excite,
    excite_class,
    excite_direction,
    excite_output,
)
from retroscope.methods.synthesis.recipes import ZOOM, Opacity
from retroscope.methods.synthesis.synthesize import synthesize, synthesize_varied
from retroscope.network import Network
from tests.methods.localisers import faster_rcnn, network
from tests.methods.planted import planted

INVALID_CALLS: dict[str, tuple[Callable[[Network], object], type[RetroscopeError], str]] = {
    "recipe": (lambda net: synthesize(net, "first:0", recipe="olaf"), RetroscopeError, "'olah'"),
    "steps": (lambda net: synthesize(net, "first:0", steps=0), RetroscopeError, "1 or more"),
    "size": (lambda net: synthesize(net, "first:0", size=0), RetroscopeError, "1 or more"),
    "layer": (lambda net: synthesize(net, "frist:0"), UnitError, "did you mean 'first'"),
    "channel": (lambda net: synthesize(net, "first:9"), UnitError, "it has 5, 0 to 4"),
    "position": (lambda net: synthesize(net, "first:0@99,0"), UnitError, "31x31"),
    "position and size": (
        lambda net: synthesize(net, "first:0@1,1", size=9),
        UnitError,
        "leave out the size",
    ),
    "class": (lambda net: synthesize(net, excite_class("cow")), RetroscopeError, "no class 'cow'"),
    "box": (
        lambda net: synthesize(net, excite_class("box:1")),
        RetroscopeError,
        r"'box:1' is what a detector finds in an image, and a pattern begins as noise; give a unit",
    ),
    "detector": (
        lambda _: synthesize(network(faster_rcnn), excite_class("cat"), size=48),
        ModelError,
        r"faster_rcnn is a detector, which scores a class only where it finds a box; give a unit",
    ),
    "no path": (
        lambda net: synthesize(net, excite_output("dog")),
        RetroscopeError,
        r"'dog' is not a number among the outputs; give a path such as output\[0\]\[3\]",
    ),
    "broken path": (
        lambda net: synthesize(net, excite_output("output[0")),
        RetroscopeError,
        "a path has a key or an index in each pair of brackets",
    ),
    "path to nothing": (
        lambda net: synthesize(net, excite_output("output[0, 99]")),
        ModelError,
        r"no 99 in output\[0\] of .*; give an index from 0 to",
    ),
    "function without a gradient": (
        lambda net: synthesize(net, excite_output(lambda output: output.detach()[0, 1])),
        ModelError,
        "no gradient leads back from here",
    ),
    "function that fails": (
        lambda net: synthesize(net, excite_output(lambda output: output["logits"])),
        RetroscopeError,
        "the target a function fails on the outputs, a tensor of",
    ),
    "count": (lambda net: synthesize_varied(net, "first:0", 0), RetroscopeError, "1 or more"),
    "diversity": (
        lambda net: synthesize_varied(net, excite_class(0), 2),
        RetroscopeError,
        "needs a unit",
    ),
    "direction": (
        lambda net: synthesize(net, excite_direction("later", (1,))),
        RetroscopeError,
        "4 channels",
    ),
    "positions": (
        lambda net: synthesize(net, excite("first:0@1,1") + excite("first:1@2,2")),
        UnitError,
        "different positions",
    ),
    "seed": (lambda net: synthesize(net, "first:0", seed=-(10**19)), RetroscopeError, "18 digits"),
    "seeds": (
        lambda net: synthesize_varied(net, "first:0", 2, seed=10**18 - 1),
        RetroscopeError,
        "no seed 1000000000000000000",
    ),
    "contrast and alpha": (
        lambda _: replace(ZOOM, opacity=Opacity.ALPHA_CHANNEL),
        RetroscopeError,
        "leave one of them out",
    ),
    "no terms": (lambda net: synthesize(net, Objective(())), RetroscopeError, "without terms"),
}


@pytest.mark.parametrize("case", INVALID_CALLS)
def test_an_invalid_call_raises_a_one_line_error(case: str) -> None:
    call, error, message = INVALID_CALLS[case]
    with pytest.raises(error, match=message) as caught:
        call(planted())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), MemoryError()])
def test_running_out_of_memory_suggests_a_smaller_size(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def run_out_of_memory(*_: object) -> None:
        raise error

    monkeypatch.setattr(
        "retroscope.methods.synthesis.render_patterns.plan_canvas", run_out_of_memory
    )
    with pytest.raises(RetroscopeError, match="give a smaller size"):
        synthesize(planted(), "first:0", size=100_000)


def test_other_runtime_errors_are_not_reported_as_out_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr("retroscope.methods.synthesis.render_patterns.plan_canvas", fail)
    with pytest.raises(RuntimeError, match="something else"):
        synthesize(planted(), "first:0")


def test_objectives_print_as_they_are_written() -> None:
    text = str(-excite("a:1") + 0.5 * excite_class("dog") - 2 * diversity("b"))
    assert text == "-a:1 + 0.5 x class dog - 2 x diversity of b"
    assert excite("a:1").unit is not None
    assert (excite("a:1") + diversity("a")).unit == excite("a:1").unit
    assert (-excite("a:1")).unit is None
    assert (excite("a:1") + excite("a:2")).unit is None


@pytest.mark.parametrize("target", [1, "1", "dog", "DOG"])
def test_a_class_is_named_by_its_label_however_it_was_given(target: str | int) -> None:
    objective = 2 * excite_class(target) - excite("later:1@*")
    pattern = synthesize(planted(), objective, steps=1)
    assert pattern.objective == "2 x class dog - later:1@*"


def test_a_class_without_a_label_is_named_by_its_number() -> None:
    net = Network(planted().module, input_size=(32, 32))
    assert synthesize(net, excite_class("2"), steps=1).objective == "class 2"
