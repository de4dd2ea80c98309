"""Connections to the database of jobs (SQLAlchemy)."""

from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.orm import Session, sessionmaker

# A PostgreSQL server whose machine has vanished is noticed within 30 s, and not after minutes.
POSTGRESQL_OPTIONS = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# Of one process to PostgreSQL. All are kept: a new one takes longer than most statements.
MAX_CONNECTIONS = 15


def connect(address: str) -> Engine:
    """An engine for a URL.

    SQLite gets a write-ahead log and a busy timeout. PostgreSQL gets POSTGRESQL_OPTIONS that the
    URL does not have, and its connections are tested before they are used again.
    """
    url = make_url(address)
    if url.get_backend_name() == "postgresql":
        url = url.update_query_dict({**POSTGRESQL_OPTIONS, **url.query})
        pool = {"pool_pre_ping": True, "pool_size": MAX_CONNECTIONS, "max_overflow": 0}
    else:
        pool = {}
    engine = create_engine(url, **pool)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout=10000")
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=NORMAL")
            cursor.close()

    return engine


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
