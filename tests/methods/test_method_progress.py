"""Occlusion and explanations report how far they are, and refuse what memory does not hold."""

import numpy as np
import pytest
import torch
from torch import nn

from retroscope.engine import memory
from retroscope.errors import RetroscopeError
from retroscope.methods.explain import explain
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.network import Network
from retroscope.progress import Progress
from tests.conftest import built, numbers


class Classifier(nn.Module):
    """With `is_mixing`, an image cannot be run beside others, nor in part."""

    def __init__(self, *, is_mixing: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 3, stride=2)
        self.head, self.is_mixing = nn.Linear(5, 3), is_mixing

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.second(self.first(image).relu()).relu()
        if self.is_mixing:
            maps = maps - maps.mean()
        scores: torch.Tensor = self.head(maps.mean((2, 3)))
        return scores


def network(*, is_mixing: bool = False) -> Network:
    return Network(built(lambda: Classifier(is_mixing=is_mixing)), input_size=(24, 24))


def image() -> torch.Tensor:
    return numbers(3, 24, 24).float()


@pytest.mark.parametrize("is_mixing", [False, True])
def test_an_occlusion_reports_every_position_once(*, is_mixing: bool) -> None:
    reports: list[Progress] = []
    result = occlusion(
        network(is_mixing=is_mixing), image(), size=4, stride=2, progress=reports.append
    )
    completed = [report.completed for report in reports]
    assert completed == sorted(set(completed))
    assert (completed[0], completed[-1]) == (0, result.probabilities.size)
    assert {report.total for report in reports} == {result.probabilities.size}
    np.testing.assert_array_equal(
        result.probabilities,
        occlusion(network(is_mixing=is_mixing), image(), size=4, stride=2).probabilities,
    )


@pytest.mark.parametrize("contrast", [False, True])
def test_an_explanation_reports_its_projections(*, contrast: bool) -> None:
    reports: list[Progress] = []
    result = explain(network(), image(), top=3, contrast=contrast, progress=reports.append)
    units = [unit for finding in result.findings for unit in finding.units]
    shown = [unit.projection for unit in units] + [unit.contrast for unit in units]
    total = sum(projection is not None for projection in shown)
    completed = [report.completed for report in reports]
    assert completed == sorted(completed)
    assert (completed[0], completed[-1]) == (0, total)
    assert len(set(completed)) > 2, "not only at the end"


@pytest.mark.parametrize("method", [occlusion, explain])
def test_an_image_that_does_not_fit_in_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch, method: object
) -> None:
    assert callable(method)
    options = {"size": 4, "stride": 8} if method is occlusion else {"top": 1}
    monkeypatch.setattr(memory, "available_memory", lambda _: 1000)
    with pytest.raises(
        RetroscopeError, match=r"24x24 pixels needs about .* give a smaller input size"
    ) as refusal:
        method(network(), image(), **options)
    assert refusal.value.parameter == "input_size"
