"""An audit as a whole: its order, what it says of itself, what it refuses, and its JSON."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tools.rules_table import update

import retroscope as rs
from retroscope.auditing.audit_rules import RULES
from retroscope.render.audit_text import audit_lines
from retroscope.results.audits import Severity
from tests.auditing.planted import CHANNELS, IMAGES, random_layer, write_atlas


@pytest.fixture
def atlas(tmp_path: Path) -> Path:
    """A layer with two dead channels and one that is not finite."""
    layer = random_layer()
    layer.statistics["fired_images"][[3, 8]] = 0
    layer.statistics["non_finite"][5] = 1
    return write_atlas(tmp_path / "a.atlas", [layer])


def test_every_rule_says_what_it_looked_at(atlas: Path) -> None:
    audit = rs.audit(atlas)
    assert [check.rule for check in audit.checks] == [rule.name for rule in RULES]
    for check in audit.checks:
        assert check.channels or check.omissions
        assert check.findings == sum(finding.rule == check.rule for finding in audit.findings)
    assert (audit.atlas, audit.network, audit.with_weights) == ("a.atlas", "planted", False)
    assert (audit.images, audit.layers, audit.channels) == (IMAGES, 1, CHANNELS)


def test_rules_have_different_names_and_stand_by_severity() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    severities = [list(Severity).index(rule.severity) for rule in RULES]
    assert severities == sorted(severities)


def test_the_page_has_the_rules_of_today() -> None:
    page = (Path(__file__).parents[2] / "docs/audit.md").read_text("utf-8")
    assert update(page) == page, "run `make docs`"


def test_a_finding_has_its_rule_and_its_disproof(atlas: Path) -> None:
    rules = {rule.name: rule for rule in RULES}
    findings = rs.audit(atlas).findings
    assert [finding.rule for finding in findings] == ["non-finite", "dead"]
    for finding in findings:
        rule = rules[finding.rule]
        assert (finding.threshold, finding.disproof) == (rule.threshold, rule.disproof)
        assert finding.severity == rule.severity
        assert finding.numbers["channels"] == len(finding.units)


def test_an_open_atlas_stays_open(atlas: Path) -> None:
    with rs.open_atlas(atlas) as opened:
        assert rs.audit(opened) == rs.audit(atlas)
        assert opened.layers


def test_the_json_has_all_of_it(atlas: Path) -> None:
    audit = rs.audit(atlas)
    facts = rs.as_json(audit)
    assert isinstance(facts, dict)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["findings"] == [rs.as_json(finding) for finding in audit.findings]
    assert facts["findings"][1]["units"] == ["conv1:3", "conv1:8"]
    assert facts["checks"][0]["rule"] == RULES[0].name


def test_the_text_has_each_finding_with_its_numbers_rule_and_disproof(atlas: Path) -> None:
    audit = rs.audit(atlas)
    text = " ".join(" ".join(audit_lines(audit)).split())
    for number, finding in enumerate(audit.findings, start=1):
        assert f"{number}. {finding.severity}: {finding.sentence}" in text
        assert f"raised if: {finding.threshold}" in text
        assert f"disproof: {finding.disproof}" in text
    assert "units: conv1:3, conv1:8" in text
    assert "highest rate 0.0149" in text
    for check in audit.checks:
        assert all(f"{check.title}: {omission}" in text for omission in check.omissions)


def test_an_atlas_without_findings_says_so(tmp_path: Path) -> None:
    audit = rs.audit(write_atlas(tmp_path / "a.atlas", [random_layer()]))
    assert not audit.findings
    assert str(audit) == "no findings"
    assert (
        audit_lines(audit)[0]
        == "a.atlas · planted · 0 findings · 40 channels of 1 layer · 200 images"
    )


# What is refused


def test_an_unfinished_scan_is_refused(tmp_path: Path) -> None:
    path = write_atlas(tmp_path / "a.atlas", [random_layer()], state="scanning")
    with pytest.raises(rs.RetroscopeError, match="is not finished; run the same scan again"):
        rs.audit(path)


@pytest.mark.parametrize("wrong", [3, None, ["a.atlas"]])
def test_what_is_no_atlas_is_refused(wrong: object) -> None:
    with pytest.raises(rs.RetroscopeError, match="is not an Atlas; give"):
        rs.audit(wrong)  # type: ignore[arg-type]


def test_what_is_no_network_is_refused(atlas: Path) -> None:
    with pytest.raises(rs.RetroscopeError, match="'demo' is not a Network; open it with"):
        rs.audit(atlas, net="demo")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE channels SET channel = 99 WHERE channel = 3", "is not one of its 40"),
        ("UPDATE labels SET id = 77 WHERE id = 3", "classes are not numbered from 0"),
        ("UPDATE hits SET y = 12 WHERE channel = 3 AND rank = 0", "lies outside of its map"),
        ("UPDATE channels SET histogram = x'00' WHERE channel = 3", "has 1 bytes instead of"),
        ("UPDATE channels SET fired_images = 'many' WHERE channel = 3", "is stored as str"),
    ],
)
def test_a_damaged_atlas_is_refused(atlas: Path, change: str, reason: str) -> None:
    with closing(sqlite3.connect(atlas)) as file, file:
        file.execute(change)
    with pytest.raises(rs.RetroscopeError, match=reason):
        rs.audit(atlas)
