"""`python -m tools.coverage`: its checks can fail, and its page counts what they find."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tools.coverage import heat_checks, token_checks
from tools.coverage.answer_checks import as_maps
from tools.coverage.families import all_cases
from tools.coverage.page import write_page
from tools.coverage.report import Report
from tools.coverage.runner import check_network
from tools.coverage.subject import Case, Subject, build_subject, with_held_inputs

from retroscope.results.layers import Layer
from tests.conftest import numbers
from tests.reference.transformers import SIZE, TinyViT

TINY = Case("test", "tiny", lambda _size: TinyViT("written out"), (SIZE,))


def report_of(subject: Subject, check: Any) -> Report:
    report = Report(lambda _state: None)
    with report.check("check"):
        check(subject, report)
    assert not report.faults
    return report


def test_all_answers_about_a_small_transformer_are_right() -> None:
    report = Report(lambda _state: None)
    check_network(TINY, report)
    assert not report.wrong
    assert not report.faults
    assert report.facts["token_layers"]
    assert report.facts["extra_tokens"] == 1
    assert report.facts["token_places"]
    assert report.facts["cam"] == "compared"
    assert report.facts["targets_compared"] == len(heat_checks.DEFINITIONS)


def test_tokens_at_another_place_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = build_subject(TINY)
    assert not report_of(subject, token_checks.check_tokens).wrong

    def flipped(output: torch.Tensor, layer: Layer) -> torch.Tensor | None:
        maps = as_maps(output, layer)
        return None if maps is None else maps.flip(1)

    monkeypatch.setattr(token_checks, "as_maps", flipped)
    wrong = report_of(subject, token_checks.check_tokens).wrong
    assert any("is of the pixels" in finding.text for finding in wrong)


def test_a_heat_map_by_another_definition_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = build_subject(TINY)
    assert not report_of(subject, heat_checks.check_targets).wrong
    monkeypatch.setitem(heat_checks.DEFINITIONS, "hirescam", heat_checks.DEFINITIONS["gradcam"])
    assert report_of(subject, heat_checks.check_targets).wrong


class Difference(torch.nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return left - right


def test_other_inputs_are_held_as_plain_code_does() -> None:
    left, right = numbers(2, 3, 4, 4)
    held = with_held_inputs(Difference(), {"right": right})
    assert torch.equal(held(left[None]), (left - right)[None])


def test_the_first_networks_are_one_of_each_group() -> None:
    cases = all_cases()
    groups = {(case.family, case.group) for case in cases}
    assert len({(case.family, case.group) for case in cases[: len(groups)]}) == len(groups)


def row(name: str, **facts: object) -> dict[str, Any]:
    findings: dict[str, list[object]] = {"wrong": [], "faults": [], "refused": []}
    return {"family": "test", "group": name[0], "name": name, "commit": "c", **findings, **facts}


def test_the_page_counts_right_refused_and_wrong_networks(tmp_path: Path) -> None:
    wrong = [{"check": "values", "text": "values: off by 1"}]
    refused = [{"check": "cam", "text": "no classes"}]
    rows = {
        "right": row("a1", layers=3, ran=["values", "cam"]),
        "partly": row("a2", layers=2, ran=["values", "cam"], refused=refused),
        "closed": row("b1", unusable="no", refused=[{"check": "open", "text": "3-D"}]),
        "wrong": row("b2", layers=1, ran=["values"], wrong=wrong),
    }
    page = tmp_path / "page.md"
    write_page(rows, [TINY], page, earlier="abc")
    lines = page.read_text().splitlines()
    assert "| test | 4 | 1 | 1 | 1 | 1 | 0 |" in lines
    assert "| test | b | 2 | 0 | 0 | 1 | 1 | 0 |" in lines
    assert "| values | 2 | 0 | 1 | 0 | 0 |" in lines
    assert "| cam | 1 | 1 | 0 | 0 | 0 |" in lines
    assert "- `b2` (test), values: values: off by 1" in lines
    assert any("page at commit abc" in line for line in lines)
