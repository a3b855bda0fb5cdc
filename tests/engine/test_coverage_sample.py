"""A sample of `python -m tools.coverage`: networks as people write them, all checks of each."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tools.coverage.families import sketch_cases
from tools.coverage.report import Report
from tools.coverage.runner import check_network

from retroscope.engine import call_kinds, operations
from retroscope.engine.motion import Stay

SAMPLE = (
    *("gate_by_expand_as", "gate_by_view_as", "gate_eca", "gate_gather_excite"),
    *("attention_cbam", "attention_in_windows", "norm_l2_clamped", "clamp_between", "maxout"),
    *("resize_bilinear", "space_to_depth_by_view", "pad_reflect", "split_unevenly"),
    *("roll_windows", "transposed_convolution", "deformable", "in_place_on_a_view"),
    *(
        "stack_in_front_of_the_batch",
        "unbind_the_batch",
        "inference_mode_inside",
        "scripted_blur",
        "quantiser_by_detach",
        "unet_nearest",
    ),
)
CASES = {case.name: case for case in sketch_cases()}


@pytest.fixture(autouse=True)
def _own_random_state() -> Iterator[None]:
    """The tool seeds torch and Python, so that random networks repeat themselves."""
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        yield
    random.setstate(state)


@pytest.mark.parametrize("name", SAMPLE)
def test_every_answer_about_a_sketch_is_right_or_refused(name: str) -> None:
    report = Report(lambda _state: None)
    check_network(CASES[name], report)
    assert "unusable" not in report.facts
    assert report.facts["layers"]
    assert not report.wrong
    assert not report.faults
    assert not report.not_comparable


def test_a_field_that_is_too_small_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks can fail: a window that is smaller than the convolution's is noticed."""
    row = operations.TABLE[F.conv2d]
    blind = replace(row, motion=lambda *_args, **_options: Stay())
    blind_table: dict[Callable[..., object], operations.Operation] = {F.conv2d: blind}
    monkeypatch.setattr(call_kinds, "TABLE", operations.TABLE | blind_table)
    report = Report(lambda _state: None)
    check_network(CASES["gate_by_view"], report)
    assert any("field too small" in finding.text for finding in report.wrong)
