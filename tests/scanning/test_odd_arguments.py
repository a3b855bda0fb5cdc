"""Sources and numbers that nobody expects, in `rs.scan`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler

import retroscope as rs
from retroscope.errors import RetroscopeError
from retroscope.scanning.illustrate import ALL_RANKS, parse_ranks
from tests.conftest import built

SIZE = (12, 12)


class Photos(Dataset[Any]):
    classes, targets = ("a", "b"), (0, 1, 1)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> object:
        generator = torch.Generator().manual_seed(index)
        return torch.randn(3, *SIZE, generator=generator), self.targets[index]


@pytest.fixture
def net() -> rs.Network:
    return rs.Network(built(lambda: nn.Conv2d(3, 2, 3)), input_size=SIZE)


def scores(net: rs.Network, images: Any, path: Path, **options: Any) -> list[float]:
    with rs.scan(net, images, to=path, **options) as atlas:
        return [patch.score for patch in atlas["conv1:0"].patches]


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_loader_of_all_images_is_scanned_like_its_data_set(
    net: rs.Network, tmp_path: Path, *, shuffle: bool
) -> None:
    loader = DataLoader(Photos(), batch_size=2, shuffle=shuffle)
    expected = scores(net, Photos(), tmp_path / "a.atlas")
    assert scores(net, loader, tmp_path / "b.atlas") == expected


def test_a_loader_of_a_part_is_refused_with_the_way_out(net: rs.Network, tmp_path: Path) -> None:
    loader = DataLoader(Photos(), sampler=SubsetRandomSampler([0, 1]))
    with pytest.raises(RetroscopeError, match=r"loads a part of its data set; .*Subset\(dataset"):
        rs.scan(net, loader, to=tmp_path / "a.atlas")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("images", [{"a": 1}, {}, {1, 2}, 3, None])
def test_what_holds_no_images_is_refused(net: rs.Network, tmp_path: Path, images: Any) -> None:
    with pytest.raises(RetroscopeError, match=rf"^cannot scan {type(images).__name__}; give a f"):
        rs.scan(net, images, to=tmp_path / "a.atlas")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "number", [10**30, 10**5000, "9" * 30, "9" * 5000], ids=["int", "long int", "text", "long text"]
)
def test_more_hits_than_there_can_be_are_all_of_them(number: int | str) -> None:
    assert parse_ranks(number) is ALL_RANKS


def test_a_huge_number_of_projections_is_scanned(net: rs.Network, tmp_path: Path) -> None:
    assert scores(net, Photos(), tmp_path / "a.atlas", projections=10**30)
