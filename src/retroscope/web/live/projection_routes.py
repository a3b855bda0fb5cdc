"""HTTP routes that make missing projections: they start a job, say how far it is, and stop it.

Only a server for this machine alone has them, because they write the atlas. A script asks for JSON;
a page without scripts sends a form and is led to a page that renews itself.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from retroscope.atlas.queries.projection_queries import PLATE_SIZE, count_missing
from retroscope.atlas.queries.rankings import AnyRanking, DefaultRankings
from retroscope.atlas.ranking_lookup import find_rankings
from retroscope.atlas.schema import Ranking
from retroscope.errors import RetroscopeError, UnitError, choose
from retroscope.network import Network
from retroscope.render.captions import count_noun
from retroscope.unit import Unit
from retroscope.web.live.projection_jobs import (
    BusyError,
    JobState,
    ProjectionJob,
    ProjectionJobs,
    ProjectionTask,
)
from retroscope.web.live.projection_timer import ProjectionTimer
from retroscope.web.live.scanned_images import ScannedImages, ScannedSource
from retroscope.web.site.pages.missing_projections import command_facts
from retroscope.web.site.routes import MEDIA_TYPES, projection_job_page
from retroscope.web.site.site import Facts, PageNotFoundError, Site
from retroscope.web.site.urls import json_url, url_for, url_template

FormFields = Mapping[str, Sequence[str]]
"""The values of each field."""
HITS = {"best": 1, "all": PLATE_SIZE}
"""The hits of each ranking that a form asks for, by its word."""
_MAX_BYTES, _MAX_FIELDS = 16_384, 32
"""Of a form, which names up to nine classes."""


def projection_routes(
    site: Site, net: Network, jobs: ProjectionJobs, *, images: ScannedImages | None = None
) -> list[BaseRoute]:
    """The routes of a site whose missing projections can be made."""
    images = images or ScannedImages(ScannedSource(site.atlas, net))
    desk = _ProjectionDesk(site, jobs, ProjectionTimer(site.atlas, net, images))
    page = "/" + url_template(site, "projection_job")
    return [
        Route("/" + url_for(site, "projection_estimate"), desk.estimate, methods=["POST"]),
        Route("/" + url_for(site, "projection"), desk.start, methods=["POST"]),
        Route("/" + url_template(site, "projection_stop"), desk.stop, methods=["POST"]),
        Route(json_url(page), desk.state, methods=["GET"]),
        Route(page, desk.page, methods=["GET"]),
    ]


class _ProjectionDesk:
    """Answers the requests about the projections of a site."""

    def __init__(self, site: Site, jobs: ProjectionJobs, timer: ProjectionTimer) -> None:
        self._site, self._jobs, self._timer = site, jobs, timer

    async def start(self, request: Request) -> Response:
        """Starts a job."""
        try:
            job = self._jobs.start(_parse_request(self._site, await _read_form(request)))
        except (RetroscopeError, ClientDisconnect) as error:
            return _error_response(error)
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse(job_facts(self._site, job), 202)
        return RedirectResponse("/" + url_for(self._site, "projection_job", job=job.number), 303)

    async def estimate(self, request: Request) -> Response:
        """How many projections a job would make, and about how long that takes."""
        try:
            wanted = _parse_request(self._site, await _read_form(request))
            return JSONResponse(await run_in_threadpool(self._estimate, wanted))
        except (RetroscopeError, ClientDisconnect) as error:
            return _error_response(error)

    def _estimate(self, request: ProjectionTask) -> Facts:
        layer, channel = self._site.atlas.layer(request.unit.layer), request.unit.channel
        channels = None if channel is None else range(channel, channel + 1)
        counts = [
            count_missing(self._site.atlas, layer, channels=channels, ranking=ranking)
            for ranking in _rankings(self._site, request)
        ]
        count = sum(row.best_hits if request.hits == 1 else row.hits for row in counts)
        seconds = self._jobs.seconds_per_projection(layer.name)
        if seconds is None and self._jobs.is_idle:
            seconds = self._timer.seconds_per_projection(layer)
        return {"hits": count, "seconds": None if seconds is None else count * seconds}

    async def state(self, request: Request) -> Response:
        """How far a job is."""
        job = self._find(request)
        job.keep_alive()
        return JSONResponse(job_facts(self._site, job))

    async def page(self, request: Request) -> Response:
        """The same as a page, or the page with the new projections once they are there."""
        job = self._find(request)
        job.keep_alive()
        facts = job_facts(self._site, job)
        if job.state == JobState.DONE:
            return RedirectResponse("/" + str(facts["href"]), 303)
        body = await run_in_threadpool(projection_job_page, self._site, facts)
        return Response(body, media_type=MEDIA_TYPES["html"])

    async def stop(self, request: Request) -> Response:
        """Stops a job after the projections at work."""
        job = self._find(request)
        job.stop()
        return RedirectResponse("/" + url_for(self._site, "projection_job", job=job.number), 303)

    def _find(self, request: Request) -> ProjectionJob:
        number = request.path_params["job"]
        jobs = {str(number): job for number, job in self._jobs.jobs.items()}
        if number not in jobs:
            raise PageNotFoundError(f"no projections {number!r} at work")
        return jobs[number]


def job_facts(site: Site, job: ProjectionJob) -> Facts:
    """How far a job is, in numbers and in words."""
    return {
        "scan": command_facts(site),
        "unit": str(job.request.unit),
        "href": _page_of(site, job.request),
        "json": json_url(url_for(site, "projection_job", job=job.number)),
        "path": url_for(site, "projection_job", job=job.number),
        "stop": url_for(site, "projection_stop", job=job.number),
        "state": job.state.value,
        "active": job.state.is_active,
        "completed": job.completed,
        "total": job.total,
        "seconds_left": job.seconds_left,
        "message": _message(job),
        "needs_images": job.has_image_error,
    }


def _page_of(site: Site, task: ProjectionTask) -> str:
    """The page that shows the projections; of a layer, by the ranking or the class of the task."""
    layer, channel = task.unit.layer, task.unit.channel
    if channel is not None:
        return url_for(site, "unit", layer=layer, channel=channel)
    options = {"by": task.ranked_by, "class": next(iter(task.labels), None)}
    query = urlencode({name: value for name, value in options.items() if value})
    return url_for(site, "layer", layer=layer) + (f"?{query}" if query else "")


def _message(job: ProjectionJob) -> str:
    made = f"{count_noun(job.completed, 'projection')} made"
    if job.is_stopping:
        return "Stopping after the current batch."
    match job.state:
        case JobState.WAITING:
            return "Waiting for other work of the network."
        case JobState.RUNNING:
            return f"{job.completed:,} of {job.total:,} projections." if job.total else "Starting."
        case JobState.DONE:
            return f"{made}." if job.completed else "All of these projections already exist."
        case JobState.STOPPED:
            return f"Stopped; {made} and stored."
        case JobState.FAILED:
            hint = " If the images have moved, start the viewer with them:"
            error = job.error[:1].upper() + job.error[1:]
            return f"{error}.{hint if job.has_image_error else ''}"


def _parse_request(site: Site, form: FormFields) -> ProjectionTask:
    """The layer or channel, the hits and the rankings that a form names."""
    address = Unit.parse(_field(form, "unit"))
    if address.position is not None or address.whole_map:
        raise UnitError(f"{address} has a position; projections are made for channels and layers")
    layer = site.atlas.layer(address.layer)
    if address.channel is not None and address not in site.atlas:
        raise UnitError(f"{site.atlas.path.name!r} has no channel {str(address)!r}")
    hits = choose("choice of hits", _field(form, "hits"), HITS)
    unit, labels = Unit(layer.name, address.channel), tuple(dict.fromkeys(form.get("class", ())))
    task = ProjectionTask(unit, hits, _field(form, "ranked_by") or None, labels)
    _rankings(site, task)
    return task


def _rankings(site: Site, task: ProjectionTask) -> Sequence[AnyRanking]:
    """The rankings of a task. Raises if the atlas does not have one."""
    if task.ranked_by is None and not task.labels:
        return (DefaultRankings(),)
    return find_rankings(site.atlas, task.ranked_by or Ranking.MAX, task.labels or None)


def _field(form: FormFields, name: str) -> str:
    """The first value of a field; empty if there is none."""
    return next(iter(form.get(name, ())), "")


async def _read_form(request: Request) -> FormFields:
    """The fields of a form."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise RetroscopeError(f"the request is larger than {_MAX_BYTES // 1024} KB")
    try:
        return parse_qs(body.decode("utf-8", "replace"), max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise RetroscopeError(f"the request has more than {_MAX_FIELDS} fields") from error


def _error_response(error: RetroscopeError | ClientDisconnect) -> Response:
    if isinstance(error, ClientDisconnect):
        return JSONResponse({"error": "the request is incomplete"}, 400)
    return JSONResponse({"error": str(error)}, 429 if isinstance(error, BusyError) else 400)
