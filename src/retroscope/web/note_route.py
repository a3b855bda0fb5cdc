"""The route that writes a star or a note. The server has it only where nobody else can reach it."""

import json

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retroscope.errors import RetroscopeError, UnitError
from retroscope.unit import Unit
from retroscope.web.site.notes import Note, NotesError
from retroscope.web.site.site import Site
from retroscope.web.site.urls import url_for

_MAX_BYTES = 2**15


def note_routes(site: Site) -> list[Route]:
    """The route of a site whose notes can be written."""
    notes = site.notes
    if notes is None or not notes.writable:
        return []

    async def put_note(request: Request) -> Response:
        try:
            unit, note = _decode(await _read_body(request), site)
            await run_in_threadpool(notes.put, unit, note)
        except ClientDisconnect:
            return _error("the request is incomplete")
        except RetroscopeError as error:
            return _error(str(error))
        return JSONResponse({"unit": unit, "star": note.star, "text": note.text})

    return [Route("/" + url_for(site, "note"), put_note, methods=["POST"])]


async def _read_body(request: Request) -> bytes:
    """The body, if it is JSON: a form of another site cannot send that."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/json":
        raise NotesError("a note is sent as application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise NotesError(f"the request is larger than {_MAX_BYTES // 1024} KB")
    return bytes(body)


def _decode(body: bytes, site: Site) -> tuple[str, Note]:
    """The unit, by its address in the atlas, and its new note."""
    try:
        facts = json.loads(body)
        unit, star, text = facts["unit"], facts["star"], facts["text"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotesError("a note is an object with unit, star and text") from error
    if not (isinstance(unit, str) and isinstance(star, bool) and isinstance(text, str)):
        raise NotesError("unit and text of a note are texts, star is true or false")
    address = Unit.parse(unit)
    if address.channel is None or address.position is not None or address not in site.atlas:
        raise UnitError(f"{site.atlas.path.name!r} has no channel {unit!r}")
    layer = site.atlas.layer(address.layer)
    return f"{layer.name}:{address.channel}", Note(star, text.strip())


def _error(text: str) -> Response:
    return JSONResponse({"error": text}, 400)
