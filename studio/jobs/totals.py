"""Sums of all jobs that have ended. They only grow, also if files and jobs are deleted."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from studio.jobs.job import State
from studio.jobs.tables import Base, TotalRow


def add_to(
    session: Session, kind: type[Base], key: Mapping[str, Any], amounts: Mapping[str, float]
) -> None:
    """Add amounts to the columns of the row with a key, which is created if there is none."""
    if _is_added(session, kind, key, amounts):
        return
    try:
        with session.begin_nested():
            session.add(kind(**key, **amounts))
    except IntegrityError:
        # Another process has created it.
        _is_added(session, kind, key, amounts)


def _is_added(
    session: Session, kind: type[Base], key: Mapping[str, Any], amounts: Mapping[str, float]
) -> bool:
    columns = kind.__table__.columns
    values = {name: columns[name] + amount for name, amount in amounts.items()}
    row = update(kind).filter_by(**key).values(values)
    return session.scalar(row.returning(columns[next(iter(key))])) is not None


def add_completed(session: Session, model: str, audio_s: float, worked_s: float) -> None:
    """Count a completed job, with the seconds of sound of its results and those that it ran."""
    amounts = {"jobs": 1, "audio_s": audio_s, "worked_s": worked_s}
    add_to(session, TotalRow, {"model": model, "state": State.COMPLETED}, amounts)


def add_ended(session: Session, state: State, models: Iterable[str]) -> None:
    """Count jobs that have failed or were canceled, by the model of each."""
    # In the same order everywhere, so that no two transactions wait for each other.
    for model, count in sorted(Counter(models).items()):
        add_to(session, TotalRow, {"model": model, "state": state}, {"jobs": count})
