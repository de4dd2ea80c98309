"""Connects Procrastinate to PostgreSQL, and waits while PostgreSQL cannot be reached.

Without this, a worker of Procrastinate ends, with its jobs, when PostgreSQL restarts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from studio.jobs import faults

if TYPE_CHECKING:
    from procrastinate import App, PsycopgConnector
    from procrastinate.connector import Notify

log = logging.getLogger(__name__)

RETRY_S = 1.0
POOL_TIMEOUT_S = 5.0
# The pool tries to connect again after 1, 2, 4 s and so on; after this long, it begins anew.
RECONNECT_TIMEOUT_S = 5.0
Value = TypeVar("Value")


def patient_connector(conninfo: str, is_stopping: Callable[[], bool]) -> "PsycopgConnector":
    """A connector that repeats what failed for lack of a connection, until the worker stops."""
    import psycopg
    from procrastinate import PsycopgConnector
    from procrastinate.exceptions import ConnectorException

    async def until_reachable(call: Callable[[], Awaitable[Value]]) -> Value:
        while True:
            try:
                return await call()
            except ConnectorException as error:
                cause = error.__cause__
                is_away = isinstance(cause, psycopg.OperationalError) or faults.is_away(cause)
                if not is_away or is_stopping():
                    raise
                log.warning("cannot use PostgreSQL, retrying: %s", cause)
                await asyncio.sleep(RETRY_S)

    class PatientConnector(PsycopgConnector):
        async def execute_query_async(self, query: Any, **arguments: Any) -> None:
            call = super().execute_query_async
            await until_reachable(lambda: call(query, **arguments))

        async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
            call = super().execute_query_one_async
            return await until_reachable(lambda: call(query, **arguments))

        async def execute_query_all_async(
            self, query: Any, **arguments: Any
        ) -> list[dict[str, Any]]:
            call = super().execute_query_all_async
            return await until_reachable(lambda: call(query, **arguments))

        async def listen_notify(self, on_notification: "Notify", channels: Iterable[str]) -> None:
            call = super().listen_notify
            await until_reachable(lambda: call(on_notification, channels))

    return PatientConnector(
        conninfo=conninfo,
        timeout=POOL_TIMEOUT_S,
        reconnect_timeout=RECONNECT_TIMEOUT_S,
        min_size=1,
        max_size=4,
    )


def keep_beating(app: "App") -> None:
    """Let no error end the heartbeats of the workers of an app: the next one may succeed.

    Procrastinate's worker would take further jobs without them, and each would be rescued.
    """
    beat = app.job_manager.update_heartbeat

    async def try_to_beat(worker_id: int) -> None:
        try:
            await beat(worker_id)
        except Exception:
            log.exception("could not store the heartbeat of this worker; retrying")

    app.job_manager.update_heartbeat = try_to_beat  # type: ignore[method-assign]
