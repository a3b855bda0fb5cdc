"""What a scan ranks by default: each convolution by its output that goes on."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import retroscope as rs
from retroscope.atlas.layer_selection import atlas_layers
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import RetroscopeError
from retroscope.methods.atlas_match import check_same_network
from retroscope.network import Network
from retroscope.progress import Progress
from retroscope.scanning.illustrate import illustrate
from retroscope.scanning.job import scan
from retroscope.scanning.layer_choice import scan_layers
from retroscope.scanning.pattern_pass import synthesize_into
from retroscope.unit import Unit
from retroscope.web.site.comparison import common_layers
from tests.scanning.scans import SIDE, check_channel, network, tiny, write_images
from tests.zoo.test_imagenet_network import needs_weights, photograph


class Residual(nn.Module):
    """A stem, and a block whose last norm reverses half of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 5, 1)
        self.relu = nn.ReLU(inplace=True)
        for norm in (self.stem_norm, self.norm):
            norm.running_mean = 0.3 * torch.randn(4)
            norm.running_var = 0.2 + torch.rand(4)
            with torch.no_grad():
                norm.weight.copy_(torch.tensor([1.0, -1.0, 0.5, -2.0]))
                norm.bias.copy_(torch.tensor([0.1, 0.2, -0.1, -30.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.stem_norm(self.stem(x)))
        x = self.relu(x + self.norm(self.conv(x)))
        return F.relu6(self.head(x)).mean((2, 3))

    def outputs(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """By definition: what goes on from each convolution."""
        stem = F.relu(self.stem_norm(self.stem(x)))
        inner = self.norm(self.conv(stem))
        return {"stem": stem, "conv": inner, "head": self.head(F.relu(stem + inner))}


def residual() -> Network:
    return network(Residual, SIDE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos"), 13)


@pytest.fixture(scope="module")
def atlas(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atlas]:
    path = tmp_path_factory.mktemp("atlas") / "residual.atlas"
    with scan(residual(), folder, to=path, batch_size=4) as opened:
        yield opened


def test_hits_and_statistics_are_those_of_what_goes_on(atlas: Atlas, folder: Path) -> None:
    net = residual()
    assert isinstance(net.module, Residual)
    batch = torch.stack([net.prepare(file).tensor for file in sorted(folder.iterdir())])
    with torch.no_grad():
        outputs = net.module.outputs(batch.double())
    assert [layer.name for layer in atlas.layers] == ["relu", "norm", "head"]
    for name, maps in outputs.items():
        for channel in range(maps.shape[1]):
            check_channel(atlas, f"{name}:{channel}", maps[:, channel].numpy())


def test_a_layer_is_found_by_the_names_of_its_convolution_and_says_what_it_is(
    atlas: Atlas,
) -> None:
    notes = {
        "stem": "stem (conv1) after its batch norm and ReLU",
        "conv2": "conv (conv2) after its batch norm",
        "head": "",
    }
    for name, note in notes.items():
        assert atlas.layer(name).note == note
    assert str(atlas["conv1:2"].unit) == "relu:2"
    assert [layer.name for layer in atlas_layers(atlas, "conv2, st*")] == ["relu", "norm"]
    rows = atlas.sql("SELECT name, kind, convolution, note FROM layers ORDER BY step")
    assert rows[0] == ("relu", "relu", '["stem", "conv1"]', notes["stem"])
    assert rows[2] == ("head", "conv", "[]", "")


def test_every_address_of_the_atlas_is_the_same_unit_in_the_network(atlas: Atlas) -> None:
    """Only the names of the convolution are not: in the network they are the convolution."""
    net = residual()
    check_same_network(atlas, net, net.layers)
    for layer in atlas.layers:
        for name in (layer.name, *layer.aliases):
            assert net.layer(name).index == layer.index
        for name in layer.convolution:
            assert net.layer(name).index != layer.index


def test_projections_are_of_the_ranked_output(atlas: Atlas, folder: Path) -> None:
    net = residual()
    for unit in ("conv1:0", "conv1:1", "conv2:1", "conv3:2"):
        for patch in atlas[unit].patches[:3]:
            stored = patch.projection
            assert stored is not None
            again = rs.deconv(net, stored.unit, folder / patch.source)
            assert stored.activation == pytest.approx(patch.score, rel=1e-6)
            assert again.activation == pytest.approx(patch.score, rel=1e-6)
            assert again.rules == stored.rules
            peak = np.abs(again.pixels).max()
            assert np.abs(stored.pixels - again.pixels).mean() <= 0.03 * peak


def test_a_channel_that_its_norm_shuts_is_dead_and_has_no_hits_after_a_rectifier(
    atlas: Atlas,
) -> None:
    assert atlas.stats("stem:3").dead
    assert atlas.plate("stem:3").patches == ()
    assert len(atlas.plate("conv:3").patches) == 9, "before the addition nothing ties"


def test_without_a_norm_hits_by_maximum_are_those_of_the_convolution(
    folder: Path, tmp_path: Path
) -> None:
    """As far as the channel fires; a rectifier changes the means, so that ranking may differ."""
    bare = scan(tiny(), folder, to=tmp_path / "bare", layers="conv", projections=False)
    output = scan(tiny(), folder, to=tmp_path / "output", projections=False)
    for unit in bare:
        firing = [patch for patch in bare[unit].patches if patch.score > 0]
        hits = output[str(unit)].patches
        assert [(hit.source, hit.position, hit.score) for hit in hits] == [
            (patch.source, patch.position, patch.score) for patch in firing
        ]
        assert output.stats(str(unit)).dead == bare.stats(unit).dead
        assert output.stats(str(unit)).fired_positions == bare.stats(unit).fired_positions


def test_without_a_norm_projections_are_those_of_the_convolution(folder: Path) -> None:
    net, file = tiny(), next(folder.iterdir())
    for rules in ("deconvnet", "guided", "gradient"):
        of_convolution = rs.deconv(net, "second:0", file, rules=rules)
        assert of_convolution.activation > 0
        position = of_convolution.unit.position
        of_output = rs.deconv(net, Unit("last_act", 0, position), file, rules=rules)
        np.testing.assert_array_equal(of_output.pixels, of_convolution.pixels)


def test_illustrate_and_patterns_take_the_convolutions_names(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a"
    scan(residual(), folder, to=path, projections="none").close()
    illustrate(path, residual(), folder, layers="conv2", projections=1)
    illustrate(path, residual(), folder, units=["stem:0"], projections=1)
    synthesize_into(path, residual(), layers="conv1", recipe="plain", steps=2)
    with open_atlas(path) as atlas:
        query = "SELECT DISTINCT name FROM {} JOIN layers ON layers.id = layer ORDER BY name"
        assert atlas.sql(query.format("projections")) == [("norm",), ("relu",)]
        assert atlas.sql(query.format("patterns")) == [("relu",)]
        assert str(atlas.patterns("stem:0")[0].unit) == "relu:0"


def stop_after_a_batch(state: Progress) -> None:
    if state.stage == "scan" and state.completed:
        raise KeyboardInterrupt


@pytest.mark.parametrize("is_finished", [False, True])
def test_a_scan_of_the_convolutions_is_not_continued_with_their_outputs(
    folder: Path, tmp_path: Path, is_finished: bool
) -> None:
    """The convolutions were the default layers of older versions."""
    path = tmp_path / "old"
    net = residual()
    options = {"batch_size": 4, "projections": False}
    if is_finished:
        scan(net, folder, to=path, layers="conv", **options).close()  # type: ignore[arg-type]
    else:
        with pytest.raises(KeyboardInterrupt):
            scan(net, folder, to=path, layers="conv", progress=stop_after_a_batch, **options)  # type: ignore[arg-type]
    message = "choice of layers changed; .*restart; the layers conv continue it"
    with pytest.raises(RetroscopeError, match=message):
        scan(net, folder, to=path, **options)  # type: ignore[arg-type]
    with scan(net, folder, to=path, layers="conv", **options) as atlas:  # type: ignore[arg-type]
        assert [layer.name for layer in atlas.layers] == ["stem", "conv", "head"]
        assert not any(layer.convolution for layer in atlas.layers)


def test_an_interrupted_scan_of_the_outputs_is_resumed(
    atlas: Atlas, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        scan(residual(), folder, to=tmp_path / "a", batch_size=4, progress=stop_after_a_batch)
    with scan(residual(), folder, to=tmp_path / "a", batch_size=4) as resumed:
        assert resumed.layers == atlas.layers
        query = "SELECT * FROM hits ORDER BY 1, 2, 3, 4"
        assert resumed.sql(query) == atlas.sql(query)


def test_an_atlas_of_the_convolutions_shares_no_layer_but_those_that_are_the_same(
    atlas: Atlas, folder: Path, tmp_path: Path
) -> None:
    with scan(residual(), folder, to=tmp_path / "a", layers="conv", projections=False) as bare:
        assert [layer.name for layer in common_layers(bare, atlas)] == ["head"]
        assert [layer.name for layer in common_layers(atlas, bare)] == ["head"]


def _drop_column(path: Path) -> None:
    """Makes the file one of a version that did not know outputs of convolutions."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE layers DROP COLUMN convolution")
        connection.commit()


def test_an_older_atlas_opens_means_what_it_meant_and_is_upgraded(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "old"
    net = residual()
    scan(net, folder, to=path, layers="conv", projections="none").close()
    _drop_column(path)
    with open_atlas(path) as atlas:
        assert [layer.name for layer in atlas.layers] == ["stem", "conv", "head"]
        assert atlas.layer("conv1").convolution == ()
        assert atlas.sql("SELECT convolution FROM layers") == [(None,)] * 3
    illustrate(path, net, folder, layers="conv1", projections=1)
    with AtlasWriter(path), open_atlas(path) as atlas:
        assert {row[1] for row in atlas.sql("PRAGMA table_info(layers)")} >= {"convolution"}
        assert atlas["conv1:0"].patches[0].projection is not None
        assert str(atlas["conv1:0"].unit) == "stem:0"


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        (None, ["relu", "norm", "head"]),
        ("conv", ["stem", "conv", "head"]),
        (["conv2"], ["conv"]),
        ("relu", ["relu", "relu~2", "relu~3"]),
    ],
)
def test_only_the_default_is_of_outputs(layers: list[str] | str | None, names: list[str]) -> None:
    assert [layer.name for layer in scan_layers(residual(), layers)] == names


@pytest.mark.parametrize("make", [lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2))])
def test_a_network_without_convolutions_says_so(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(RetroscopeError, match=r"has no convolution; choose from linear1"):
        scan_layers(network(make, 8))


@needs_weights
def test_on_a_network_with_relu6_what_its_norm_opens_is_not_dead_and_nothing_ties(
    tmp_path: Path,
) -> None:
    """Dead by definition: the rectifier of the network gives zero everywhere."""
    net = rs.open_model("imagenet", device="cpu")
    for name in ("chelsea", "coffee", "astronaut", "rocket", "camera"):
        photograph(name).to_pil().save(tmp_path / f"{name}.png")
    names = [f"block1.depthwise.{part}" for part in ("conv", "relu")]
    explicit = scan(net, tmp_path, to=tmp_path / "a", layers=names, projections="none")
    default = scan(net, tmp_path, to=tmp_path / "b", projections="none")
    dead_convolution, dead_relu = (
        [explicit.stats(f"{name}:{n}").dead for n in range(96)] for name in names
    )
    assert [default.stats(f"{names[0]}:{n}").dead for n in range(96)] == dead_relu
    assert sum(dead_convolution) >= 10 + sum(dead_relu)
    scores = [[hit.score for hit in default.hits(f"{names[0]}:{n}")] for n in range(96)]
    clipped = [[hit.score for hit in explicit.hits(f"{names[1]}:{n}")] for n in range(96)]
    tied = [n for n in range(96) if clipped[n].count(6.0) > 1]
    assert len(tied) > 10
    assert all(len(set(scores[n])) == len(scores[n]) for n in tied)
