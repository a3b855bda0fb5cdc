"""HTTP routes that run the network on an uploaded image; nothing is stored.

The page uploads its image with every request. Results are streamed as lines of JSON.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, closing, suppress
from threading import BoundedSemaphore, Lock

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from retroscope.engine.batching import NetworkInput
from retroscope.errors import RetroscopeError, UnitError, choose
from retroscope.imaging.decoding import TooLargeError
from retroscope.input_binding import name_failing_inputs
from retroscope.methods.atlas_match import check_same_network
from retroscope.network import Network
from retroscope.web.live.channel_stats_cache import ChannelStatsCache
from retroscope.web.live.image_analyses import ANALYSES, LiveSession, Results
from retroscope.web.live.input_facts import input_facts
from retroscope.web.live.scanned_images import ScannedImages, ScannedSource
from retroscope.web.live.uploads import UploadTimeoutError, read_body, read_upload
from retroscope.web.site.pages.page_facts import assignment_script
from retroscope.web.site.routes import MEDIA_TYPES
from retroscope.web.site.site import Facts, Site
from retroscope.web.site.urls import url_for

_MAX_REQUESTS = 8
"""Requests at a time; each holds its image in memory."""
_STALLED_SECONDS = 30.0
"""How long a client may leave a part of its response unread."""
_MAX_DIGITS = 10


def live_routes(site: Site, net: Network, images: ScannedImages | None = None) -> list[BaseRoute]:
    """The routes of a server with a network attached. `images` reads those of the scan."""
    check_same_network(site.atlas, net, net.layers)
    stats, slots = ChannelStatsCache(site.atlas), BoundedSemaphore(_MAX_REQUESTS)
    images = images or ScannedImages(ScannedSource(site.atlas, net))
    session = LiveSession(site, net, stats, images, Lock(), slots)

    async def model_script(_request: Request) -> Response:
        facts = {"name": net.name, "labels": len(net.labels), "inputs": input_facts(net)}
        return Response(assignment_script("model", facts), media_type=MEDIA_TYPES["js"])

    return [
        Route("/" + url_for(site, "analysis"), AnalysisEndpoint(session), methods=["POST"]),
        Route("/" + url_for(site, "model"), model_script, methods=["GET"]),
    ]


class AnalysisEndpoint:
    """Answers a request for an analysis, as an ASGI application.

    A request holds a slot from before its upload until its last result is computed. It gives the
    slot back on every way out, also if the client disconnects.
    """

    def __init__(self, session: LiveSession) -> None:
        self._session = session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnect), ExitStack() as slot:
            response = await self._respond(Request(scope, receive), slot)
            await response(scope, receive, _disconnect_stalled(send))

    async def _respond(self, request: Request, slot: ExitStack) -> Response:
        if not self._session.slots.acquire(blocking=False):
            return _error_response("too many requests; try again in a moment", 429)
        slot.callback(self._session.slots.release)
        try:
            return await _analyze(self._session, request, slot)
        except UploadTimeoutError as error:
            return _error_response(str(error), 408, headers={"connection": "close"})
        except RetroscopeError as error:
            return _error_response(str(error), 413 if isinstance(error, TooLargeError) else 400)
        except ClientDisconnect:
            return _error_response("the upload is incomplete")


async def _analyze(session: LiveSession, request: Request, slot: ExitStack) -> Response:
    """The response, once its first result is computed."""
    analysis = choose("analysis", request.query_params.get("analysis", ""), ANALYSES)
    session.net.require_images("analysis in the viewer", instead="rs.cam and rs.saliency take them")
    number = request.query_params.get("image")
    content_type = request.headers.get("content-type", "")
    body = await read_body(request.stream(), session.net, content_type)
    image = await (
        run_in_threadpool(read_upload, session.net, body, content_type)
        if number is None
        else run_in_threadpool(_stored_image, session, number)
    )
    results = _explain(session, image, analysis(session, image, dict(request.query_params)))
    slot.callback(results.close)
    first = await run_in_threadpool(_next_result, session, results)
    lines = _stream_lines(session, first, results, slot=slot)
    return StreamingResponse(lines, media_type="application/x-ndjson")


def _stored_image(session: LiveSession, number: str) -> NetworkInput:
    """An image of the atlas as the network takes it."""
    if not (number.isascii() and number.isdecimal() and len(number) < _MAX_DIGITS):
        raise UnitError(f"{number!r} is not the number of an image")
    return session.images.read(int(number))


def _explain(session: LiveSession, image: NetworkInput, results: Results) -> Results:
    """The results, with an error of the network's own code in one line, if inputs are its cause."""
    with closing(results), name_failing_inputs(session.net, image):
        yield from results


def _next_result(session: LiveSession, results: Results) -> Facts | None:
    """The next result, computed when no other request uses the network."""
    with session.lock:
        return next(results, None)


async def _stream_lines(
    session: LiveSession, first: Facts | None, results: Results, *, slot: ExitStack
) -> AsyncIterator[str]:
    """A result on each line; an error on the way is the last line.

    The slot is free before the client sees the end, and may send its next request.
    """
    facts = first
    with slot:
        try:
            while facts is not None:
                yield json.dumps(facts) + "\n"
                facts = await run_in_threadpool(_next_result, session, results)
        except RetroscopeError as error:
            yield json.dumps({"error": str(error)}) + "\n"


def _disconnect_stalled(send: Send) -> Send:
    """Treats a client that stops reading its response as disconnected."""

    async def send_with_timeout(message: Message) -> None:
        try:
            async with asyncio.timeout(_STALLED_SECONDS):
                await send(message)
        except TimeoutError as error:
            raise ClientDisconnect from error

    return send_with_timeout


def _error_response(
    text: str, status: int = 400, *, headers: Mapping[str, str] | None = None
) -> Response:
    return JSONResponse({"error": text}, status, headers)
