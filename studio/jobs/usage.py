"""Processing time per client within the last day; kept if files and jobs are deleted."""

import time
from collections.abc import Callable

from sqlalchemy import Engine, delete, func, select

from studio.jobs.database import Sessions
from studio.jobs.tables import UsageRow
from studio.jobs.totals import add_to

HOUR_S = 3600
HOURS = 24


class Usage:
    """Processing seconds by client and hour. Thread-safe: each call has its own session."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._sessions = Sessions(engine)
        self._clock = clock

    def add(self, client: str, worked_s: float) -> None:
        hour = self._hour()
        with self._sessions.begin() as session:
            session.execute(delete(UsageRow).where(UsageRow.hour <= hour - HOURS))
            add_to(session, UsageRow, {"client": client, "hour": hour}, {"worked_s": worked_s})

    def worked_s(self, client: str) -> float:
        """Processing seconds in the last day, to the hour."""
        with self._sessions.reading() as session:
            # Later hours exist if the clock was set back.
            day = UsageRow.hour.between(self._hour() - HOURS + 1, self._hour())
            mine = (UsageRow.client == client, day)
            return session.scalar(select(func.sum(UsageRow.worked_s)).where(*mine)) or 0.0

    def _hour(self) -> int:
        return int(self._clock() // HOUR_S)
