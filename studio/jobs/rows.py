"""Rows of jobs and of their messages: made, selected, and deleted when there are too many."""

import time
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from studio.jobs.job import Job, Request, State
from studio.jobs.tables import JobRow, MessageRow

# Per file; the oldest ended jobs are deleted for new ones.
MAX_JOBS_KEPT = 100
ACTIVE = (State.QUEUED, State.PROCESSING)


def new_row(
    request: Request, job_id: str, result: dict[str, Any] | None, client: str | None
) -> JobRow:
    """The row of a new job: queued, or completed if its `result` is given."""
    now = time.time()
    return JobRow(
        job_id=job_id,
        file_id=request.file_id,
        model=request.model,
        variant=request.variant,
        options=request.options,
        fingerprint=request.fingerprint,
        state=State.QUEUED if result is None else State.COMPLETED,
        stage="waiting" if result is None else "done",
        progress=0.0 if result is None else 1.0,
        created_at=now,
        attempt=1,
        finished_at=None if result is None else now,
        result=result,
        client=client,
    )


def is_run_by(job: Job) -> tuple[ColumnElement[bool], ...]:
    """Selects the row of a job while this attempt of it is processing."""
    return (
        JobRow.job_id == job.job_id,
        JobRow.attempt == job.attempt,
        JobRow.state == State.PROCESSING,
    )


def forget_oldest(session: Session, file_id: str) -> None:
    """Keep MAX_JOBS_KEPT jobs of a file. Deletes failed and canceled ones first, then the oldest.

    Active jobs and jobs with a pending message are kept.
    """
    kept = session.scalar(select(func.count()).where(JobRow.file_id == file_id)) or 0
    if kept <= MAX_JOBS_KEPT:
        return
    unsent = select(MessageRow.job_id).where(MessageRow.job_id == JobRow.job_id)
    oldest = (
        select(JobRow.number)
        .where(JobRow.file_id == file_id, JobRow.state.not_in(ACTIVE), ~unsent.exists())
        .order_by(JobRow.state == State.COMPLETED, JobRow.number)
        .limit(kept - MAX_JOBS_KEPT)
    )
    session.execute(delete(JobRow).where(JobRow.number.in_(session.scalars(oldest).all())))


def add_message(session: Session, job_id: str, webhook: str, client: str | None) -> None:
    there = select(MessageRow.message_id).where(
        MessageRow.job_id == job_id, MessageRow.url == webhook
    )
    if session.scalar(there) is None:
        session.add(new_message(job_id, webhook, client))


def new_message(job_id: str, url: str, client: str | None) -> MessageRow:
    return MessageRow(message_id=f"msg_{uuid4().hex}", job_id=job_id, url=url, client=client)
