"""One picture explained: the classes, and which units are called unusual, and why."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retroscope.errors import RetroscopeError, UnitError
from retroscope.methods.activations import activations
from retroscope.methods.atlas_match import fingerprint
from retroscope.methods.cam.cam import cam
from retroscope.methods.deconv.deconv import deconv
from retroscope.methods.explain import explain, last_convolutions
from retroscope.methods.rarity import rarity
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.results.statistics import HISTOGRAM_EDGES, ChannelStats
from retroscope.unit import Unit
from tests.conftest import built, no_trace, numbers

SIZE = (20, 18)


def small() -> nn.Module:
    body = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()]
    deep = [nn.MaxPool2d(2), nn.Conv2d(8, 10, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*body, *deep, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 7))


@pytest.fixture
def net() -> Network:
    labels = [f"kind {n}" for n in range(7)]
    return Network(built(small), input_size=SIZE, labels=labels, name="small")


def picture(seed: int = 0) -> Tensor:
    return numbers(3, *SIZE, seed=seed).float()


def stats_of(maxima: np.ndarray[tuple[int], np.dtype[np.float64]]) -> ChannelStats:
    """What a scan keeps of a channel with these maxima."""
    return ChannelStats(
        images=len(maxima),
        positions=9 * len(maxima),
        mean=0.0,
        std=1.0,
        maximum=float(maxima.max()),
        fired_images=int((maxima > 0).sum()),
        fired_positions=0,
        non_finite=0,
        histogram=np.bincount(np.searchsorted(HISTOGRAM_EDGES, maxima), minlength=64),
    )


class Scanned:
    """An atlas of other pictures, so much of it as an explanation asks."""

    def __init__(self, net: Network, layers: tuple[str, ...], pictures: int = 40) -> None:
        self.layers = tuple(net.layer(name) for name in layers)
        self.meta: dict[str, object] = {"model": net.name, "weights": fingerprint(net.module)}
        self.maxima: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
        for layer in self.layers:
            seen = [activations(net, layer.name, picture(seed + 1)) for seed in range(pictures)]
            self.maxima[layer.name] = np.array(
                [one.maps.max(axis=(1, 2)) for one in seen], np.float64
            )

    def stats(self, unit: Unit | str) -> ChannelStats:
        assert isinstance(unit, Unit)
        return stats_of(self.maxima[unit.layer][:, unit.channel or 0])


def test_the_five_most_probable_classes_come_first(net: Network) -> None:
    told = explain(net, picture())
    with torch.no_grad():
        shares = net.module(picture()[None]).softmax(dim=1)[0].numpy()
    best = sorted(range(7), key=lambda index: -shares[index])[:5]
    assert [one.target.index for one in told.predictions] == best
    assert [one.target.label for one in told.predictions] == [f"kind {index}" for index in best]
    found = [one.probability for one in told.predictions]
    np.testing.assert_allclose(found, shares[best], atol=1e-6)


def test_the_heat_is_that_of_the_class(net: Network) -> None:
    for target in (None, 3):
        told = explain(net, picture(), target=target, method="hirescam")
        expected = cam(net, picture(), target=target, method="hirescam")
        np.testing.assert_array_equal(told.heat.values, expected.values)
        assert told.heat.target == expected.target


def test_the_layers_are_the_last_convolutions_of_each_size(net: Network) -> None:
    told = explain(net, picture())
    assert [finding.layer.name for finding in told.findings] == ["2", "5"]
    assert [layer.name for layer in last_convolutions(net.layers)] == ["2", "5"]


def test_what_is_to_be_known_of_the_network_is_told_with_the_page() -> None:
    net = Network(built(small), input_size=SIZE, remarks=["random weights, seed 0"])
    assert explain(net, picture(), top=1).remarks == ("random weights, seed 0",)


def test_the_path_of_an_atlas_is_told_how_it_is_opened(net: Network) -> None:
    path: Any = "w.atlas"
    with pytest.raises(RetroscopeError, match=r"^'w.atlas' is not an Atlas; .*rs.open_atlas\('w.a"):
        explain(net, picture(), atlas=path)


def test_layers_may_be_those_of_the_list(net: Network) -> None:
    told = explain(net, picture(), layers=net.layers[:1], top=1)
    assert [finding.layer for finding in told.findings] == [net.layers[0]]


def test_layers_may_be_named(net: Network) -> None:
    told = explain(net, picture(), layers=["conv1", "4"], top=2)
    assert [finding.layer.name for finding in told.findings] == ["0", "4"]
    assert [len(finding.units) for finding in told.findings] == [2, 2]


def test_without_an_atlas_the_peak_that_stands_out_most_comes_first(net: Network) -> None:
    (finding,) = explain(net, picture(), layers=["conv3"], top=3).findings
    maps = activations(net, "conv3", picture()).maps.reshape(10, -1).astype(np.float64)
    contrast = (maps.max(axis=1) - maps.mean(axis=1)) / maps.std(axis=1)
    firing = [channel for channel in range(10) if maps[channel].max() > 0]
    expected = sorted(firing, key=lambda channel: -contrast[channel])[:3]
    assert [one.unit.channel for one in finding.units] == expected
    for one in finding.units:
        assert one.contrast == pytest.approx(contrast[one.unit.channel or 0])
        assert one.rarity is None
        assert one.activation == pytest.approx(maps[one.unit.channel or 0].max())


def test_with_an_atlas_the_rarest_comes_first(net: Network) -> None:
    atlas = Scanned(net, ("2", "5"))
    image = picture() * 1.2
    (_, finding) = explain(net, image, atlas=atlas, top=10).findings
    peaks = activations(net, "5", image).maps.max(axis=(1, 2))
    shares = [one.rarity for one in finding.units]
    assert None not in shares
    assert shares == sorted(shares, key=lambda share: share or 0.0)
    for one in finding.units:
        channel = one.unit.channel or 0
        exact = (atlas.maxima["5"][:, channel] >= peaks[channel]).mean()
        edge = np.searchsorted(HISTOGRAM_EDGES, peaks[channel])
        beside = np.searchsorted(HISTOGRAM_EDGES, atlas.maxima["5"][:, channel]) == edge
        assert one.rarity == pytest.approx(exact, abs=beside.mean() + 0.03)


def test_rarity_is_the_share_of_images_that_reach_as_high() -> None:
    maxima = np.random.default_rng(0).lognormal(0, 1, 20_000)
    stats = stats_of(maxima)
    for activation in (0.01, 0.3, 1.0, 2.5, 9.0):
        assert rarity(stats, activation) == pytest.approx((maxima >= activation).mean(), abs=0.02)
    assert rarity(stats, maxima.max() * 1.01) == 0
    assert rarity(stats, maxima.max()) == pytest.approx(1 / 20_000)


def test_no_images_tell_no_rarity() -> None:
    nothing = ChannelStats(0, 0, 0.0, 0.0, 0.0, 0, 0, 0, np.zeros(64, np.int64))
    assert rarity(nothing, 1.0) is None


def test_each_unit_is_shown_with_its_projection(net: Network) -> None:
    for finding in explain(net, picture(), top=2).findings:
        for one in finding.units:
            expected = deconv(net, one.unit, picture())
            np.testing.assert_allclose(one.projection.pixels, expected.pixels, atol=1e-6)
            assert one.projection.box == expected.box


def test_a_picture_in_which_nothing_fires_is_explained(net: Network) -> None:
    with torch.no_grad():
        for part in net.module.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.zero_()
                assert part.bias is not None
                part.bias.fill_(-1)
    told = explain(net, picture())
    assert all(finding.units == () for finding in told.findings)
    assert len(told.predictions) == 5


def test_an_explanation_leaves_no_trace(net: Network) -> None:
    image = picture()
    kept = image.clone()
    with no_trace(net.module):
        explain(net, image)
    assert torch.equal(image, kept)


def test_it_says_what_units_were_compared_with(net: Network) -> None:
    assert "give an atlas to compare them" in explain(net, picture()).compared
    assert "images of the atlas" in explain(net, picture(), atlas=Scanned(net, ("2",))).compared


class Another(Scanned):
    """An atlas of another network."""

    def __init__(self, net: Network) -> None:
        super().__init__(net, ("2",), 1)
        (layer,) = self.layers
        self.layers = (Layer(layer.name, "conv", 512, layer.size, layer.field),)


def test_an_atlas_of_another_network_is_refused(net: Network) -> None:
    with pytest.raises(RetroscopeError, match="its 2 has 512 channels, small has 8"):
        explain(net, picture(), atlas=Another(net))


def test_an_atlas_of_the_same_network_with_other_weights_is_refused(net: Network) -> None:
    """Its channels have other meanings."""
    atlas = Scanned(net, ("2",), 1)
    other = Network(built(small, seed=1), input_size=SIZE, name="retrained")
    said = "scanned with small, and retrained has different weights; give the network"
    with pytest.raises(RetroscopeError, match=said):
        explain(other, picture(), atlas=atlas)


def test_an_atlas_that_remembers_no_weights_is_taken_by_its_layers(net: Network) -> None:
    atlas = Scanned(net, ("2",), 1)
    atlas.meta = {}
    assert explain(net, picture(), atlas=atlas).findings


def test_a_layer_that_the_atlas_does_not_keep_is_told(net: Network) -> None:
    with pytest.raises(RetroscopeError, match="the atlas does not have 5; scan these layers"):
        explain(net, picture(), atlas=Scanned(net, ("2",), 1), layers=["conv3"])


def test_what_cannot_be_asked_is_told(net: Network, tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match="0 units per layer"):
        explain(net, picture(), top=0)
    with pytest.raises(UnitError, match="did you mean 'conv3'"):
        explain(net, picture(), layers=["conv33"])
    with pytest.raises(RetroscopeError, match="cannot open"):
        explain(net, tmp_path / "no.png")
