"""One image explained: its classes, and the units that are ranked as unusual."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retroscope.engine.convolution_outputs import convolution_outputs
from retroscope.errors import RetroscopeError, UnitError
from retroscope.geometry import Field, ReceptiveField
from retroscope.methods.activations import activations
from retroscope.methods.atlas_match import fingerprint
from retroscope.methods.cam.cam import cam
from retroscope.methods.deconv.deconv import deconv
from retroscope.methods.explain import explain
from retroscope.methods.rarity import inner_positions, rarity
from retroscope.network import Network
from retroscope.render.explanation_figures import unit_lines
from retroscope.results.caveats import PROJECTION_CAVEATS
from retroscope.results.layers import Layer
from retroscope.results.statistics import HISTOGRAM_EDGES, ChannelStats
from retroscope.results.unit_numbers import UnitName
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


def random_image(seed: int = 0) -> Tensor:
    return numbers(3, *SIZE, seed=seed).float()


def stats_of(maxima: np.ndarray[tuple[int], np.dtype[np.float64]]) -> ChannelStats:
    """The statistics that a scan records for a channel with these maxima."""
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


class AtlasStub:
    """The part of an atlas of retrained images that `explain` reads."""

    def __init__(self, net: Network, layers: tuple[str, ...], image_count: int = 40) -> None:
        self.layers = tuple(net.layer(name) for name in layers)
        self.meta: dict[str, object] = {"model": net.name, "weights": fingerprint(net.module)}
        self.maxima: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
        for layer in self.layers:
            images = [random_image(seed + 1) for seed in range(image_count)]
            self.maxima[layer.name] = np.array(
                [activations(net, layer.name, image).maps.max(axis=(1, 2)) for image in images],
                np.float64,
            )

    def stats(self, unit: Unit | str) -> ChannelStats:
        assert isinstance(unit, Unit)
        return stats_of(self.maxima[unit.layer][:, unit.channel or 0])

    def names(self, unit: Unit | str) -> tuple[UnitName, ...]:
        assert isinstance(unit, Unit)
        return (UnitName(unit, f"unit {unit.channel}"),)


def test_predictions_are_the_five_most_probable_classes(net: Network) -> None:
    explanation = explain(net, random_image())
    with torch.no_grad():
        shares = net.module(random_image()[None]).softmax(dim=1)[0].numpy()
    best = sorted(range(7), key=lambda index: -shares[index])[:5]
    assert [prediction.target.index for prediction in explanation.predictions] == best
    labels = [prediction.target.label for prediction in explanation.predictions]
    assert labels == [f"kind {index}" for index in best]
    probabilities = [prediction.probability for prediction in explanation.predictions]
    np.testing.assert_allclose(probabilities, shares[best], atol=1e-6)


def test_the_heat_is_that_of_the_class(net: Network) -> None:
    for target in (None, 3):
        explanation = explain(net, random_image(), target=target, method="hirescam")
        expected = cam(net, random_image(), target=target, method="hirescam")
        np.testing.assert_array_equal(explanation.heat.values, expected.values)
        assert explanation.heat.target == expected.target


def test_the_default_layers_are_the_last_outputs_of_a_convolution_of_each_map_size(
    net: Network,
) -> None:
    explanation = explain(net, random_image())
    assert [finding.layer.name for finding in explanation.findings] == ["3", "6"]
    notes = [finding.layer.note for finding in explanation.findings]
    assert notes == ["2 (conv2) after its ReLU", "5 (conv3) after its ReLU"]


def test_an_atlas_of_convolutions_gives_the_last_convolution_of_each_map_size(
    net: Network,
) -> None:
    atlas = AtlasStub(net, ("0", "2", "5"), 1)
    explanation = explain(net, random_image(), atlas=atlas, top=1)
    assert [finding.layer.name for finding in explanation.findings] == ["2", "5"]


def test_an_atlas_without_convolutions_gives_its_last_layer_of_each_map_size(net: Network) -> None:
    atlas = AtlasStub(net, ("1", "3", "4", "6"), 1)
    explanation = explain(net, random_image(), atlas=atlas, top=1)
    assert [finding.layer.name for finding in explanation.findings] == ["3", "6"]


def test_an_explanation_has_the_remarks_of_the_network() -> None:
    net = Network(built(small), input_size=SIZE, remarks=["random weights, seed 0"])
    assert explain(net, random_image(), top=1).remarks == ("random weights, seed 0",)


def test_a_path_instead_of_an_atlas_is_refused(net: Network) -> None:
    path: Any = "w.atlas"
    with pytest.raises(RetroscopeError, match=r"^'w.atlas' is not an Atlas; .*rs.open_atlas\('w.a"):
        explain(net, random_image(), atlas=path)


def test_layers_may_be_layer_objects(net: Network) -> None:
    explanation = explain(net, random_image(), layers=net.layers[:1], top=1)
    assert [finding.layer for finding in explanation.findings] == [net.layers[0]]


def test_layers_may_be_names(net: Network) -> None:
    explanation = explain(net, random_image(), layers=["conv1", "4"], top=2)
    assert [finding.layer.name for finding in explanation.findings] == ["0", "4"]
    assert [len(finding.units) for finding in explanation.findings] == [2, 2]


def test_without_an_atlas_units_are_ranked_by_how_far_their_peak_stands_out(net: Network) -> None:
    (finding,) = explain(net, random_image(), layers=["conv3"], top=3).findings
    maps = activations(net, "conv3", random_image()).maps.astype(np.float64)
    peaks = maps[:, 1:-1, 1:-1].max(axis=(1, 2))
    z_scores = (peaks - maps.mean(axis=(1, 2))) / maps.std(axis=(1, 2))
    firing = [channel for channel in range(10) if peaks[channel] > 0]
    expected = sorted(firing, key=lambda channel: -z_scores[channel])[:3]
    assert [unusual.unit.channel for unusual in finding.units] == expected
    for unusual in finding.units:
        assert unusual.z_score == pytest.approx(z_scores[unusual.unit.channel or 0])
        assert unusual.rarity is None
        assert unusual.activation == pytest.approx(peaks[unusual.unit.channel or 0])


def corner_units(padding: int, *, side: int = 8) -> list[Unit]:
    """The units that `explain` finds in an image whose corner is brighter than its middle.

    Channel 0 measures brightness. Channel 1 measures darkness: it fires on padding alone.
    """
    conv = nn.Conv2d(1, 2, 3, padding=padding)
    with torch.no_grad():
        conv.weight[0], conv.weight[1] = 1, -1
        conv.bias = nn.Parameter(torch.tensor([0.0, 7.0]))
    net = Network(nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten()), input_size=(8, 8))
    image = torch.ones(1, side, side)
    image[:, :3, :3] = 2
    image[:, 4, 4] = 1.5
    return [unusual.unit for unusual in explain(net, image, layers=["conv1"]).findings[0].units]


def test_units_at_the_padding_do_not_count() -> None:
    """Each reading of padding would be the strongest of channel 1, and its only one."""
    assert corner_units(padding=1) == [Unit("0", 0, (1, 1))]


def test_units_at_the_border_count_without_padding() -> None:
    assert corner_units(padding=0) == [Unit("0", 0, (0, 0))]


def test_a_map_keeps_the_positions_that_see_no_less_than_the_next() -> None:
    field = ReceptiveField(Field(31, 8, -11), Field(3, 1, 0))
    layer = Layer("deep", "conv", 1, (2, 4), field)
    assert inner_positions(layer, (16, 6)).all()


@pytest.mark.parametrize("seed", range(20))
def test_a_position_counts_unless_a_position_further_in_sees_more(seed: int) -> None:
    """From the definition, pixel by pixel; and no map is left without positions."""
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(4, 20)), int(rng.integers(4, 20)))
    fields = [Field(int(rng.integers(1, 9)), int(rng.integers(1, 4)), -2) for _ in range(2)]
    counts = int(rng.integers(1, 6)), int(rng.integers(1, 6))
    layer = Layer("any", "conv", 1, counts, ReceptiveField(y=fields[0], x=fields[1]))

    def is_inner(axis: int, index: int) -> bool:
        seen = [
            len(set(range(*fields[axis].at(n))) & set(range(size[axis])))
            for n in range(counts[axis])
        ]
        neighbours = {0: [1], counts[axis] - 1: [counts[axis] - 2]}.get(index, [])
        if counts[axis] == 2:
            neighbours = [1 - index]
        return counts[axis] == 1 or all(seen[index] >= seen[n] for n in neighbours)

    expected = [
        [is_inner(0, y) and is_inner(1, x) for x in range(counts[1])] for y in range(counts[0])
    ]
    assert inner_positions(layer, size).tolist() == expected
    assert np.any(expected)


def test_with_an_atlas_units_are_ranked_by_rarity(net: Network) -> None:
    atlas = AtlasStub(net, ("2", "5"))
    image = random_image() * 1.2
    (_, finding) = explain(net, image, atlas=atlas, top=10).findings
    peaks = activations(net, "5", image).maps[:, 1:-1, 1:-1].max(axis=(1, 2))
    shares = [unusual.rarity for unusual in finding.units]
    assert None not in shares
    assert shares == sorted(shares, key=lambda share: share or 0.0)
    for unusual in finding.units:
        channel = unusual.unit.channel or 0
        exact = (atlas.maxima["5"][:, channel] >= peaks[channel]).mean()
        edge = np.searchsorted(HISTOGRAM_EDGES, peaks[channel])
        in_same_bin = np.searchsorted(HISTOGRAM_EDGES, atlas.maxima["5"][:, channel]) == edge
        assert unusual.rarity == pytest.approx(exact, abs=in_same_bin.mean() + 0.03)


def test_with_an_atlas_units_have_its_names(net: Network) -> None:
    image = random_image()
    (finding,) = explain(net, image, atlas=AtlasStub(net, ("5",), 1)).findings
    for unusual in finding.units:
        (name,) = unusual.names
        assert name.name == f"unit {unusual.unit.channel}"
        assert name.unit.position is None
        assert unit_lines(unusual)[0] == f"named {name.name} (from a file)"
    (finding,) = explain(net, image, layers=["5"]).findings
    assert all(unusual.names == () for unusual in finding.units)
    assert unit_lines(finding.units[0])[0].startswith("activation ")


def test_rarity_is_the_share_of_images_with_a_maximum_as_high() -> None:
    maxima = np.random.default_rng(0).lognormal(0, 1, 20_000)
    stats = stats_of(maxima)
    for activation in (0.01, 0.3, 1.0, 2.5, 9.0):
        assert rarity(stats, activation) == pytest.approx((maxima >= activation).mean(), abs=0.02)
    assert rarity(stats, maxima.max() * 1.01) == 0
    assert rarity(stats, maxima.max()) == pytest.approx(1 / 20_000)


def saturating() -> nn.Module:
    """As `small`, with a ceiling that the second rectifier reaches in most images."""
    modules = list(small().children())
    modules[3] = nn.Hardtanh(0, 0.05)
    return nn.Sequential(*modules)


def test_a_ceiling_that_most_images_reach_is_not_rare() -> None:
    net = Network(built(saturating), input_size=SIZE, name="saturating")
    atlas = AtlasStub(net, ("3",))
    (finding,) = explain(net, random_image(), atlas=atlas, top=8).findings
    assert len({unusual.activation for unusual in finding.units}) < len(finding.units)
    for unusual in finding.units:
        reached = (atlas.maxima["3"][:, unusual.unit.channel or 0] >= unusual.activation).mean()
        assert unusual.rarity == pytest.approx(reached, abs=0.1)


def test_there_is_no_rarity_without_images() -> None:
    no_images = ChannelStats(0, 0, 0.0, 0.0, 0.0, 0, 0, 0, np.zeros(64, np.int64))
    assert rarity(no_images, 1.0) is None


def test_each_unit_has_its_projection(net: Network) -> None:
    for finding in explain(net, random_image(), top=2).findings:
        for unusual in finding.units:
            expected = deconv(net, unusual.unit, random_image())
            np.testing.assert_allclose(unusual.projection.pixels, expected.pixels, atol=1e-6)
            assert unusual.projection.box == expected.box


def strided() -> nn.Module:
    """A network whose projections are by relevance: strides alone make its maps smaller."""
    body = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7))


@pytest.mark.parametrize("make", [small, strided])
def test_each_unit_has_what_it_adds_to_the_other_channels(make: Callable[[], nn.Module]) -> None:
    net = Network(built(make), input_size=SIZE)
    explanation = explain(net, random_image(), top=2)
    for finding in explanation.findings:
        for unusual in finding.units:
            expected = deconv(net, unusual.unit, random_image(), rules="contrast")
            assert unusual.contrast is not None
            np.testing.assert_allclose(unusual.contrast.pixels, expected.pixels, atol=1e-6)
            assert unusual.contrast.box == unusual.projection.box
    assert PROJECTION_CAVEATS["contrast"] in explanation.caveats


def test_the_added_share_is_what_is_left_without_the_direction_that_all_channels_share() -> None:
    """One less the squared cosine with the projection of all channels, by its definition."""
    net = Network(built(strided), input_size=SIZE)
    (finding,) = explain(net, random_image(), layers=["conv2"], top=3).findings
    assert finding.units
    for unusual in finding.units:
        assert unusual.projection.rules == "relevance"
        assert unusual.contrast is not None
        projection, contrast = (
            each.pixels.ravel().astype(np.float64)
            for each in (unusual.projection, unusual.contrast)
        )
        shared = projection - contrast
        cosine = projection @ shared / np.linalg.norm(projection) / np.linalg.norm(shared)
        assert unusual.added_share == pytest.approx(1 - cosine**2, abs=1e-4)
        assert 0 < unusual.added_share < 1


def test_a_deconvnet_projection_has_no_added_share(net: Network) -> None:
    """What a unit adds is a part of its relevance, not of its deconvnet projection."""
    unusual = explain(net, random_image(), top=1).findings[0].units[0]
    assert unusual.projection.rules == "deconvnet"
    assert unusual.contrast is not None
    assert unusual.added_share is None


def test_what_units_add_can_be_left_out(net: Network) -> None:
    explanation = explain(net, random_image(), top=1, contrast=False)
    units = [unusual for finding in explanation.findings for unusual in finding.units]
    assert units
    assert all(unusual.contrast is unusual.added_share is None for unusual in units)
    assert PROJECTION_CAVEATS["contrast"] not in explanation.caveats


def test_a_channel_without_others_adds_nothing_to_them() -> None:
    net = Network(
        built(lambda: nn.Sequential(nn.Conv2d(3, 1, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())),
        input_size=SIZE,
    )
    image = random_image()
    (finding,) = explain(net, image, layers=["conv1"]).findings
    assert [unusual.contrast for unusual in finding.units] == [None] * len(finding.units)
    assert finding.units


def test_an_image_without_firing_units_is_explained(net: Network) -> None:
    with torch.no_grad():
        for part in net.module.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.zero_()
                assert part.bias is not None
                part.bias.fill_(-1)
    explanation = explain(net, random_image())
    assert all(finding.units == () for finding in explanation.findings)
    assert len(explanation.predictions) == 5


def test_an_explanation_leaves_no_trace(net: Network) -> None:
    image = random_image()
    original = image.clone()
    with no_trace(net.module):
        explain(net, image)
    assert torch.equal(image, original)


def test_an_explanation_states_the_basis_of_its_ranking(net: Network) -> None:
    assert "give an atlas to compare them" in explain(net, random_image()).compared
    assert (
        "images of the atlas" in explain(net, random_image(), atlas=AtlasStub(net, ("2",))).compared
    )


class DifferentAtlas(AtlasStub):
    """An atlas of a different network."""

    def __init__(self, net: Network) -> None:
        super().__init__(net, ("2",), 1)
        (layer,) = self.layers
        self.layers = (Layer(layer.name, "conv", 512, layer.size, layer.field),)


def test_an_atlas_of_a_different_network_is_refused(net: Network) -> None:
    with pytest.raises(RetroscopeError, match="its 2 has 512 channels, small has 8"):
        explain(net, random_image(), atlas=DifferentAtlas(net))


def test_an_atlas_of_different_weights_is_refused(net: Network) -> None:
    """Its channels have a different meaning."""
    atlas = AtlasStub(net, ("2",), 1)
    retrained = Network(built(small, seed=1), input_size=SIZE, name="retrained")
    message = "scanned with small, and retrained has different weights; give the network"
    with pytest.raises(RetroscopeError, match=message):
        explain(retrained, random_image(), atlas=atlas)


def test_an_atlas_without_a_fingerprint_is_matched_by_its_layers(net: Network) -> None:
    atlas = AtlasStub(net, ("2",), 1)
    atlas.meta = {}
    assert explain(net, random_image(), atlas=atlas).findings


def test_a_layer_missing_from_the_atlas_is_refused(net: Network) -> None:
    with pytest.raises(RetroscopeError, match="the atlas does not have 5; scan these layers"):
        explain(net, random_image(), atlas=AtlasStub(net, ("2",), 1), layers=["conv3"])


def test_a_convolution_is_not_taken_for_its_output_in_the_atlas(net: Network) -> None:
    """The layers to explain are named as in the network, where `conv3` is the convolution."""
    atlas = AtlasStub(net, ("3", "6"), 1)
    atlas.layers = convolution_outputs(net.survey())
    message = r"does not have 5; it has 6, 5 \(conv3\) after its ReLU"
    with pytest.raises(RetroscopeError, match=message):
        explain(net, random_image(), atlas=atlas, layers=["conv3"])


def test_invalid_explain_options_are_refused(net: Network, tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match="0 units per layer"):
        explain(net, random_image(), top=0)
    with pytest.raises(UnitError, match="did you mean 'conv3'"):
        explain(net, random_image(), layers=["conv33"])
    with pytest.raises(RetroscopeError, match="cannot open"):
        explain(net, tmp_path / "no.png")


@pytest.mark.parametrize(("make", "rules"), [(small, "deconvnet"), (strided, "relevance")])
def test_the_caveats_are_those_of_the_rules_of_the_projections(
    make: Callable[[], nn.Module], rules: str
) -> None:
    explanation = explain(Network(built(make), input_size=SIZE), random_image(), top=2)
    units = [unit for finding in explanation.findings for unit in finding.units]
    assert {unit.projection.rules for unit in units} == {rules}
    for name, caveat in PROJECTION_CAVEATS.items():
        assert (caveat in explanation.caveats) == (name in {rules, "contrast"})
