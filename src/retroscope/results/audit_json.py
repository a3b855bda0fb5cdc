"""Audits as JSON. All numbers of a finding are finite."""

from collections.abc import Callable
from typing import Any

from retroscope.results.audits import AtlasAudit, AuditCheck, AuditFinding, AuditHit

_JsonObject = dict[str, Any]


def audit_json(audit: AtlasAudit) -> _JsonObject:
    """An audit: its findings, the most severe first, and what each rule looked at."""
    return {
        "atlas": audit.atlas,
        "network": audit.network,
        "images": audit.images,
        "layers": audit.layers,
        "channels": audit.channels,
        "with_weights": audit.with_weights,
        "findings": [audit_finding_json(finding) for finding in audit.findings],
        "checks": [audit_check_json(check) for check in audit.checks],
    }


def audit_finding_json(finding: AuditFinding) -> _JsonObject:
    place = finding.place
    return {
        "rule": finding.rule,
        "severity": str(finding.severity),
        "sentence": finding.sentence,
        "units": [str(unit) for unit in finding.units],
        "numbers": dict(finding.numbers),
        "threshold": finding.threshold,
        "disproof": finding.disproof,
        "groups": [[str(unit) for unit in group] for group in finding.groups],
        "label": finding.label,
        "place": None if place is None else [place.top, place.left, place.bottom, place.right],
        "evidence": [audit_hit_json(hit) for hit in finding.evidence],
    }


def audit_hit_json(hit: AuditHit) -> _JsonObject:
    box = hit.box
    return {
        "unit": str(hit.unit),
        "score": hit.score,
        "image": hit.image,
        "source": hit.source,
        "label": hit.label,
        "box": [box.top, box.left, box.bottom, box.right],
    }


def audit_check_json(check: AuditCheck) -> _JsonObject:
    return {
        "rule": check.rule,
        "title": check.title,
        "severity": str(check.severity),
        "meaning": check.meaning,
        "threshold": check.threshold,
        "channels": check.channels,
        "findings": check.findings,
        "omissions": list(check.omissions),
    }


AUDIT_CONVERSIONS: dict[type, Callable[[Any], _JsonObject]] = {
    AtlasAudit: audit_json,
    AuditFinding: audit_finding_json,
    AuditCheck: audit_check_json,
    AuditHit: audit_hit_json,
}
