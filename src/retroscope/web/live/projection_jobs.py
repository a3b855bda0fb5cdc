"""Projections made on demand: one job after the other, in a thread beside those of the server.

A page starts a job and asks now and then how far it is. A job that nobody asks about any more ends
by itself, as does one that is stopped; the projections made until then are stored.
"""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from math import isfinite
from threading import Event, Lock
from time import monotonic
from typing import Self

from retroscope.atlas.schema import AtlasError
from retroscope.errors import RetroscopeError
from retroscope.methods.atlas_match import rules_of_atlas
from retroscope.progress import Progress
from retroscope.scanning.illustrate import illustrate
from retroscope.scanning.image_files import refuse_moved_images
from retroscope.unit import Unit
from retroscope.web.live.scanned_images import ScannedSource

_log = logging.getLogger(__name__)

_MAX_WAITING = 8
_MAX_FINISHED = 64
"""Jobs whose results are remembered."""
_MANY = 32
_ABANDONED_SECONDS = 90.0
"""Browsers wake pages in the background once a minute."""


class JobState(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_active(self) -> bool:
        return self in {JobState.WAITING, JobState.RUNNING}


class BusyError(RetroscopeError):
    """More jobs than the server accepts."""


class _StoppedError(RetroscopeError):
    """Ends a job from inside, at the next report of its progress."""


@dataclass(frozen=True)
class ProjectionTask:
    """A layer or a channel, by the layer's own name, and how many hits of each ranking.

    The rankings are those by maximum and by mean, unless one is named, or the best images of some
    classes.
    """

    unit: Unit
    hits: int
    ranked_by: str | None = None
    labels: tuple[str, ...] = ()


class ProjectionJob:
    """A task at work. `error` says why it failed; `has_image_error` if the images may be why."""

    def __init__(self, number: int, request: ProjectionTask) -> None:
        self.number, self.request = number, request
        self.state = JobState.WAITING
        self.progress: Progress | None = None
        self.error = ""
        self.has_image_error = False
        self._stop = Event()
        self._asked_at = monotonic()

    @property
    def completed(self) -> int:
        return 0 if self.progress is None else self.progress.completed

    @property
    def total(self) -> int:
        """0 before the projections have begun."""
        return 0 if self.progress is None else self.progress.total

    @property
    def seconds_left(self) -> float | None:
        if self.progress is None or not isfinite(self.progress.seconds_left):
            return None
        return self.progress.seconds_left

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set() and self.state.is_active

    def stop(self) -> None:
        """Ends the job after the projections at work."""
        self._stop.set()

    def keep_alive(self) -> None:
        """Somebody still waits for the job."""
        self._asked_at = monotonic()

    def listen(self, progress: Progress) -> None:
        """Takes note of the progress, or ends the job."""
        if progress.stage == "illustrate":
            self.progress = progress
        if self._stop.is_set() or monotonic() - self._asked_at > _ABANDONED_SECONDS:
            raise _StoppedError("the projections were stopped")


class ProjectionJobs:
    """Runs the jobs of a server. Closing it stops them."""

    def __init__(self, source: ScannedSource) -> None:
        self._source = source
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="projections")
        self._jobs: dict[int, ProjectionJob] = {}
        self._guard = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops all jobs, and waits until the one that runs has stored its projections."""
        for job in self.jobs.values():
            job.stop()
        self._pool.shutdown(cancel_futures=True)

    @property
    def jobs(self) -> dict[int, ProjectionJob]:
        """The jobs that wait or run, and the last of those that have ended."""
        with self._guard:
            return dict(self._jobs)

    @property
    def is_idle(self) -> bool:
        return not any(job.state.is_active for job in self.jobs.values())

    def seconds_per_projection(self, layer: str) -> float | None:
        """What projections of a layer took in the last job that made many, None if there is none.

        That includes reading their images, and storing them.
        """
        for job in reversed(self.jobs.values()):
            progress = job.progress
            if progress and job.request.unit.layer == layer and progress.completed >= _MANY:
                return progress.seconds / progress.completed
        return None

    def start(self, request: ProjectionTask) -> ProjectionJob:
        """A new job, or the one that does the same already."""
        with self._guard:
            active = [job for job in self._jobs.values() if job.state.is_active]
            for job in active:
                if job.request == request:
                    job.keep_alive()
                    return job
            if len(active) >= _MAX_WAITING:
                raise BusyError("too many layers and units wait for projections; try again later")
            job = ProjectionJob(max(self._jobs, default=0) + 1, request)
            self._jobs[job.number] = job
            self._forget_old_jobs()
        self._pool.submit(self._run, job).add_done_callback(partial(_end_unfinished, job))
        return job

    def _forget_old_jobs(self) -> None:
        ended = [number for number, job in self._jobs.items() if not job.state.is_active]
        for number in ended[:-_MAX_FINISHED]:
            del self._jobs[number]

    def _run(self, job: ProjectionJob) -> None:
        job.state = JobState.RUNNING
        try:
            self._project(job)
            job.state = JobState.DONE
        except _StoppedError:
            job.state = JobState.STOPPED
        except RetroscopeError as error:
            job.error, job.has_image_error = str(error), not isinstance(error, AtlasError)
            job.state = JobState.FAILED

    def _project(self, job: ProjectionJob) -> None:
        source = self._source
        refuse_moved_images(source.atlas, source.images)
        job.listen(Progress("start", 0, 0, skipped=0, seconds=0.0))
        illustrate(
            source.atlas.path,
            source.net,
            source.images,
            inputs=source.inputs,
            units=[job.request.unit],
            projections=job.request.hits,
            ranked_by=job.request.ranked_by,
            label=job.request.labels or None,
            rules=rules_of_atlas(source.atlas, source.net),
            glob=source.glob,
            progress=job.listen,
        )


def _end_unfinished(job: ProjectionJob, work: Future[None]) -> None:
    """Ends a job that was never begun, or whose work broke off with an error of our own."""
    if work.cancelled():
        job.state = JobState.STOPPED
    elif error := work.exception():
        _log.error("projecting %s", job.request.unit, exc_info=error)
        job.error = "internal error; see the terminal"
        job.state = JobState.FAILED
