"""Places that several servers count together, each with a connection of its own."""

import socket
from collections.abc import Iterator
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from scripts.services.postgres import Postgres
from studio.jobs.scale.changes import Changes, conninfo
from studio.jobs.scale.shared_places import SharedPlaces, Slots
from studio.places import LimitReached
from tests.support.server import until

pytestmark = pytest.mark.postgres
ONE_OF_CLIENT = LimitReached(1, of_client=True)
TWO_OF_CLIENT = LimitReached(2, of_client=True)
HELD = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND datname = current_database()
"""
LISTENING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE 'LISTEN%'
"""
# Waits until they have ended.
END = """
SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE %s
"""


class Servers:
    """Servers with one database."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._started: list[tuple[Changes, Slots]] = []
        self.database = psycopg.connect(conninfo(self._url), autocommit=True)

    def start(
        self, max_total: int, max_per_client: int, *, shares_total: bool = True
    ) -> SharedPlaces:
        changes = Changes(self._url)
        slots = Slots(changes)
        self._started.append((changes, slots))
        return SharedPlaces("test", slots, max_total, max_per_client, shares_total=shares_total)

    def listen(self) -> None:
        for changes, _ in self._started:
            changes.start()

    def end(self, number: int) -> None:
        """End a server as the system ends a process: its connection is closed."""
        changes, slots = self._started[number]
        changes.stop()
        slots.stop()

    def count(self, query: LiteralString) -> int:
        [count] = self.database.execute(query).fetchone() or [0]
        return int(count)

    def stop(self) -> None:
        for number in range(len(self._started)):
            self.end(number)
        self.database.close()


@pytest.fixture
def servers(postgresql: Postgres) -> Iterator[Servers]:
    servers = Servers(postgresql.new_database(f"test{uuid4().hex}"))
    yield servers
    servers.stop()


def test_a_client_has_so_many_places_on_all_servers(servers: Servers) -> None:
    one, two = servers.start(9, 2), servers.start(9, 2)
    assert [one.take("ann"), two.take("ann")] == [None, None]
    assert [one.take("ann"), two.take("ann")] == [TWO_OF_CLIENT, TWO_OF_CLIENT]
    assert [one.take("bob"), two.take("bob")] == [None, None]
    two.leave("ann")
    until(lambda: one.take("ann") is None)
    assert two.take("ann") == TWO_OF_CLIENT


def test_all_clients_have_so_many_places_on_all_servers(servers: Servers) -> None:
    one, two = servers.start(3, 2), servers.start(3, 2)
    assert [one.take("ann"), one.take("bob"), two.take("cid")] == [None] * 3
    assert [one.take("dan"), two.take("dan"), two.take("ann")] == [
        LimitReached(3, of_client=False)
    ] * 3
    one.leave("ann")
    until(lambda: two.take("dan") is None)
    for places, client in ((one, "bob"), (two, "cid"), (two, "dan")):
        places.leave(client)
    until(lambda: servers.count(HELD) == 0)


def test_each_server_has_so_many_places_of_its_own(servers: Servers) -> None:
    one, two = (servers.start(1, 1, shares_total=False) for _ in range(2))
    assert [one.take("ann"), two.take("ann"), two.take("bob")] == [None, ONE_OF_CLIENT, None]
    assert two.take("cid") == LimitReached(1, of_client=False)


def test_the_places_of_a_server_that_ends_are_free(servers: Servers) -> None:
    one, two = servers.start(9, 1), servers.start(9, 1)
    assert [one.take("ann"), two.take("ann")] == [None, ONE_OF_CLIENT]
    servers.end(0)
    until(lambda: two.take("ann") is None)


def test_lost_places_are_taken_again(servers: Servers) -> None:
    """A server notices the loss because it also listens to the database."""
    one, two = servers.start(9, 1), servers.start(9, 1)
    assert [one.take("ann"), two.take("bob")] == [None, None]
    servers.listen()
    until(lambda: servers.count(LISTENING) == 2)
    # The connections that hold the places end first, as both do when PostgreSQL restarts.
    for queries in ("%advisory%", "LISTEN%"):
        servers.database.execute(END, (queries,))
    until(lambda: servers.count(HELD) == 4)
    assert [one.take("bob"), two.take("ann")] == [ONE_OF_CLIENT, ONE_OF_CLIENT]
    two.leave("bob")
    until(lambda: one.take("bob") is None)


def test_without_an_answer_of_the_database_each_server_counts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = make_url(f"postgresql+psycopg://studio@127.0.0.1:{port}/studio")
        one, two = (
            SharedPlaces("test", Slots(Changes(url)), 9, 1, shares_total=False) for _ in range(2)
        )
        assert [one.take("ann"), two.take("ann")] == [None, None]
        assert [one.take("ann"), two.take("ann")] == [ONE_OF_CLIENT, ONE_OF_CLIENT]
