"""What a scan is of: which layers, and what must not change."""

from pathlib import Path

import pytest
import torch
from torch import nn

from retroscope.atlas.schema import Json
from retroscope.errors import RetroscopeError
from retroscope.methods.atlas_match import fingerprint
from retroscope.network import Network
from retroscope.scanning.layer_choice import network_layers
from retroscope.scanning.plan import (
    FACT_LABELS,
    ScanPlan,
)
from retroscope.scanning.size_limits import MAX_LAYER_BYTES, refuse_too_many_hits
from retroscope.scanning.sources import ImageList
from retroscope.scanning.statistics.sweep import Sweep
from tests.conftest import built
from tests.scanning.scans import MEAN, SIDE, STD, Tiny, network, tiny

NOTHING = ImageList(["a"], [-1], [], str)


def plan(net: Network, *, top: int = 9, batch_size: int = 4) -> ScanPlan:
    return ScanPlan(net, NOTHING, network_layers(net, "conv"), top=top, batch_size=batch_size)


def test_layers_come_once_and_in_running_order() -> None:
    net = tiny()
    for wanted in (["second", "first"], ["conv", "second", "conv*"], ["conv2", "conv1", "first"]):
        assert [layer.name for layer in network_layers(net, wanted)] == ["first", "second"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["frist"], "did you mean 'first'"),
        (["x*"], "no layer of tiny matches 'x.'.*retroscope layers tiny"),
        (["conv", "relu77"], "relu77"),
        ([], "no layers are named"),
    ],
)
def test_an_unknown_layer_is_refused_by_name(wanted: list[str], said: str) -> None:
    net = tiny()
    with pytest.raises(RetroscopeError, match=said):
        network_layers(net, wanted)


def test_a_network_without_convolutions_says_so() -> None:
    net = network(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2)), 8)
    said = r"tiny has no convolution; choose from linear1, \.\.\.; \"retroscope layers tiny\" lists"
    with pytest.raises(RetroscopeError, match=said):
        network_layers(net, ["conv"])


def test_more_hits_than_a_checkpoint_can_hold_are_refused_at_once() -> None:
    """Kept are a score, an image and a place, 8 bytes each, in three rankings, in one piece."""
    net = tiny()
    layers = network_layers(net, ["conv"])
    widest = max(layer.channels for layer in layers)
    with pytest.raises(RetroscopeError, match=r"a top of (\d+) or less") as caught:
        refuse_too_many_hits(10**8, layers)
    most = int(str(caught.value).split(" of ")[-1].split()[0])
    refuse_too_many_hits(most, layers)
    sweep = Sweep.empty(widest, top=1000)
    kept = sum(len(ranking.tobytes()) for ranking in sweep.to_arrays().values())
    rest = sum(
        len(ranking.tobytes()) for ranking in Sweep.empty(widest, top=0).to_arrays().values()
    )
    assert (kept - rest) * most / 1000 <= MAX_LAYER_BYTES < 1e9
    with pytest.raises(RetroscopeError, match="too many"):
        refuse_too_many_hits(most + 1, layers)


def test_the_fingerprint_changes_with_every_weight_and_buffer() -> None:
    def module() -> nn.Module:
        return built(lambda: nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)))

    seen = {fingerprint(module())}
    for name, tensor in module().state_dict().items():
        changed = module()
        flat = changed.state_dict()[name].view(-1)
        flat[-1] += 1
        assert tensor.shape == changed.state_dict()[name].shape
        seen.add(fingerprint(changed))
    assert len(seen) == 1 + len(module().state_dict())
    assert fingerprint(module()) in seen


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_fingerprint_is_of_any_kind_of_number(dtype: torch.dtype) -> None:
    half, whole = built(Tiny).to(dtype), built(Tiny)
    assert fingerprint(half) != fingerprint(whole)
    assert fingerprint(half) == fingerprint(built(Tiny).to(dtype))


