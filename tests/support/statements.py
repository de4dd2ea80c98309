"""What PostgreSQL receives, each statement a round trip of its client, and what waits in it."""

import re
from collections.abc import Callable

from sqlalchemy import Engine, create_engine, make_url, text

from scripts.services.postgres import Postgres

RECEIVED = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)")
WAITING = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class Statements:
    """Logs the statements of connections to a database that are opened from now on."""

    def __init__(self, postgres: Postgres, url: str) -> None:
        self.url = url
        self._log = postgres.folder / "postgres.log"
        name = make_url(url).database
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} SET log_statement = 'all'"))
        engine.dispose()

    def during(self, act: Callable[[], object]) -> list[str]:
        """The first lines of the statements that arrive while `act` runs."""
        arrived = self.from_now()
        act()
        sent = arrived()
        assert sent, "PostgreSQL logged no statement"
        return sent

    def from_now(self) -> Callable[[], list[str]]:
        """A function that returns the first lines of the statements that have arrived since."""
        begin = self._log.stat().st_size

        def arrived() -> list[str]:
            return RECEIVED.findall(self._log.read_bytes()[begin:].decode())

        return arrived


def waiting_for_locks(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(WAITING))
