"""What is said: the name of what was asked for, and one line for what cannot be made."""

from collections.abc import Callable

import pytest
import torch

from retroscope.errors import RetroscopeError, UnitError
from retroscope.methods.synthesis.objective import Objective, diverse, excite, of_class, towards
from retroscope.methods.synthesis.synthesize import synthesize, synthesize_varied
from retroscope.network import Network
from tests.methods.planted import planted

WRONG: dict[str, tuple[Callable[[Network], object], type[RetroscopeError], str]] = {
    "recipe": (lambda net: synthesize(net, "first:0", recipe="olaf"), RetroscopeError, "'olah'"),
    "steps": (lambda net: synthesize(net, "first:0", steps=0), RetroscopeError, "1 or more"),
    "size": (lambda net: synthesize(net, "first:0", size=0), RetroscopeError, "1 or more"),
    "layer": (lambda net: synthesize(net, "frist:0"), UnitError, "did you mean 'first'"),
    "channel": (lambda net: synthesize(net, "first:9"), UnitError, "it has 5, 0 to 4"),
    "place": (lambda net: synthesize(net, "first:0@99,0"), UnitError, "31x31"),
    "placed": (lambda net: synthesize(net, "first:0@1,1", size=9), UnitError, "leave the size"),
    "class": (lambda net: synthesize(net, of_class("cow")), RetroscopeError, "no class 'cow'"),
    "many": (lambda net: synthesize_varied(net, "first:0", 0), RetroscopeError, "1 or more"),
    "vary": (lambda net: synthesize_varied(net, of_class(0), 2), RetroscopeError, "needs a unit"),
    "short": (lambda net: synthesize(net, towards("later", (1,))), RetroscopeError, "4 channels"),
    "places": (
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
    "nothing": (lambda net: synthesize(net, Objective(())), RetroscopeError, "without terms"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_said_in_one_line(case: str) -> None:
    ask, kind, words = WRONG[case]
    with pytest.raises(kind, match=words) as caught:
        ask(planted())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), MemoryError()])
def test_a_canvas_that_memory_cannot_hold_is_said_to_be_one(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("retroscope.methods.synthesis.generation.site_of", full)
    with pytest.raises(RetroscopeError, match="give a smaller size"):
        synthesize(planted(), "first:0", size=100_000)


def test_another_fault_of_torch_is_not_taken_for_a_lack_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr("retroscope.methods.synthesis.generation.site_of", broken)
    with pytest.raises(RuntimeError, match="something else"):
        synthesize(planted(), "first:0")


def test_objectives_read_as_they_are_written() -> None:
    text = str(-excite("a:1") + 0.5 * of_class("dog") - 2 * diverse("b"))
    assert text == "-a:1 + 0.5 x class dog - 2 x diversity of b"
    assert excite("a:1").unit is not None
    assert (excite("a:1") + diverse("a")).unit == excite("a:1").unit
    assert (-excite("a:1")).unit is None
    assert (excite("a:1") + excite("a:2")).unit is None


@pytest.mark.parametrize("target", [1, "1", "dog", "DOG"])
def test_a_class_is_called_by_its_label_however_it_was_asked_for(target: str | int) -> None:
    objective = 2 * of_class(target) - excite("later:1@*")
    pattern = synthesize(planted(), objective, steps=1)
    assert pattern.objective == "2 x class dog - later:1@*"


def test_a_class_without_a_label_is_called_by_its_number() -> None:
    net = Network(planted().module, input_size=(32, 32))
    assert synthesize(net, of_class("2"), steps=1).objective == "class 2"
