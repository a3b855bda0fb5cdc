"""The local server of a site."""

import logging
import os
import socket
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from retroscope.argument_types import check_arguments
from retroscope.atlas.reader import Atlas
from retroscope.errors import RetroscopeError
from retroscope.web.note_route import note_routes
from retroscope.web.security import (
    HEADERS,
    allowed_hosts,
    has_allowed_host,
    has_allowed_origin,
    is_local,
    is_wildcard,
)
from retroscope.web.site.notes import notes_of
from retroscope.web.site.routes import not_found_page, respond
from retroscope.web.site.site import PageNotFoundError, Site, open_site
from retroscope.web.site.templating import load_templates
from retroscope.web.site.urls import JSON_ENDING, url_for

if TYPE_CHECKING:
    from retroscope.network import Network
    from retroscope.scanning.sources.paired_images import OtherSources

_log = logging.getLogger(__name__)


def make_app(site: Site, *, host: str = "127.0.0.1", routes: Sequence[BaseRoute] = ()) -> Starlette:
    """The web application of a site; `routes` are those of a network attached to it."""

    async def page(request: Request) -> Response:
        return await run_in_threadpool(_respond, site, request)

    async def not_found(request: Request, error: Exception) -> Response:
        return await run_in_threadpool(_not_found, site, request, error)

    hosts = None if is_wildcard(host) else allowed_hosts(host)
    return Starlette(
        routes=[*routes, Route("/{path:path}", page, methods=["GET", "HEAD"])],
        middleware=[Middleware(RequestGuard, hosts=hosts)],
        exception_handlers={404: not_found, 500: _internal_error, RetroscopeError: not_found},
    )


class RequestGuard:
    """Rejects requests with another host or origin, and adds the security headers."""

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        rejection = self._rejection(scope)
        app = self._app if rejection is None else rejection
        await app(scope, receive, _add_headers(send))

    def _rejection(self, scope: Scope) -> Response | None:
        headers = scope["headers"]
        if not has_allowed_host(headers, self._hosts):
            return Response("Unknown host name.", 421)
        if scope["method"] not in {"GET", "HEAD"} and not has_allowed_origin(headers):
            return Response("Requests from other sites are not allowed.", 403)
        return None


@check_arguments
def serve(
    atlas: str | Path | Atlas,
    *,
    net: "Network | None" = None,
    images: str | Path | None = None,
    glob: str | None = None,
    inputs: "OtherSources | None" = None,
    compare: str | Path | Sequence[str | Path] = (),
    host: str = "127.0.0.1",
    port: int = 0,
    browser: bool = True,
    on_ready: Callable[[str], None] = lambda _address: None,
) -> None:
    """Serves an atlas in the browser until interrupted.

    With a network, the viewer can examine images of your own, and make projections that the atlas
    lacks. `images`, `glob` and `inputs` are then those of the scan; by default, those that the
    atlas records.
    `compare` are other atlases of the same network. Port 0 is any free port.
    `on_ready` receives the address once the server accepts connections. Stars and notes on units
    are written beside the atlas, and projections into it, if only this machine can reach `host`.

    Anyone who can reach `host` can see the atlas, its images and the paths of their files, and run
    the network on images that they upload. The default admits only this machine.

    >>> serve("no.atlas")
    Traceback (most recent call last):
    retroscope.atlas.schema.AtlasError: no atlas 'no.atlas'; rs.scan or 'retroscope scan' makes one
    """
    with ExitStack() as stack:
        opened_site = stack.enter_context(open_site(atlas, compare))
        opened_site = _answer_queries(opened_site)
        site = _add_notes(opened_site) if is_local(host) else opened_site
        routes: list[BaseRoute] = [*note_routes(site)]
        if net is not None:
            site = replace(site, can_project=is_local(host))
            routes += stack.enter_context(
                _network_routes(site, net, images=images, glob=glob, inputs=inputs)
            )
        app = make_app(site, host=host, routes=routes)
        load_templates()
        with open_socket(host, port) as server_socket:
            address = _address(server_socket, host)
            on_ready(address)
            if browser:
                webbrowser.open(address)
            _run(app, server_socket)


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens on this port; 0 is any free port."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number and number > 0 else error
        raise RetroscopeError(
            f"cannot serve on {host} port {port} ({reason}); check the host, or use port 0 "
            "for any free port",
            parameter="port",
        ) from error


def _run(app: Starlette, server_socket: socket.socket) -> None:
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none"
    )
    uvicorn.Server(config).run(sockets=[server_socket])


@contextmanager
def _network_routes(
    site: Site,
    net: "Network",
    *,
    images: str | Path | None,
    glob: str | None,
    inputs: "OtherSources | None",
) -> Iterator[Sequence[BaseRoute]]:
    """What only a network can answer. At the end, projections at work are stopped."""
    from retroscope.web.live.live_routes import live_routes
    from retroscope.web.live.projection_jobs import ProjectionJobs
    from retroscope.web.live.projection_routes import projection_routes
    from retroscope.web.live.scanned_images import ScannedImages, ScannedSource

    source = ScannedSource(site.atlas, net, images, glob, inputs)
    scanned_images = ScannedImages(source)
    routes = live_routes(site, net, scanned_images)
    with ProjectionJobs(source) as jobs:
        if site.can_project:
            routes += projection_routes(site, net, jobs, images=scanned_images)
        yield routes


def _answer_queries(site: Site) -> Site:
    """The site, and those inside it, with forms that work without scripts."""
    others = tuple(replace(other, answers_queries=True) for other in site.others)
    return replace(site, answers_queries=True, others=others)


def _add_notes(site: Site) -> Site:
    """The site with the notes beside its atlas; refuses a file that is something else."""
    notes = notes_of(site.atlas.path, writable=True)
    notes.read()
    return replace(site, notes=notes)


def _address(server_socket: socket.socket, host: str) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{server_socket.getsockname()[1]}/"


def _respond(site: Site, request: Request) -> Response:
    """The page or file at a path; 304 if the browser has it already."""
    path = request.path_params["path"] or url_for(site, "network")
    response = respond(site, path, dict(request.query_params))
    etag = f'"{blake2b(response.body, digest_size=12).hexdigest()}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    return Response(response.body, media_type=response.media_type, headers={"etag": etag})


def _not_found(site: Site, request: Request, error: Exception) -> Response:
    """A page that says what does not exist; the same as JSON in place of JSON."""
    reason = f"{error}." if isinstance(error, RetroscopeError) else "There is no such page."
    if isinstance(error, RetroscopeError) and not isinstance(error, PageNotFoundError):
        _log.info("%s", error)
        return Response(reason, 404)  # an atlas that cannot be read has no page to say so on
    if request.url.path.endswith(JSON_ENDING):
        return JSONResponse({"error": reason}, 404)
    page = not_found_page(site, reason)
    return Response(page.body, 404, media_type=page.media_type)


async def _internal_error(_request: Request, _error: Exception) -> Response:
    return Response("Internal error; see the terminal.", 500)


def _add_headers(send: Send) -> Send:
    """Sends the security headers with every response."""

    async def send_with_headers(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            headers = message.setdefault("headers", [])
            assert isinstance(headers, list)
            headers += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        await send(message)

    return send_with_headers  # type: ignore[return-value]
