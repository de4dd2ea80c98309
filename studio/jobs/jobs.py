"""The interface through which the rest of the server starts, cancels and awaits jobs."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from studio.errors import NothingToCancel, QueueFull, TooManyJobs
from studio.jobs.job import Job, Request
from studio.jobs.tables import DEFAULT_QUEUE

RETRY_AFTER_S = 10


class Jobs(Protocol):
    """Jobs of this machine (`studio.jobs.runner`) or of many (`studio.jobs.scale`)."""

    def start(self) -> None:
        """Begin to take jobs, or to listen to those who do."""
        ...

    def stop(self, timeout_s: float = ...) -> None:
        """Stop: running jobs end at their next report and are queued again."""
        ...

    def submit(
        self, request: Request, client: str | None = None, webhook: str | None = None
    ) -> Job:
        """Queue a job, or return the unfinished one for the same request.

        `webhook` is a URL that receives a request when the job ends. Raises QueueFull or
        TooManyJobs.
        """
        ...

    def cancel(self, file_id: str) -> None:
        """Cancel the queued and running jobs of a file. Raises NothingToCancel."""
        ...

    def while_idle(self, file_id: str, act: Callable[[], None]) -> None:
        """Call `act` unless an unfinished job uses the file; block new jobs until it returns."""
        ...

    def wait(self, job_id: str, timeout_s: float, until: Callable[[], bool] | None = ...) -> None:
        """Return when the job has ended or is gone, or after `timeout_s`.

        `until` is called whenever a job reports, or every few seconds; the wait also ends when it
        returns True.
        """
        ...

    def wait_for_change(self, seen: int, timeout_s: float) -> int:
        """Return when any job has changed since change number `seen`, or after `timeout_s`.

        Returns the number of the latest change.
        """
        ...

    @property
    def is_stopping(self) -> bool:
        """Whether no further job will end here."""
        ...


def check_bounds(queued: int, max_queued: int, of_client: int, max_per_client: int) -> None:
    """Raise QueueFull or TooManyJobs if another job would exceed a bound (0 per client: none)."""
    if queued >= max_queued:
        raise QueueFull(
            f"The queue is full: {max_queued} jobs are waiting. Retry after {RETRY_AFTER_S} s.",
            retry_after_s=RETRY_AFTER_S,
        )
    if 0 < max_per_client <= of_client:
        raise TooManyJobs(
            f"You have {max_per_client} unfinished jobs, which is the maximum. "
            "Wait until one ends, or cancel one (POST /cancel/<file_id>).",
            retry_after_s=RETRY_AFTER_S,
        )


def route(routes: Sequence[tuple[str, str]], model: str, variant: str) -> str:
    """The queue of a variant: that of the first route whose pattern matches MODEL.VARIANT."""
    name = f"{model}.{variant}"
    return next((queue for pattern, queue in routes if fnmatchcase(name, pattern)), DEFAULT_QUEUE)


def nothing_to_cancel(file_id: str) -> NothingToCancel:
    return NothingToCancel(f"The file {file_id} has no queued or processing job.")


def uses(job: Job, file_id: str) -> bool:
    """Whether a job reads a file."""
    return file_id == job.request.file_id or file_id in job.request.options.values()
