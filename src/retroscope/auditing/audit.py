"""An audit: all rules applied to one atlas."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from retroscope.argument_types import check_arguments
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.schema import ScanState
from retroscope.atlas.sqlite_errors import quote_path
from retroscope.auditing.audit_rules import RULES, AuditRule
from retroscope.auditing.layer_evidence import NetworkWeights, read_evidence
from retroscope.auditing.rule_outcome import RuleOutcome, Suspicion
from retroscope.errors import RetroscopeError
from retroscope.results.audits import AtlasAudit, AuditCheck, AuditFinding, Severity
from retroscope.results.slice_stacks import volume_size

if TYPE_CHECKING:
    from retroscope.network import AnyNetwork


@check_arguments
def audit(atlas: "str | Path | Atlas", *, net: "AnyNetwork | None" = None) -> AtlasAudit:
    """What is wrong, or may be, in a scanned network: shortcuts, dead channels, copies, and more.

    Each finding has its numbers, the rule that raised it and what would disprove it; the most
    severe come first. `net` is the network of the scan: with it, first-layer filters are looked at
    too, and duplicates are compared by their weights.

    >>> audit("no.atlas")
    Traceback (most recent call last):
    retroscope.atlas.schema.AtlasError: no atlas 'no.atlas'; rs.scan or 'retroscope scan' makes one
    """
    with _use_atlas(atlas) as opened:
        _refuse_unfinished(opened)
        _refuse_volumes(opened)
        evidence = read_evidence(opened, None if net is None else _read_weights(opened, net))
        outcomes = [(rule, rule.find(evidence)) for rule in RULES]
        return AtlasAudit(
            atlas=opened.path.name,
            network=str(opened.meta.get("model", "")),
            images=evidence.images,
            layers=len(evidence.layers),
            channels=evidence.channels,
            with_weights=net is not None,
            findings=_rank(outcomes),
            checks=tuple(_check(rule, outcome) for rule, outcome in outcomes),
        )


@contextmanager
def _use_atlas(atlas: object) -> Iterator[Atlas]:
    """An atlas by its path, closed afterwards, or one that is open and stays open."""
    if isinstance(atlas, Atlas):
        yield atlas
    elif isinstance(atlas, str | Path):
        with open_atlas(atlas) as opened:
            yield opened
    else:
        kind = type(atlas).__name__
        raise RetroscopeError(f"{kind} is not an Atlas; give the path of one, or open_atlas(PATH)")


def _refuse_unfinished(atlas: Atlas) -> None:
    state = atlas.meta.get("state", ScanState.SCANNED)
    if state not in tuple(ScanState) or not ScanState(str(state)).is_finished:
        raise RetroscopeError(
            f"the scan of {quote_path(atlas.path)} is not finished; run the same scan again to "
            "complete it"
        )


def _refuse_volumes(atlas: Atlas) -> None:
    if volume_size(atlas.meta.get("preprocessing")) is not None:
        raise RetroscopeError(
            f"{quote_path(atlas.path)} is a scan of volumes or clips, and an audit compares places "
            "in images; 'retroscope show' draws its units"
        )


def _read_weights(atlas: Atlas, net: "AnyNetwork") -> NetworkWeights:
    from retroscope.auditing.network_weights import read_weights

    return read_weights(atlas, net)


def _rank(outcomes: list[tuple[AuditRule, RuleOutcome]]) -> tuple[AuditFinding, ...]:
    """All findings by severity; those of one severity by rule, and as the rule orders them."""
    findings = [
        _finding(rule, suspicion) for rule, outcome in outcomes for suspicion in outcome.suspicions
    ]
    return tuple(sorted(findings, key=lambda finding: list(Severity).index(finding.severity)))


def _finding(rule: AuditRule, suspicion: Suspicion) -> AuditFinding:
    return AuditFinding(
        rule=rule.name,
        severity=rule.severity,
        sentence=suspicion.sentence,
        units=suspicion.units,
        numbers=suspicion.numbers,
        threshold=rule.threshold,
        disproof=rule.disproof,
        groups=suspicion.groups,
        label=suspicion.label,
        place=suspicion.place,
        evidence=suspicion.evidence,
    )


def _check(rule: AuditRule, outcome: RuleOutcome) -> AuditCheck:
    return AuditCheck(
        rule=rule.name,
        title=rule.title,
        severity=rule.severity,
        meaning=rule.meaning,
        threshold=rule.threshold,
        channels=outcome.channels,
        findings=len(outcome.suspicions),
        omissions=outcome.omissions,
    )
