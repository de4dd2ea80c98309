"""The schemas of all responses; the OpenAPI document is generated from them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FILE_ID = "5f0c1c6e0f4e4b0f9d6f2a7b8c9d0e1f"
JOB_ID = "0d9b8a7c6f5e4d3c2b1a0f9e8d7c6b5a"

Time = Annotated[
    str,
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-05-04T12:00:00.250000+00:00"]),
]
Url = Annotated[str, Field(json_schema_extra={"format": "uri-reference"})]
FileId = Annotated[str, Field(examples=[FILE_ID])]
JobId = Annotated[str, Field(examples=[JOB_ID])]
Filename = Annotated[str, Field(examples=["song.mp3"])]


class Health(BaseModel):
    status: Literal["healthy"]
    message: str = Field(examples=["AI Model Backend with WebSocket support is running"])
    available_models: list[str] = Field(description="Names of the models.")
    websocket_support: bool
    transcription_endpoint: str = Field(
        description="Socket.IO namespace of live transcription.", examples=["/transcribe"]
    )
    version: str
    jobs_queued: int | None = Field(
        description="Null if the job database does not respond.", examples=[0]
    )
    jobs_processing: int | None = Field(
        description="Null if the job database does not respond.", examples=[1]
    )


class Ready(BaseModel):
    ready: bool
    models: dict[str, str] = Field(
        description="For each startup model: loading, ready, or why it cannot be loaded."
    )
    notes: dict[str, str] = Field(
        description="For each default variant that does not, or will not, run on the best device: "
        "the reason.",
        examples=[{"whisper/base": "The CUDA device was not used: CTranslate2 finds none."}],
    )
    storage: dict[str, str] = Field(
        description="For the disk and the job database: ready, or why it cannot be written.",
        examples=[{"disk": "ready", "database": "ready"}],
    )
    workers: int | None = Field(
        None,
        description="Number of running workers on other machines; null if this server runs the "
        "jobs, or if the database does not respond. Without any, jobs wait.",
        examples=[2],
    )


class Variant(BaseModel):
    """A variant of a model. Models may add details of their own."""

    model_config = ConfigDict(extra="allow")

    purpose: str
    stems: list[str] | None = Field(
        None, description="Demucs only. Null if unknown before the weights are loaded."
    )
    engine: str | None = Field(
        description="Inference engine. Null if unknown before the weights are loaded.",
        examples=["openvino"],
    )
    weights: Literal["bundled", "local", "downloaded", "available"]
    size_bytes: int | None = Field(examples=[84_141_911])
    licence: str = Field(description="Licence of the weights.", examples=["MIT"])
    workers: dict[str, int] | None = Field(
        None,
        description="Where other machines run the jobs: the running workers that have the variant, "
        "counted by device. Otherwise null.",
        examples=[{"cpu": 2, "cuda": 1}],
    )


class Model(BaseModel):
    purpose: str
    file_types: list[str] = Field(examples=[["flac", "mp3", "wav"]])
    default: str = Field(description="Variant of jobs that name none.")
    variants: dict[str, Variant]


class Models(BaseModel):
    models: dict[str, Model]


class Uploaded(BaseModel):
    file_id: FileId
    filename: Filename
    bytes: int = Field(examples=[3_145_728])
    duration_s: float | None = Field(description="Null for text.", examples=[196.4])
    sample_rate_hz: int | None = Field(examples=[44_100])
    channels: int | None = Field(examples=[2])
    note: str | None = Field(
        description="Set if the file does not record where it ends; otherwise null."
    )


class JobError(BaseModel):
    """Why a job failed."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(description="Stable code of the error.", examples=["not_audio"])
    error: str = Field(description="What is wrong and what to do.")


JobStatus = Literal["queued", "processing", "completed", "failed", "canceled"]
Stage = Annotated[str, Field(description="The current step.", examples=["loading model"])]
Progress = Annotated[
    float, Field(ge=0, le=1, description="Measured progress, 0 to 1.", examples=[0.42])
]
Place = Annotated[
    int | None, Field(description="Place in the queue, from 1; null unless queued.", examples=[1])
]
Eta = Annotated[
    float | None,
    Field(description="Estimated seconds remaining at the measured speed.", examples=[12.5]),
]
Tracks = Annotated[list[str], Field(description="Tracks available for download.")]


