"""Connections to the database of jobs (SQLAlchemy)."""

from typing import Any

from sqlalchemy import URL, Engine, ExceptionContext, create_engine, event, make_url
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
SERVER_OPTIONS = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 "
    "-c tcp_user_timeout=30000"
)
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
    SERVER_OPTIONS and MAX_IDLE_S unless the URL has others, and its connections are tested before
    they are used again.

    If a database does not respond or is read-only, or has ended a transaction, all errors are
    OperationalErrors.
    """
    url = make_url(address)
    if url.get_backend_name() == "postgresql":
        url = _with_options(url)
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

    return engine


def _with_options(url: URL) -> URL:
    """The URL of a PostgreSQL database with our options; those that it has take precedence."""
    server = [
        f"-c idle_in_transaction_session_timeout={MAX_IDLE_S * 1000:.0f}",
        SERVER_OPTIONS,
        str(url.query.get("options", "")),
    ]
    options = {"options": " ".join(server).strip()}
    return url.update_query_dict({**POSTGRESQL_OPTIONS, **url.query, **options})


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
