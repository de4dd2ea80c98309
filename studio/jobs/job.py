"""The states and the record of a job."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Any

from studio.storage.results import ResultId

Report = Callable[[str, float], None]
"""Called with the stage and the progress (0 to 1). Raises to end the job."""


def part_of(report: Report, start: float, end: float) -> Report:
    """A report for a part of the work, which takes the progress from `start` to `end`."""

    def report_part(stage: str, progress: float) -> None:
        report(stage, start + (end - start) * progress)

    return report_part


class State(StrEnum):
    """queued -> processing -> completed | failed | canceled; the last three are final."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        return self in (State.COMPLETED, State.FAILED, State.CANCELED)


@dataclass(frozen=True)
class Request:
    """A request for a job. Requests with the same fingerprint have the same results.

    `before_download` is the fingerprint that it had before the weights were downloaded, if so.
    """

    file_id: str
    model: str
    variant: str
    options: dict[str, Any]
    fingerprint: str
    before_download: str | None = None

    @property
    def fingerprints(self) -> list[str]:
        """Fingerprints of jobs whose results this request can reuse."""
        return [one for one in (self.fingerprint, self.before_download) if one is not None]


@dataclass(frozen=True)
class Job:
    """A stored job. Times are Unix seconds; progress is measured, 0 to 1.

    `result` describes the tracks of a completed job, `error` the cause of a failed one.
    `attempts` counts the attempts that began; `attempt` is the number of the current one. It
    grows whenever the job returns to the queue, so an earlier attempt that still runs can change
    neither the job nor its results.
    `place` is 1 for the job that is taken next, and None unless queued. `client` is the client
    that requested it. `shares` is the result of an earlier job whose files it has, if any.
    `worked_s` is the measured time of an attempt that has just ended in this process.
    """

    job_id: str
    request: Request
    state: State
    stage: str
    progress: float
    created_at: float
    _: KW_ONLY
    eta_s: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    attempts: int = 0
    attempt: int = 1
    place: int | None = None
    client: str | None = None
    error: dict[str, Any] | None = None
    shares: str = ""
    result: dict[str, Any] | None = field(default=None, repr=False)
    worked_s: float | None = None

    @property
    def running_s(self) -> float:
        """How long it ran: as measured, because the clock may have been set, or by its times."""
        if self.worked_s is not None:
            return self.worked_s
        ended_at = self.finished_at or 0.0
        return max(0.0, ended_at - (self.started_at or ended_at))

    @property
    def result_id(self) -> ResultId:
        """The files of the result of this attempt."""
        name = result_name(self.job_id, self.attempt)
        return ResultId(self.request.file_id, name, self.shares)


def result_name(job_id: str, attempt: int) -> str:
    """The name of the result folder of an attempt; that of the first one is the job ID."""
    return job_id if attempt == 1 else f"{job_id}-{attempt}"


def job_of_result(name: str) -> str:
    """The ID of the job whose result folder has this name."""
    return name.partition("-")[0]
