"""The page of all stars and notes, and the script with them that other pages load."""

from collections.abc import Iterator

from retroscope.atlas.excerpt import listed_channels
from retroscope.errors import UnitError
from retroscope.unit import Unit
from retroscope.web.site.notes import MAX_TEXT, Note
from retroscope.web.site.pages.page_facts import assignment_script, unit_facts
from retroscope.web.site.site import Facts, PageNotFoundError, Params, Site
from retroscope.web.site.urls import url_for


def notes(site: Site, _params: Params) -> Facts:
    """All stars and notes, layer by layer. Those on units that the atlas lacks come last."""
    noted_units, lost = [], []
    for unit, note in _read(site).items():
        address = _address(site, unit)
        if address is None:
            lost.append({"unit": unit, **_note_facts(note)})
        else:
            noted_units.append((address, note))
    order = {layer.name: number for number, layer in enumerate(site.atlas.layers)}
    noted_units.sort(key=lambda pair: (order[pair[0].layer], pair[0].channel))
    return {
        "notes": [
            unit_facts(site, unit.layer, unit.channel or 0) | _note_facts(note)
            for unit, note in noted_units
        ],
        "lost": lost,
        "file": site.notes.path.name if site.notes else None,
    }


def notes_script(site: Site, _params: Params) -> bytes:
    """The notes as other pages show them, and where a change is sent, if they can be changed."""
    notes = _read(site)
    units = {
        unit: [note.star, note.text, url_for(site, "unit", layer=address.layer, channel=channel)]
        for unit, note in notes.items()
        if (address := _address(site, unit)) and (channel := address.channel) is not None
    }
    is_writable = site.notes is not None and site.notes.writable
    target = url_for(site, "note") if is_writable else None
    return assignment_script("notes", {"units": units, "target": target, "max_text": MAX_TEXT})


def list_once(site: Site) -> Iterator[Params]:
    """A page that exists once if the site shows notes."""
    if site.notes is not None:
        yield {}


def _read(site: Site) -> dict[str, Note]:
    if site.notes is None:
        raise PageNotFoundError("this site shows no notes")
    return site.notes.read()


def _address(site: Site, text: str) -> Unit | None:
    """The unit with this address in the atlas; None if the atlas lacks it."""
    try:
        unit = Unit.parse(text)
    except UnitError:
        return None
    if unit not in site.atlas:
        return None
    layer = site.atlas.layer(unit.layer)
    return unit if unit.channel in listed_channels(site.atlas, layer) else None


def _note_facts(note: Note) -> Facts:
    return {"star": note.star, "text": note.text}