class Job(BaseModel):
    job_id: JobId
    file_id: FileId
    model: str
    variant: str
    options: dict[str, Any] = Field(
        description="Options of the job, with defaults.", examples=[{"format": "mp3"}]
    )
    status: JobStatus
    stage: Stage
    progress: Progress
    place: Place
    note: str | None = Field(
        description="Why a queued job will not begin for now: no running worker has its model. "
        "Otherwise null."
    )
    eta_s: Eta
    error: JobError | None
    tracks: Tracks
    result: dict[str, Any] | None = Field(description="Null until the job is completed.")
    created_at: Time
    started_at: Time | None
    finished_at: Time | None


class Status(BaseModel):
    """The latest job of a file, and up to 20 jobs under `jobs`. `uploaded`: no job yet."""

    file_id: FileId
    filename: Filename
    job_id: JobId | None
    model: str | None
    variant: str | None
    status: Literal["uploaded", "queued", "processing", "completed", "failed", "canceled"]
    stage: Stage | None
    progress: Progress
    place: Place
    eta_s: Eta
    error: JobError | None
    tracks: Tracks
    jobs: list[Job]
    jobs_total: int = Field(description="Number of stored jobs of the file, at most 100.")
    next: Url | None = Field(description="URL of the preceding jobs; null if there are none.")
    partial: list[dict[str, Any]] | None = Field(
        description="What the latest job has produced so far, from number `partial_from` on: the "
        "segments of a transcript. Null unless `partial_from` is given and the job is processing."
    )


class TrackFormat(BaseModel):
    ready: bool = Field(description="False if the format is made on first download.")
    bytes: int | None = Field(description="Size of the file; null if it is not ready.")
    url: Url


class Track(BaseModel):
    track: str = Field(description="Name of the track.")
    job_id: JobId
    model: str
    variant: str
    duration_s: float = Field(examples=[196.4])
    edited: bool = Field(description="Whether an edited version is kept beside the original.")
    formats: dict[str, TrackFormat]
    peaks: dict[str, TrackFormat] = Field(
        description="Waveform data, by samples per pixel; empty for text."
    )


class Stems(BaseModel):
    """All stems as one file, for players that keep them in sync."""

    job_id: JobId
    model: str
    variant: str
    duration_s: float = Field(examples=[196.4])
    channels: list[str] = Field(
        description="The stem of each channel, in order; of a pair, the left one is first.",
        examples=[["drums", "drums", "vocals", "vocals"]],
    )
    formats: dict[str, TrackFormat]


class Files(Uploaded):
    tracks: list[Track]
    archive: Url | None = Field(
        description="URL of a ZIP with all tracks; null if there are none.",
        examples=[f"/download/{FILE_ID}/all.zip"],
    )
    stems: Stems | None = Field(description="All stems as one file; null before a separation.")


class Deleted(BaseModel):
    file_id: FileId
    message: str = Field(examples=["The file and its results have been deleted."])


class ListedFile(Uploaded):
    created_at: Time
    status: Literal["uploaded", "queued", "processing", "completed", "failed", "canceled"] = Field(
        description="Status of the latest job; `uploaded`: no job yet."
    )


class Quota(BaseModel):
    """What your files and jobs use of their limits; null where there is no limit."""

    used_bytes: int | None = Field(
        description="Size of your files and results.", examples=[812_000_000]
    )
    max_bytes: int | None = Field(examples=[5_000_000_000])
    worked_min: float | None = Field(
        description="Minutes that your jobs ran for in the last 24 hours.", examples=[12.5]
    )
    max_min: int | None = Field(examples=[60])


class FileList(BaseModel):
    files: list[ListedFile] = Field(description="Up to 50 uploads, newest first.")
    files_total: int = Field(description="Number of your uploads.", examples=[120])
    next: Url | None = Field(description="URL of the preceding uploads; null if there are none.")
    quota: Quota


class Edited(BaseModel):
    file_id: FileId
    track: str = Field(examples=["transcription"])
    job_id: JobId
    edited: bool = Field(description="False if the original is used again.")


class Link(BaseModel):
    url: Url = Field(
        description="Address without the host; parameters such as `&format=mp3` may be added.",
        examples=[f"/download/{FILE_ID}/vocals?link=1777896000-..."],
    )
    expires_at: Time


class Session(BaseModel):
    expires_at: Time | None = Field(
        description="When the session ends; null without one, or if the server has no API keys."
    )


class Problem(BaseModel):
    """RFC 9457 problem details, with a stable `code` and a readable `error`."""

    model_config = ConfigDict(extra="allow")

    type: Url = Field(examples=["/docs#unknown_file"])
    title: str = Field(examples=["The file does not exist"])
    status: int = Field(examples=[404])
    detail: str
    code: str = Field(examples=["unknown_file"])
    error: str = Field(description="What is wrong and what to do.")
    request_id: str | None = Field(description="ID of the request in the server log.")
