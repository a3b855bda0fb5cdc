"""What a scan is of: which layers, and what must not change."""

from pathlib import Path

import pytest
import torch
from torch import nn

from retroscope.errors import RetroscopeError
from retroscope.methods.atlas_match import fingerprint
from retroscope.network import Network
from retroscope.scanning.plan import (
    BYTES_OF_LAYER,
    WORDS,
    Plan,
    chosen,
    refuse_change,
    refuse_too_many_hits,
)
from retroscope.scanning.sources import Pictures
from retroscope.scanning.statistics.sweep import Sweep
from tests.conftest import built
from tests.scanning.scans import Tiny, network, tiny

NOTHING = Pictures(["a"], [-1], [], str)


def facts(net: Network, *, top: int = 9, batch_size: int = 4) -> dict[str, object]:
    layers = chosen(net.layers, ["conv"], net)
    return {**Plan(net, NOTHING, layers, top=top, batch_size=batch_size).facts()}


def test_layers_come_once_and_in_running_order() -> None:
    net = tiny()
    for wanted in (["second", "first"], ["conv", "second", "conv*"], ["conv2", "conv1", "first"]):
        assert [layer.name for layer in chosen(net.layers, wanted, net)] == ["first", "second"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["frist"], "did you mean 'first'"),
        (["x*"], "no layer of tiny matches 'x.'.*retroscope layers tiny"),
        (["conv", "relu77"], "relu77"),
        ([], "no layers are asked for"),
    ],
)
def test_a_layer_that_there_is_not_is_named(wanted: list[str], said: str) -> None:
    net = tiny()
    with pytest.raises(RetroscopeError, match=said):
        chosen(net.layers, wanted, net)


def test_a_network_without_convolutions_says_so() -> None:
    net = network(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2)), 8)
    said = r"tiny runs no convolution; choose with --layers \(linear1, \.\.\.\)"
    with pytest.raises(RetroscopeError, match=said):
        chosen(net.layers, ["conv"], net)


def test_what_is_gathered_of_a_layer_is_refused_at_once_where_it_could_not_be_kept() -> None:
    """Kept are a score, an image and a place, 8 bytes each, in two rankings, in one piece."""
    net = tiny()
    layers = chosen(net.layers, ["conv"], net)
    widest = max(layer.channels for layer in layers)
    with pytest.raises(RetroscopeError, match=r"a top \(--top\) of (\d+) or less") as caught:
        refuse_too_many_hits(10**8, layers)
    most = int(str(caught.value).split(" of ")[-1].split()[0])
    refuse_too_many_hits(most, layers)
    sweep = Sweep.empty(widest, top=1000)
    kept = sum(len(ranking.tobytes()) for ranking in sweep.arrays().values())
    rest = sum(len(ranking.tobytes()) for ranking in Sweep.empty(widest, top=0).arrays().values())
    assert (kept - rest) * most / 1000 <= BYTES_OF_LAYER < 1e9
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


@pytest.mark.parametrize("key", WORDS)
def test_whatever_changed_is_said_and_what_to_do(key: str) -> None:
    asked = facts(tiny())
    refuse_change(asked, asked, "a.atlas")
    with pytest.raises(RetroscopeError) as caught:
        refuse_change({**asked, key: "other"}, asked, "a.atlas")
    assert WORDS[key] in str(caught.value)
    assert "'a.atlas'" in str(caught.value)
    assert "--restart" in str(caught.value)


def test_all_that_changed_is_said_at_once() -> None:
    with pytest.raises(RetroscopeError, match="the weights of the model and the number of hits"):
        refuse_change(facts(tiny()), facts(tiny(seed=1), top=3), str(Path("a")))


def test_how_many_run_at_once_may_change() -> None:
    refuse_change(facts(tiny()), facts(tiny(), batch_size=1), "a.atlas")
