"""Which steps read which, and how deep each lies, compared with the code of small networks."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from retroscope.engine.program import Survey
from retroscope.engine.survey import survey
from tests.conftest import built


class _Residual(nn.Module):
    """Convolution, norm and rectifier, then a branch of two convolutions around which x goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image)
        sum_of_paths: torch.Tensor = x + self.branch(x)
        return sum_of_paths.mean((2, 3))


def _names_of_readers(program: Survey) -> list[tuple[str, ...]]:
    names = [step.function.__name__ for step in program.steps]
    return [tuple(names[reader] for reader in readers) for readers in program.readers]


def test_readers_are_the_steps_that_take_a_result() -> None:
    program = survey(built(_Residual), (3, 8, 8))
    assert _names_of_readers(program) == [
        ("batch_norm",),
        ("relu",),
        ("conv2d", "add"),
        ("conv2d",),
        ("add",),
        ("mean",),
        (),
    ]


def test_depth_is_the_number_of_linear_operations_on_the_longest_path() -> None:
    program = survey(built(_Residual), (3, 8, 8))
    assert [step.depth for step in program.steps] == [1, 1, 1, 2, 3, 3, 3]


class _Written(nn.Module):
    """A convolution whose result is written into a part of another tensor, through a view."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result = torch.zeros(1, 8, *image.shape[2:])
        result[:, :4] = self.conv(image)
        return result.relu()


def test_what_is_written_into_a_tensor_is_read_by_its_readers() -> None:
    program = survey(built(_Written), (3, 8, 8))
    last = program.steps[-1]
    assert last.depth == 1
    assert program.steps[last.inputs[0]].function is torch.Tensor.__setitem__


@pytest.mark.parametrize("name", ["backward hook", "none"])
def test_a_hook_that_only_renames_tensors_changes_no_readers(name: str) -> None:
    hook: dict[str, Callable[[nn.Module], object]] = {
        "backward hook": lambda part: part.register_full_backward_hook(lambda *_: None),
        "none": lambda _: None,
    }
    module = built(_Residual)
    hook[name](module.get_submodule("stem.0"))
    assert _names_of_readers(survey(module, (3, 8, 8)))[0] == ("batch_norm",)
