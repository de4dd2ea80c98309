"""Connections to the database of jobs (SQLAlchemy)."""

from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url

# A PostgreSQL server whose machine has vanished is noticed within 30 s, and not after minutes.
POSTGRESQL_OPTIONS = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


def connect(address: str) -> Engine:
    """An engine for a URL.

    SQLite gets a write-ahead log and a busy timeout; connections to other databases are tested
    before they are used again, and PostgreSQL gets POSTGRESQL_OPTIONS that the URL does not have.
    """
    url = make_url(address)
    if url.get_backend_name() == "postgresql":
        url = url.update_query_dict({**POSTGRESQL_OPTIONS, **url.query})
    engine = create_engine(url, pool_pre_ping=url.get_backend_name() != "sqlite")
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout=10000")
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=NORMAL")
            cursor.close()

    return engine
