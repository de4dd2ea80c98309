"""PostgreSQL as the database of jobs: its connections, and the records of uploads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import event, make_url
from sqlalchemy.exc import OperationalError

from scripts.services.postgres import Postgres
from studio.errors import StorageUnavailable
from studio.jobs import database, faults, migration
from studio.jobs.database import MAX_CONNECTIONS, connect
from studio.jobs.job import State
from studio.jobs.scale.changes import conninfo
from studio.jobs.scale.store import SharedJobStore
from studio.jobs.uploads import UploadTable
from studio.storage.uploads import Upload

pytestmark = pytest.mark.postgres


def test_a_process_keeps_its_connections(postgresql: Postgres) -> None:
    """More threads than connections wait for one; none opens its own."""
    engine = connect(postgresql.new_database(f"test{uuid4().hex}"))
    opened: list[object] = []
    event.listen(engine, "connect", lambda *one: opened.append(one))
    store = SharedJobStore(engine)
    store.open()
    with ThreadPoolExecutor(3 * MAX_CONNECTIONS) as pool:
        for _ in range(3):
            list(pool.map(lambda _: store.count(State.QUEUED), range(3 * MAX_CONNECTIONS)))
    assert len(opened) <= MAX_CONNECTIONS
    store.close()


def test_a_lack_of_connections_means_that_the_database_does_not_respond(
    postgresql: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(database, "POOL_TIMEOUT_S", 0.01)
    engine = connect(postgresql.new_database(f"test{uuid4().hex}"))
    store = SharedJobStore(engine)
    store.open()
    with engine.connect(), pytest.raises(OperationalError) as raised:
        store.count(State.QUEUED)
    assert faults.as_studio_error(raised.value).extra["retry_after_s"]
    assert store.count(State.QUEUED) == 0
    store.close()


def test_a_read_only_standby_is_waited_for(postgresql: Postgres) -> None:
    url = postgresql.new_database(f"test{uuid4().hex}")
    primary = SharedJobStore(connect(url))
    primary.open()
    primary.close()
    standby = connect(f"{url}?options=-c%20default_transaction_read_only%3Don")
    store = SharedJobStore(standby)
    assert store.count(State.QUEUED) == 0
    with pytest.raises(OperationalError) as raised:
        store.cancel("f" * 32)
    error = faults.as_studio_error(raised.value)
    assert isinstance(error, StorageUnavailable) and error.extra["retry_after_s"]
    assert "read-only" in error.sentence
    store.close()


def test_listeners_connect_with_the_options_of_the_database() -> None:
    address = conninfo(make_url("postgresql+psycopg://u:p%40@/db?host=/run/pg&sslmode=require"))
    assert sorted(address.split()) == [
        "dbname=db",
        "host=/run/pg",
        "password=p@",
        "sslmode=require",
        "user=u",
    ]


def test_uploads_that_may_be_old_are_found_at_once(postgresql: Postgres) -> None:
    engine = connect(postgresql.new_database(f"test{uuid4().hex}"))
    migration.upgrade(engine)
    uploads = UploadTable(engine)
    for file_id, created_at, is_temporary in [
        ("old", 100.0, False),
        ("new", 300.0, False),
        ("used", 300.0, True),
        ("fresh", 500.0, True),
    ]:
        uploads.add(Upload(file_id, "", "wav", 1, "", None, None, created_at, is_temporary))
    assert sorted(uploads.arrived_before(200.0, 400.0)) == ["old", "used"]
    assert uploads.existing(["old", "gone"]) == {"old"}
    engine.dispose()


@pytest.mark.parametrize("is_shared", [False, True], ids=["sqlite", "postgresql"])
def test_the_uploads_of_an_owner_take_one_query(
    postgresql: Postgres, tmp_path: Path, is_shared: bool
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.sqlite3'}"
    engine = connect(postgresql.new_database(f"test{uuid4().hex}") if is_shared else url)
    migration.upgrade(engine)
    uploads = UploadTable(engine)
    for file_id, owner, created_at, is_temporary in [
        ("first", "ann", 100.25, False),
        ("last", "ann", 300.0, False),
        ("theirs", "bob", 200.0, False),
        ("brief", "ann", 200.0, True),
        ("nobody's", None, 200.0, False),
    ]:
        uploads.add(Upload(file_id, "", "wav", 1, "", None, owner, created_at, is_temporary))
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: sent.append(given[2]))
    assert uploads.of_owner("ann") == [(300.0, "last"), (100.25, "first")]
    assert len(sent) == 1, sent
    engine.dispose()
