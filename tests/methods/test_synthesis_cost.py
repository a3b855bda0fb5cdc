"""What a synthesis will take is known at its first step, or it is refused before."""

import pytest
import torch
from torch import nn

from retroscope.engine import memory
from retroscope.errors import RetroscopeError
from retroscope.methods.synthesis.render_patterns import SynthesisStep
from retroscope.methods.synthesis.synthesize import synthesize, synthesize_many
from retroscope.network import Network
from tests.conftest import built


def network() -> Network:
    layers = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1)
    return Network(built(lambda: nn.Sequential(*layers)), input_size=(32, 32))


def steps_of(units: list[str], **options: object) -> list[SynthesisStep]:
    steps: list[SynthesisStep] = []
    synthesize_many(network(), units, progress=steps.append, **options)  # type: ignore[arg-type]
    return steps


def test_the_parts_of_a_synthesis_are_all_its_steps() -> None:
    for recipe in ("plain", "octaves"):
        first, *_ = steps_of(["0:1", "0:2", "2:3"], recipe=recipe, steps=2, size=64)
        assert sum(part.items for part in first.parts) == first.total


def test_steps_on_larger_canvases_and_to_deeper_layers_cost_more() -> None:
    growing, *_ = steps_of(["0:1"], recipe="octaves", steps=1, size=200)
    costs = [part.cost for part in growing.parts]
    assert costs == sorted(costs)
    areas = (200 / 56) ** 2
    assert costs[-1] / costs[0] == pytest.approx(areas)
    layers, *_ = steps_of(["0:1", "2:3"], steps=1, size=64)
    shallow, deep = (part.cost for part in layers.parts)
    assert deep > shallow


def test_the_memory_grows_with_the_area_and_the_copies() -> None:
    def needed(size: int) -> int:
        return steps_of(["2:1"], steps=1, size=size)[0].memory_bytes

    assert needed(128) == pytest.approx(4 * needed(64), rel=1e-3)
    assert needed(64) > 4 * 64 * 64 * (3 + 6 + 6 + 4), "all maps are held for the way back"


def test_a_pattern_that_does_not_fit_in_memory_is_refused_before_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, steps = network(), list[SynthesisStep]()
    monkeypatch.setattr(memory, "available_memory", lambda _: 2_000_000)
    with pytest.raises(RetroscopeError, match=r"512x512 pixels needs about .* smaller size") as no:
        synthesize(net, "0:1", size=512, steps=1, progress=steps.append)
    assert no.value.parameter == "size"
    assert not steps
    assert (3, 512, 512) not in net._surveys, "not even a survey of that size"
    assert synthesize(net, "0:1", size=16, steps=1).size == (16, 16)
    assert torch.is_grad_enabled()
