"""HTTP routes that run the network on an uploaded image; nothing is stored.

The page uploads its image with every request. Results are streamed as lines of JSON.
"""

import json
from collections.abc import AsyncIterator, Iterator
from threading import BoundedSemaphore, Lock
from weakref import finalize

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from retroscope.engine.batching import NetworkInput
from retroscope.errors import ImageError, RetroscopeError, choose
from retroscope.imaging.decoding import Size, TooLargeError
from retroscope.imaging.image import Image, decode_image
from retroscope.methods.atlas_match import check_same_network
from retroscope.network import Network
from retroscope.web.live.channel_stats_cache import ChannelStatsCache
from retroscope.web.live.image_analyses import ANALYSES, LiveSession, Results
from retroscope.web.site.pages.network_pages import assignment_script
from retroscope.web.site.routes import MEDIA_TYPES
from retroscope.web.site.site import Facts, Site
from retroscope.web.site.urls import url_for

MAX_BYTES = 24 * 2**20
MAX_PIXELS = 50_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""What browsers and cameras produce."""
_MAX_REQUESTS = 8
"""Requests at a time; each holds its image in memory."""


def live_routes(site: Site, net: Network) -> list[BaseRoute]:
    """The routes of a server with a network attached."""
    check_same_network(site.atlas, net, net.layers)
    stats, slots = ChannelStatsCache(site.atlas), BoundedSemaphore(_MAX_REQUESTS)
    session = LiveSession(site, net, stats, Lock(), slots)

    async def analyze(request: Request) -> Response:
        return await _analyze(session, request)

    async def model_script(_request: Request) -> Response:
        facts = {"name": net.name, "labels": len(net.labels)}
        return Response(assignment_script("model", facts), media_type=MEDIA_TYPES["js"])

    return [
        Route("/" + url_for(site, "analysis"), analyze, methods=["POST"]),
        Route("/" + url_for(site, "model"), model_script, methods=["GET"]),
    ]


async def _analyze(session: LiveSession, request: Request) -> Response:
    if not session.slots.acquire(blocking=False):
        return _error_response("too many requests; try again in a moment", 429)
    try:
        analysis = choose("analysis", request.query_params.get("analysis", ""), ANALYSES)
        body = await read_body(request.stream())
        image = await run_in_threadpool(_prepare_image, session, body)
        results = analysis(session, image, dict(request.query_params))
        first = await run_in_threadpool(_next_result, session, results)
    except RetroscopeError as error:
        session.slots.release()
        return _error_response(str(error), 413 if isinstance(error, TooLargeError) else 400)
    except ClientDisconnect:
        session.slots.release()
        return _error_response("the upload is incomplete")
    except BaseException:
        session.slots.release()
        raise
    lines = _stream_lines(session, first, results)
    finalize(lines, session.slots.release)  # also if the browser disconnects
    return StreamingResponse(lines, media_type="application/x-ndjson")


async def read_body(stream: AsyncIterator[bytes]) -> bytes:
    """The body of a request, up to `MAX_BYTES`."""
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > MAX_BYTES:
            raise TooLargeError(f"the image is larger than {MAX_BYTES // 2**20} MB")
    return bytes(body)


def decode_upload(body: bytes, *, at_least: Size | None = None) -> Image:
    """The image in an uploaded file, upright.

    A JPEG may be decoded at a reduced size, not below `at_least`.

    >>> decode_upload(b"not an image")
    Traceback (most recent call last):
    retroscope.errors.ImageError: not a valid JPEG, PNG, WEBP, GIF or BMP file
    """
    try:
        return decode_image(body, at_least=at_least, formats=_FORMATS, max_pixels=MAX_PIXELS)
    except TooLargeError:
        raise
    except ImageError as error:
        kinds = f"{', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}"
        raise ImageError(f"not a valid {kinds} file") from error


def _prepare_image(session: LiveSession, body: bytes) -> NetworkInput:
    """The same network input as from the image's file."""
    net = session.net
    return net.prepare(decode_upload(body, at_least=net.preprocessing.fit.decoding_size))


def _next_result(session: LiveSession, results: Results) -> Facts | None:
    """The next result, computed when no other request uses the network."""
    with session.lock:
        return next(results, None)


def _stream_lines(session: LiveSession, first: Facts | None, results: Results) -> Iterator[str]:
    """A result on each line; an error on the way is the last line."""
    facts = first
    try:
        while facts is not None:
            yield json.dumps(facts) + "\n"
            facts = _next_result(session, results)
    except RetroscopeError as error:
        yield json.dumps({"error": str(error)}) + "\n"


def _error_response(text: str, status: int = 400) -> Response:
    return JSONResponse({"error": text}, status)
