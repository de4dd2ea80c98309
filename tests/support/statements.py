"""Counts the statements that PostgreSQL receives, each of which is a round trip of its client."""

import re
from collections.abc import Callable

from sqlalchemy import create_engine, make_url, text

from scripts.services.postgres import Postgres

RECEIVED = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)")


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
