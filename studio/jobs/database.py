"""Connections to the database of jobs (SQLAlchemy)."""

from functools import partial
from itertools import chain
from typing import Any

from sqlalchemy import Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import OperationalError, TimeoutError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from studio.jobs import faults

# A PostgreSQL server whose machine has vanished is noticed within 30 s, and not after minutes.
POSTGRESQL_OPTIONS = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# How long PostgreSQL waits for the next statement of a transaction: a process that is frozen or cut
# off keeps its locks no longer.
MAX_IDLE_S = 30.0
# PostgreSQL notices within 30 s that the machine of a client has vanished.
SERVER_SETTINGS = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# Connections per process; kept open because connecting takes longer than most statements.
MAX_CONNECTIONS = 15
# How long a thread waits for one of them. If all are busy for longer, PostgreSQL is stalled.
POOL_TIMEOUT_S = 5.0


class Connections(QueuePool):
    """A pool that reports a lack of connections as any other failure to reach the database."""

    def connect(self) -> PoolProxiedConnection:
        try:
            return super().connect()
        except TimeoutError as error:
            raise OperationalError("connect", None, error) from error


def connect(address: str) -> Engine:
    """An engine for a URL.

    SQLite gets a write-ahead log and a busy timeout. PostgreSQL gets POSTGRESQL_OPTIONS,
    SERVER_SETTINGS and MAX_IDLE_S unless the URL has others, and its connections are tested before
    they are used again.

    If a database does not respond or is read-only, or has ended a transaction, all errors are
    OperationalErrors.
    """
    url = make_url(address)
    if url.get_backend_name() == "postgresql":
        url = url.update_query_dict({**POSTGRESQL_OPTIONS, **url.query})
        pool = {
            "pool_pre_ping": True,
            "pool_size": MAX_CONNECTIONS,
            "max_overflow": 0,
            "pool_timeout": POOL_TIMEOUT_S,
        }
    else:
        pool = {}
    engine = create_engine(url, poolclass=Connections, **pool)
    event.listen(engine, "handle_error", _as_operational_error)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout=10000")
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=NORMAL")
            cursor.close()
    else:
        event.listen(engine, "connect", partial(_limit_session, str(url.query.get("options"))))
    return engine


def _limit_session(given: str, connection: Any, _record: Any) -> None:
    """Apply SERVER_SETTINGS and MAX_IDLE_S, but not what the URL's `options` set.

    Poolers refuse `options`, so a statement sets them.
    """
    settings = {"idle_in_transaction_session_timeout": f"{MAX_IDLE_S * 1000:.0f}"}
    settings |= SERVER_SETTINGS
    ours = [setting for setting in settings.items() if setting[0] not in given]
    calls = ", ".join(["set_config(%s, %s, false)"] * len(ours))
    connection.autocommit = True
    connection.execute(f"SELECT {calls}", list(chain.from_iterable(ours)))
    connection.autocommit = False


def _as_operational_error(context: ExceptionContext) -> OperationalError | None:
    cause = context.original_exception
    if not faults.is_away(cause):
        return None
    return OperationalError(context.statement, None, cause)


class Sessions:
    """Sessions of a database: `begin()` for a transaction, `reading()` for reading only.

    Each statement of a session that reads sees what has been committed by then. On PostgreSQL it
    takes one round trip instead of three, with the begin and the end of a transaction.
    """

    def __init__(self, engine: Engine) -> None:
        self.begin = sessionmaker(engine).begin
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.reading: sessionmaker[Session] = sessionmaker(engine)
