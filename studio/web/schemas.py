"""The shapes of all answers; the OpenAPI document is made from them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Health(Answer):
    status: Literal["healthy"]
    message: str
    available_models: list[str]
    websocket_support: bool
    transcription_endpoint: str
    version: str
    jobs_queued: int
    jobs_processing: int


class Ready(Answer):
    ready: bool
    models: dict[str, str] = Field(
        description="For each startup model: loading, ready, or why it cannot be loaded."
    )
    storage: dict[str, str] = Field(
        description="For the disk and the job database: ready, or why it cannot be written."
    )


class Variant(Answer):
    purpose: str
    stems: list[str] | None = Field(
        None, description="Demucs only. Null if unknown before the weights are loaded."
    )
    engine: str | None = Field(
        description="Inference engine. Null if unknown before the weights are loaded."
    )
    weights: Literal["bundled", "local", "downloaded", "available"]
    size_bytes: int | None
    licence: str = Field(description="Licence of the weights.")


class Model(Answer):
    purpose: str
    file_types: list[str]
    default: str
    variants: dict[str, Variant]


class Models(Answer):
    models: dict[str, Model]


class Uploaded(Answer):
    file_id: str
    filename: str
    bytes: int
    duration_s: float | None
    sample_rate_hz: int | None
    channels: int | None
    note: str | None = Field(
        description="Set if the file does not record where it ends; otherwise null."
    )


class JobError(BaseModel):
    model_config = ConfigDict(extra="allow")

    code: str
    error: str


JobStatus = Literal["queued", "processing", "completed", "failed", "canceled"]


class Job(Answer):
    job_id: str
    file_id: str
    model: str
    variant: str
    options: dict[str, Any]
    status: JobStatus
    stage: str
    progress: float = Field(ge=0, le=1, description="Measured progress, 0 to 1.")
    place: int | None = Field(description="Place in the queue, from 1; null unless queued.")
    eta_s: float | None = Field(description="Estimated seconds remaining at the measured speed.")
    error: JobError | None
    tracks: list[str]
    result: dict[str, Any] | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class Status(Answer):
    """The latest job of a file, and up to 20 jobs under `jobs`. `uploaded`: no job yet."""

    file_id: str
    filename: str
    job_id: str | None
    model: str | None
    variant: str | None
    status: Literal["uploaded", "queued", "processing", "completed", "failed", "canceled"]
    stage: str | None
    progress: float
    place: int | None
    eta_s: float | None
    error: JobError | None
    tracks: list[str]
    jobs: list[Job]
    jobs_total: int = Field(description="Number of stored jobs of the file, at most 100.")
    next: str | None = Field(description="URL of the preceding jobs; null if there are none.")


class TrackFormat(Answer):
    ready: bool = Field(description="False if the format is made on first download.")
    bytes: int | None
    url: str


class Track(Answer):
    track: str
    job_id: str
    model: str
    variant: str
    duration_s: float
    formats: dict[str, TrackFormat]


class Files(Uploaded):
    tracks: list[Track]
    archive: str | None = Field(description="URL of a ZIP with all tracks.")


class Deleted(Answer):
    file_id: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details, with a stable `code` and a readable `error`."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    error: str
    request_id: str | None = Field(description="ID of the request in the server log.")
