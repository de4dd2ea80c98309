"""Limits that several servers count together, each with a connection of its own."""

import socket
from collections.abc import Iterator
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from scripts.services.postgres import Postgres
from studio.concurrency import LimitReached
from studio.jobs.scale import shared_limits
from studio.jobs.scale.changes import Changes, conninfo
from studio.jobs.scale.shared_limits import SharedConcurrencyLimit, SharedSlots
from tests.support.server import WAIT_S, until

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
        self._started: list[tuple[Changes, SharedSlots]] = []
        self.database = psycopg.connect(conninfo(self._url), autocommit=True)

    def start(
        self, max_total: int, max_per_client: int, *, shares_total: bool = True
    ) -> SharedConcurrencyLimit:
        changes = Changes(self._url)
        slots = SharedSlots(changes)
        self._started.append((changes, slots))
        return SharedConcurrencyLimit(
            "test", slots, max_total, max_per_client, shares_total=shares_total
        )

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
def servers(postgresql: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    # On a busy machine, the first answer may take seconds.
    monkeypatch.setattr(shared_limits, "WAIT_S", WAIT_S)
    servers = Servers(postgresql.new_database(f"test{uuid4().hex}"))
    yield servers
    servers.stop()


def test_a_client_has_so_many_places_on_all_servers(servers: Servers) -> None:
    one, two = servers.start(9, 2), servers.start(9, 2)
    assert [one.acquire("ann"), two.acquire("ann")] == [None, None]
    assert [one.acquire("ann"), two.acquire("ann")] == [TWO_OF_CLIENT, TWO_OF_CLIENT]
    assert [one.acquire("bob"), two.acquire("bob")] == [None, None]
    two.release("ann")
    until(lambda: one.acquire("ann") is None)
    assert two.acquire("ann") == TWO_OF_CLIENT


def test_all_clients_have_so_many_places_on_all_servers(servers: Servers) -> None:
    one, two = servers.start(3, 2), servers.start(3, 2)
    assert [one.acquire("ann"), one.acquire("bob"), two.acquire("cid")] == [None] * 3
    assert [one.acquire("dan"), two.acquire("dan"), two.acquire("ann")] == [
        LimitReached(3, of_client=False)
    ] * 3
    one.release("ann")
    until(lambda: two.acquire("dan") is None)
    for limit, client in ((one, "bob"), (two, "cid"), (two, "dan")):
        limit.release(client)
    until(lambda: servers.count(HELD) == 0)


def test_each_server_has_so_many_slots_of_its_own(servers: Servers) -> None:
    one, two = (servers.start(1, 1, shares_total=False) for _ in range(2))
    assert [one.acquire("ann"), two.acquire("ann"), two.acquire("bob")] == [
        None,
        ONE_OF_CLIENT,
        None,
    ]
    assert two.acquire("cid") == LimitReached(1, of_client=False)


def test_the_places_of_a_server_that_ends_are_free(servers: Servers) -> None:
    one, two = servers.start(9, 1), servers.start(9, 1)
    assert [one.acquire("ann"), two.acquire("ann")] == [None, ONE_OF_CLIENT]
    servers.end(0)
    until(lambda: two.acquire("ann") is None)


def test_lost_places_are_taken_again(servers: Servers) -> None:
    """A server notices the loss because it also listens to the database."""
    one, two = servers.start(9, 1), servers.start(9, 1)
    assert [one.acquire("ann"), two.acquire("bob")] == [None, None]
    servers.listen()
    until(lambda: servers.count(LISTENING) == 2)
    # The connections that hold the slots end first, as both do when PostgreSQL restarts.
    for queries in ("%advisory%", "LISTEN%"):
        servers.database.execute(END, (queries,))
    until(lambda: servers.count(HELD) == 4)
    assert [one.acquire("bob"), two.acquire("ann")] == [ONE_OF_CLIENT, ONE_OF_CLIENT]
    two.release("bob")
    until(lambda: one.acquire("bob") is None)


def test_without_an_answer_of_the_database_each_server_counts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = make_url(f"postgresql+psycopg://studio@127.0.0.1:{port}/studio")
        one, two = (
            SharedConcurrencyLimit("test", SharedSlots(Changes(url)), 9, 1, shares_total=False)
            for _ in range(2)
        )
        assert [one.acquire("ann"), two.acquire("ann")] == [None, None]
        assert [one.acquire("ann"), two.acquire("ann")] == [ONE_OF_CLIENT, ONE_OF_CLIENT]
