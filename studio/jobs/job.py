"""What a job is: its states and its record."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Report = Callable[[str, float], None]
"""Called with the stage and the progress, 0 to 1; raises to end the job."""


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
    """What is to be done. Two requests with the same fingerprint have the same results."""

    file_id: str
    model: str
    variant: str
    options: dict[str, Any]
    fingerprint: str


@dataclass(frozen=True)
class Job:
    """One job as the store knows it. Times are Unix seconds; progress is 0..1, measured.

    `result` describes the tracks of a completed job, `error` the cause of a failed one.
    `place` counts from 1 for the job that is taken next; it is None unless queued. `client` is who
    asked for it.
    """

    job_id: str
    request: Request
    state: State
    stage: str
    progress: float
    created_at: float
    eta_s: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    attempts: int = 0
    place: int | None = None
    client: str | None = None
    error: dict[str, Any] | None = None
    result: dict[str, Any] | None = field(default=None, repr=False)
