"""An audit as text, for a terminal."""

from collections.abc import Iterator, Mapping
from textwrap import wrap

from retroscope.render.captions import count_noun, join_facts
from retroscope.results.audits import AtlasAudit, AuditCheck, AuditFinding, AuditNumber

_WIDTH = 100
_INDENT = "    "
_LISTED_UNITS = 8


def audit_lines(audit: AtlasAudit) -> list[str]:
    """The findings, the most severe first, then what was looked at and what was not."""
    title = join_facts(
        audit.atlas,
        audit.network,
        count_noun(len(audit.findings), "finding"),
        f"{count_noun(audit.channels, 'channel')} of {count_noun(audit.layers, 'layer')}",
        count_noun(audit.images, "image"),
    )
    findings = [
        line
        for number, finding in enumerate(audit.findings, start=1)
        for line in ("", *_finding_lines(number, finding))
    ]
    checks = [_check_line(check) for check in audit.checks if check.channels]
    return [title, *findings, *(["", "Looked at", *checks] if checks else []), *_omissions(audit)]


def _finding_lines(number: int, finding: AuditFinding) -> Iterator[str]:
    yield from _paragraph(f"{number}. {finding.severity}: {finding.sentence}", first_indent="")
    yield from _paragraph(f"units: {list_units(finding)}")
    yield from _paragraph(f"numbers: {number_text(finding.numbers)}")
    yield from _paragraph(f"raised if: {finding.threshold}")
    yield from _paragraph(f"disproof: {finding.disproof}")


def _paragraph(text: str, *, first_indent: str = _INDENT) -> list[str]:
    return wrap(
        text,
        _WIDTH,
        initial_indent=first_indent,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def list_units(finding: AuditFinding) -> str:
    """The first units of a finding, copies joined by `=`, and how many more there are."""
    groups = finding.groups or tuple((unit,) for unit in finding.units)
    shown = [" = ".join(map(str, group)) for group in groups[:_LISTED_UNITS]]
    more = len(groups) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])])


def number_text(numbers: Mapping[str, AuditNumber]) -> str:
    """Numbers by name on one line.

    >>> number_text({"channels": 3, "highest_rate": 0.00597, "chance": 1e-9})
    'channels 3 · highest rate 0.00597 · chance 1e-09'
    """
    facts = (
        f"{name.replace('_', ' ')} {f'{value:.3g}' if isinstance(value, float) else value}"
        for name, value in numbers.items()
    )
    return join_facts(*facts)


def _check_line(check: AuditCheck) -> str:
    findings = count_noun(check.findings, "finding") if check.findings else "nothing"
    return f"{_INDENT}{check.title}: {findings} in {count_noun(check.channels, 'channel')}"


def _omissions(audit: AtlasAudit) -> list[str]:
    """What rules could not look at."""
    lines = [
        line
        for check in audit.checks
        for omission in check.omissions
        for line in _paragraph(f"{check.title}: {omission}")
    ]
    return ["", "Not looked at", *lines] if lines else []
