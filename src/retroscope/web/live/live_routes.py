"""An image of the reader's own, looked at with the network: answers as they come, nothing kept.

The page sends its picture with every question, so that the server need not remember one.
"""

import json
from collections.abc import Iterator
from threading import BoundedSemaphore, Lock
from weakref import finalize

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from retroscope.engine.batching import Prepared
from retroscope.errors import RetroscopeError
from retroscope.imaging.image import TooLargeError
from retroscope.methods.atlas_match import refuse_another
from retroscope.network import Network
from retroscope.web.live.answers import QUESTIONS, Answers, Looking
from retroscope.web.live.channel_memory import Remembered
from retroscope.web.live.uploads import picture_in, received
from retroscope.web.site.pages.search_index import as_script
from retroscope.web.site.site import Facts, Site

_MAX_REQUESTS = 8
"""How many may look at once; each holds its picture in memory."""


def routes(site: Site, net: Network) -> list[BaseRoute]:
    """What a server answers with a network attached."""
    refuse_another(site.atlas, net, net.layers)
    looking = Looking(site, net, Remembered(site.atlas), Lock(), BoundedSemaphore(_MAX_REQUESTS))

    async def look(request: Request) -> Response:
        return await _answered(looking, request)

    async def model(_request: Request) -> Response:
        facts = {"name": net.name, "labels": len(net.labels)}
        return Response(as_script("model", facts), media_type="text/javascript")

    return [Route("/look", look, methods=["POST"]), Route("/model.js", model, methods=["GET"])]


async def _answered(looking: Looking, request: Request) -> Response:
    question = QUESTIONS.get(request.query_params.get("ask", ""))
    if question is None:
        return _refused(f"there is nothing of the kind to ask; there are {', '.join(QUESTIONS)}")
    if not looking.room.acquire(blocking=False):
        return _refused("too many are looking at once; try again in a moment", 429)
    try:
        data = await received(request.stream())
        prepared = await run_in_threadpool(_prepared, looking, data)
        answers = question(looking, prepared, dict(request.query_params))
        first = await run_in_threadpool(_next, looking, answers)
    except RetroscopeError as error:
        looking.room.release()
        return _refused(str(error), 413 if isinstance(error, TooLargeError) else 400)
    except ClientDisconnect:
        looking.room.release()
        return _refused("the picture did not come to its end")
    except BaseException:
        looking.room.release()
        raise
    lines = _lines(looking, first, answers)
    finalize(lines, looking.room.release)  # also where the browser has gone away meanwhile
    return StreamingResponse(lines, media_type="application/x-ndjson")


def _prepared(looking: Looking, data: bytes) -> Prepared:
    """As the network reads a file of its own, so that both see the same."""
    net = looking.net
    return net.prepare(picture_in(data, at_least=net.preprocessing.fit.enough))


def _next(looking: Looking, answers: Answers) -> Facts | None:
    """The next answer, when it is our turn."""
    with looking.turn:
        return next(answers, None)


def _lines(looking: Looking, first: Facts | None, answers: Answers) -> Iterator[str]:
    """An answer on each line; what went wrong on the way is the last one."""
    facts = first
    try:
        while facts is not None:
            yield json.dumps(facts) + "\n"
            facts = _next(looking, answers)
    except RetroscopeError as error:
        yield json.dumps({"error": str(error)}) + "\n"


def _refused(text: str, status: int = 400) -> Response:
    return JSONResponse({"error": text}, status)
