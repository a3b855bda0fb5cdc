"""The page of findings: what an audit of the atlas raises, with plates and images as evidence."""

from functools import lru_cache
from typing import Any

from retroscope.atlas.excerpt import listed_channels
from retroscope.atlas.image_blobs import stored_image_sizes
from retroscope.atlas.queries import channel_queries
from retroscope.atlas.reader import Atlas
from retroscope.auditing.audit import audit
from retroscope.errors import RetroscopeError
from retroscope.results.audit_json import audit_finding_json, audit_json
from retroscope.results.audits import AtlasAudit, AuditFinding, AuditHit
from retroscope.unit import Unit
from retroscope.web.site.pages.image_pages import image_links
from retroscope.web.site.pages.missing_projections import command_facts
from retroscope.web.site.pages.page_facts import unit_facts
from retroscope.web.site.site import Facts, Params, Site
from retroscope.web.site.urls import url_for

_PLATES, _IMAGES, _LINKS = 6, 9, 200


def findings(site: Site, _params: Params) -> Facts:
    """The findings about an atlas, the most severe first, and what each rule looked at."""
    refusal = _refusal(site.atlas)
    if refusal:
        return {"refusal": refusal, "command": command_facts(site), "findings": [], "checks": []}
    result = _cached_audit(site.atlas, site.atlas.file_version)
    return audit_json(result) | {
        "refusal": "",
        "command": command_facts(site),
        "findings": [_finding(site, finding) for finding in result.findings],
    }


def _refusal(atlas: Atlas) -> str:
    """Why there is no audit; empty if there is one."""
    if any(len(listed_channels(atlas, layer)) < layer.channels for layer in atlas.layers):
        return "This site shows only some of the channels. An audit needs all of them."
    try:
        _cached_audit(atlas, atlas.file_version)
    except RetroscopeError as error:
        return f"{error}."
    return ""


@lru_cache(maxsize=4)
def _cached_audit(atlas: Atlas, _version: int) -> AtlasAudit:
    return audit(atlas)


def _finding(site: Site, finding: AuditFinding) -> Facts:
    images = list({hit.image: hit for hit in finding.evidence}.values())[:_IMAGES]
    sizes = stored_image_sizes(site.atlas, [hit.image for hit in images])
    place = audit_finding_json(finding)["place"]
    return audit_finding_json(finding) | {
        "plates": [_unit(site, unit) for unit in finding.units[:_PLATES]],
        "links": [_link(site, unit) for unit in finding.units[:_LINKS]],
        "images": [
            _image(site, hit, size=sizes[hit.image], place=place)
            for hit in images
            if hit.image in sizes
        ],
    }


def _unit(site: Site, unit: Unit) -> Facts:
    """A unit with its plate, if it has one: a dead channel may have no hits."""
    assert unit.channel is not None
    layer = site.atlas.layer(unit.layer)
    span = range(unit.channel, unit.channel + 1)
    hits = channel_queries.first_hits(site.atlas, layer, span, ranked_by="max")
    facts = unit_facts(site, unit.layer, unit.channel)
    return facts if hits else facts | {"plate": None}


def _link(site: Site, unit: Unit) -> Facts:
    href = url_for(site, "unit", layer=unit.layer, channel=unit.channel)
    return {"unit": str(unit), "href": href}


def _image(site: Site, hit: AuditHit, *, size: tuple[int, int], place: Any) -> Facts:
    """An image of the evidence, with the place that the finding is about, or the unit's field."""
    box = hit.box
    field = [box.top, box.left, box.bottom, box.right]
    return {
        "unit": str(hit.unit),
        "source": hit.source,
        "class": hit.label,
        "score": hit.score,
        "size": list(size),
        "box": place or field,
        "middle": None,
        **image_links(site, hit.image),
    }