def test_the_fingerprint_does_not_see_how_weights_lie_in_memory() -> None:
    laid_out = built(Tiny).to(memory_format=torch.channels_last)
    assert fingerprint(laid_out) == fingerprint(built(Tiny))


@pytest.mark.parametrize("key", FACT_LABELS)
def test_an_error_names_the_fact_that_changed_and_what_to_do(key: str) -> None:
    scan_plan = plan(tiny())
    scan_plan.refuse_change(scan_plan.facts(), "a.atlas")
    with pytest.raises(RetroscopeError) as caught:
        scan_plan.refuse_change({**scan_plan.facts(), key: "other"}, "a.atlas")
    assert FACT_LABELS[key] in str(caught.value)
    assert "'a.atlas'" in str(caught.value)
    assert caught.value.parameter == "restart"


def test_an_error_names_all_facts_that_changed() -> None:
    with pytest.raises(RetroscopeError, match="the weights of the model and the number of hits"):
        plan(tiny(seed=1), top=3).refuse_change(plan(tiny()).facts(), str(Path("a")))


def test_the_batch_size_may_change() -> None:
    plan(tiny(), batch_size=1).refuse_change(plan(tiny()).facts(), "a.atlas")


def test_the_preprocessing_is_recorded_as_json() -> None:
    assert plan(tiny()).facts()["preprocessing"] == {
        "size": [SIDE, SIDE],
        "mode": "network",
        "shorter": None,
        "resample": "bilinear",
        "mean": list(MEAN),
        "std": list(STD),
    }


TEXT = (
    "Preprocessing(fit=Fit(size=(24, 24), mode='network', shorter=None, resample='bilinear'), "
    "mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))"
)
"""As the first atlases recorded it."""


def test_a_preprocessing_recorded_as_text_is_still_recognised() -> None:
    facts: dict[str, Json] = {**plan(tiny()).facts(), "preprocessing": TEXT}
    plan(tiny()).refuse_change(facts, "a.atlas")
    facts["preprocessing"] = TEXT.replace("0.4", "0.41")
    with pytest.raises(RetroscopeError, match="the preprocessing changed;"):
        plan(tiny()).refuse_change(facts, "a.atlas")


class WithState(Tiny):
    """A network that saves a value of its own beside its weights."""

    def __init__(self, state: object) -> None:
        super().__init__()
        self.state = state

    def get_extra_state(self) -> object:
        return self.state


def fingerprint_with(state: object) -> str:
    return fingerprint(built(lambda: WithState(state)))


def quantised(number: float) -> torch.Tensor:
    scales, zero_points = torch.ones(2), torch.zeros(2, dtype=torch.int64)
    return torch.quantize_per_channel(
        torch.full((2,), float(number)), scales, zero_points, 0, torch.qint8
    )


@pytest.mark.parametrize(
    "state",
    [
        *("a text", 3, None, torch.float16, {"amax": [torch.ones(3), (1, 2)]}),
        *(torch.eye(3).to_sparse(), torch.tensor(2.0)),
    ],
    ids=str,
)
def test_a_scan_takes_networks_that_save_more_than_weights(state: object) -> None:
    first, second, different = map(fingerprint_with, (state, state, "another"))
    assert first == second != different


@pytest.mark.filterwarnings("ignore:torch.quantize_per")
def test_the_fingerprint_changes_with_the_numbers_and_the_scale_of_int8_weights() -> None:
    with_one, with_two = quantised(1), quantised(2)
    per_tensor = [
        torch.quantize_per_tensor(torch.ones(2), scale, 0, torch.qint8) for scale in (1.0, 0.5)
    ]
    states = [with_one, with_two, *per_tensor]
    assert len(set(map(fingerprint_with, states))) == len(states)


def test_the_fingerprint_does_not_depend_on_an_objects_address() -> None:
    """An object of an unknown class counts by its class: its `repr` may have its address."""
    assert fingerprint_with(object()) == fingerprint_with(object())
