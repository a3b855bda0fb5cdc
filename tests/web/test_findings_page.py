"""The page of findings: what an audit of the atlas raises, with its reasons and its evidence."""

import json
from html import unescape
from pathlib import Path

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.auditing.audit import audit
from retroscope.results.as_json import as_json
from retroscope.web.export import open_selection
from retroscope.web.site.routes import respond
from retroscope.web.site.site import Site, make_site
from tests.web.sample_atlases import bare_atlas


def html_of(site: Site) -> str:
    return unescape(respond(site, "findings.html").body.decode())


def test_the_findings_are_those_of_the_audit(site: Site) -> None:
    facts = json.loads(respond(site, "findings.json").body)
    expected = as_json(audit(site.atlas))
    assert isinstance(expected, dict)
    assert expected["findings"]
    for finding, fact in zip(expected["findings"], facts["findings"], strict=True):
        assert {key: fact[key] for key in finding} == finding
    assert facts["checks"] == expected["checks"]


def test_every_finding_has_its_rule_its_disproof_its_numbers_and_its_units(site: Site) -> None:
    page = html_of(site)
    for finding in json.loads(respond(site, "findings.json").body)["findings"]:
        assert finding["sentence"] in page
        assert f"Raised if {finding['threshold']}." in page
        assert finding["disproof"][1:] in page
        for name in finding["numbers"]:
            assert f"<dt>{name.replace('_', ' ')}</dt>" in page
        assert [link["unit"] for link in finding["links"]] == finding["units"][:200]
        assert all(link["href"] in page for link in finding["links"])


def test_what_the_rules_could_not_look_at_is_said(site: Site) -> None:
    page = html_of(site)
    checks = json.loads(respond(site, "findings.json").body)["checks"]
    omissions = [omission for check in checks for omission in check["omissions"]]
    assert omissions
    for omission in omissions:
        assert f"Left out: {omission}." in page
    assert "retroscope audit one.atlas --model" in page


def test_an_unfinished_scan_has_no_findings_and_says_why(tmp_path: Path) -> None:
    bare_atlas(tmp_path / "bare.atlas").close()
    with AtlasWriter(tmp_path / "bare.atlas") as writer, writer.transaction():
        writer.put_meta({"state": "scanning"})
    with open_atlas(tmp_path / "bare.atlas") as atlas:
        page = html_of(make_site(atlas))
    assert "not finished" in page
    assert "No faults found" not in page


def test_a_part_of_the_channels_is_not_audited(site: Site) -> None:
    with open_selection(site.atlas, top_channels=2) as part:
        page = html_of(part)
    assert "This site shows only some of the channels." in page
    assert "No faults found" not in page
