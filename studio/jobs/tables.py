"""The tables of the job database (SQLAlchemy)."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, DateTime, Index, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from studio.jobs.job import Job, Request, State

DEFAULT_QUEUE = "default"
UNFINISHED = "state IN ('queued', 'processing')"


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {
        dict[str, Any]: JSON,
        list[str]: JSON,
        list[dict[str, Any]]: JSON,
    }


class JobRow(Base):
    __tablename__ = "jobs"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(unique=True)
    file_id: Mapped[str] = mapped_column(index=True)
    model: Mapped[str]
    variant: Mapped[str]
    options: Mapped[dict[str, Any]]
    fingerprint: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(index=True)
    stage: Mapped[str]
    progress: Mapped[float] = mapped_column(default=0.0)
    eta_s: Mapped[float | None]
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(default=0)
    # The fence: grows whenever the job returns to the queue.
    attempt: Mapped[int] = mapped_column(default=1, server_default="1")
    error: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    # The client whose limits apply.
    client: Mapped[str | None]
    # The result whose files it has, as `file_id/name`.
    shares: Mapped[str] = mapped_column(default="", server_default="", index=True)
    # For jobs on many machines; `entry` is the number of the job in the queue of Procrastinate.
    queue: Mapped[str] = mapped_column(default=DEFAULT_QUEUE, server_default=DEFAULT_QUEUE)
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    entry: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        Index(
            "one_unfinished_job",
            "file_id",
            "fingerprint",
            unique=True,
            sqlite_where=text(UNFINISHED),
            postgresql_where=text(UNFINISHED),
        ),
    )


class UploadRow(Base):
    """An upload; see studio.jobs.uploads. Storages on disk keep their records in files."""

    __tablename__ = "uploads"

    file_id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str | None] = mapped_column(index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    # The size of all its results, as of the last sweep.
    result_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    # Unix seconds.
    used_at: Mapped[float]
    # All fields of an Upload.
    record: Mapped[dict[str, Any]]


class WorkerRow(Base):
    """A process that runs jobs; see studio.jobs.scale.workers."""

    __tablename__ = "workers"

    worker_id: Mapped[str] = mapped_column(primary_key=True)
    # By the clock of the database.
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    # Empty: all.
    queues: Mapped[list[str]]
    device: Mapped[str]
    # As `GET /models` shows them.
    models: Mapped[dict[str, Any]]


class TurnRow(Base):
    """The last turn of a client in a queue that has begun; see studio.jobs.scale.turns."""

    __tablename__ = "turns"

    queue: Mapped[str] = mapped_column(primary_key=True)
    # Empty: jobs without a client.
    client: Mapped[str] = mapped_column(primary_key=True)
    turn: Mapped[int]
    # By the clock of the database.
    begun_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TotalRow(Base):
    """The sums of the jobs of a model that have ended in a state; see studio.jobs.totals."""

    __tablename__ = "totals"

    model: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(primary_key=True)
    jobs: Mapped[int] = mapped_column(BigInteger, default=0)
    # Of completed jobs: the duration of their audio, and their running time.
    audio_s: Mapped[float] = mapped_column(default=0.0)
    worked_s: Mapped[float] = mapped_column(default=0.0)


class UsageRow(Base):
    """The processing time of a client in an hour; see studio.jobs.usage."""

    __tablename__ = "usage"

    client: Mapped[str] = mapped_column(primary_key=True)
    # Unix time / 3600.
    hour: Mapped[int] = mapped_column(primary_key=True)
    worked_s: Mapped[float] = mapped_column(default=0.0)


class PartialRow(Base):
    """Items of an attempt, from number `first` on; see studio.jobs.scale.partials."""

    __tablename__ = "partials"

    job_id: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    first: Mapped[int] = mapped_column(primary_key=True)
    count: Mapped[int]
    items: Mapped[list[dict[str, Any]]]


class MessageRow(Base):
    """A pending message about a job; see studio.jobs.outbox."""

    __tablename__ = "messages"

    message_id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(index=True)
    url: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[float] = mapped_column(default=0.0)
    # The client that requested it; clients take turns.
    client: Mapped[str | None]


class ProbeRow(Base):
    """Written and deleted to test the database; see studio.jobs.faults."""

    __tablename__ = "probes"

    probe_id: Mapped[str] = mapped_column(primary_key=True)
    data: Mapped[str]


class InstallationRow(Base):
    """Names the database, in one row; see studio.storage.bucket_owner."""

    __tablename__ = "installation"

    installation_id: Mapped[str] = mapped_column(primary_key=True)


class OldestProgramRow(Base):
    """The oldest version whose programs can use the tables, in one row; see `migration`."""

    __tablename__ = "oldest_program"

    version: Mapped[str] = mapped_column(primary_key=True)


def job_of(row: JobRow, place: int | None = None) -> Job:
    """The job of a row, at `place` in the queue if it is queued."""
    request = Request(row.file_id, row.model, row.variant, row.options, row.fingerprint)
    return Job(
        row.job_id,
        request,
        State(row.state),
        row.stage,
        row.progress,
        row.created_at,
        eta_s=row.eta_s,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempts=row.attempts,
        attempt=row.attempt,
        place=place if row.state == State.QUEUED else None,
        client=row.client,
        error=row.error,
        shares=row.shares,
        result=row.result,
    )
