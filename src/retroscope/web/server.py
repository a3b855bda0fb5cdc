"""The local server: each URL is a file of the site."""

import logging
import socket
import webbrowser
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from retroscope.atlas.reader import Atlas
from retroscope.errors import RetroscopeError
from retroscope.web.security import (
    HEADERS,
    host_allowed,
    is_anywhere,
    known_hosts,
    origin_allowed,
)
from retroscope.web.site.routes import answer
from retroscope.web.site.site import NotThereError, Site, opened_site
from retroscope.web.site.templating import prepare

if TYPE_CHECKING:
    from retroscope.network import Network

_log = logging.getLogger(__name__)
_MISSING = (
    b"<!doctype html><title>Not here</title><p>There is no such page. <a href='/'>The network</a>"
)


def application(
    site: Site, *, host: str = "127.0.0.1", routes: Sequence[BaseRoute] = ()
) -> Starlette:
    """The server of a site; `routes` are of an attached network."""

    async def page(request: Request) -> Response:
        return await run_in_threadpool(_response, site, request)

    hosts = None if is_anywhere(host) else known_hosts(host)
    return Starlette(
        routes=[*routes, Route("/{path:path}", page, methods=["GET", "HEAD"])],
        middleware=[Middleware(Guarded, hosts=hosts)],
        exception_handlers={404: _not_here, 500: _failed, RetroscopeError: _not_here},
    )


class Guarded:
    """Refuses requests to other hosts and from other origins; sets the headers of all answers."""

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        app = self._app if refusal is None else refusal
        await app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = scope["headers"]
        if not host_allowed(headers, self._hosts):
            return Response("This server is asked for under another name.", 421)
        if scope["method"] not in {"GET", "HEAD"} and not origin_allowed(headers):
            return Response("This is not for other sites.", 403)
        return None


def serve(
    atlas: str | Path | Atlas,
    *,
    model: "Network | None" = None,
    compare: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    browser: bool = True,
    told: Callable[[str], None] = lambda _address: None,
) -> None:
    """Shows an atlas to a browser on this machine, until it is interrupted.

    With a network, images of the reader's own can be looked at. `compare` is another atlas of the
    same network. Port 0 is any that is free. `told` hears the address once it can be asked.

    >>> serve("no-such.atlas")
    Traceback (most recent call last):
    retroscope.atlas.schema.AtlasError: no atlas 'no-such.atlas'; 'retroscope scan' makes one
    """
    with opened_site(atlas, compare) as site:
        routes = _looking(site, model)
        app = application(site, host=host, routes=routes)
        prepare()
        with listening_on(host, port) as listening:
            address = _address(listening, host)
            told(address)
            if browser:
                webbrowser.open(address)
            _run(app, listening)


def _run(app: Starlette, listening: socket.socket) -> None:
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none"
    )
    uvicorn.Server(config).run(sockets=[listening])


def _looking(site: Site, model: "Network | None") -> Sequence[BaseRoute]:
    if model is None:
        return ()
    from retroscope.web.live.own_image import routes

    return routes(site, model)


def _address(listening: socket.socket, host: str) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}/"


def listening_on(host: str, port: int) -> socket.socket:
    """A socket for a server; port 0 is any that is free."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise RetroscopeError(
            f"cannot serve on {host} port {port} ({error}); leave --port out for one that is free"
        ) from error


def _response(site: Site, request: Request) -> Response:
    path = request.path_params["path"] or "index.html"
    found = answer(site, path)
    tag = f'"{blake2b(found.body, digest_size=12).hexdigest()}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    return Response(found.body, media_type=found.kind, headers={"etag": tag})


async def _not_here(_request: Request, error: Exception) -> Response:
    if not isinstance(error, NotThereError):
        _log.info("%s", error)
    return Response(_MISSING, 404, media_type="text/html")


async def _failed(_request: Request, _error: Exception) -> Response:
    return Response("Something went wrong here; the terminal tells more.", 500)


def _with_headers(send: Send) -> Send:
    async def sending(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            given = message.setdefault("headers", [])
            assert isinstance(given, list)
            given += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        await send(message)

    return sending  # type: ignore[return-value]
