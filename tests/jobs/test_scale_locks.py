"""A process that freezes in the middle of a transaction holds up other processes only briefly."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from scripts.services.postgres import Postgres
from studio.errors import StorageUnavailable
from studio.jobs import database, faults
from studio.jobs.database import connect
from studio.jobs.job import State
from studio.jobs.scale import store as scale_store
from studio.jobs.scale.store import SharedJobStore
from tests.support import job_backends
from tests.support.jobs import FILE, request, state

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgresql: Postgres) -> str:
    return postgresql.new_database(f"test{uuid4().hex}")


@pytest.fixture
def store(url: str) -> Iterator[SharedJobStore]:
    store = job_backends.shared_store(url)
    yield store
    store.close()


def test_a_transaction_without_statements_loses_its_locks(
    url: str, store: SharedJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = store.submit(request(), None, None)
    monkeypatch.setattr(database, "MAX_IDLE_S", 0.5)
    engine = connect(url)
    with pytest.raises(OperationalError) as raised, engine.begin() as frozen:
        frozen.execute(text("SELECT FROM jobs FOR UPDATE"))
        assert store.begin(job.job_id, job.attempt) is not None
        frozen.execute(text("SELECT 1"))
    assert faults.as_studio_error(raised.value).extra["retry_after_s"]
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()


def test_a_file_that_is_being_deleted_does_not_hold_up_jobs_for_ever(
    store: SharedJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_store, "MAX_IDLE_ACT_S", 2.0)

    def submit() -> None:
        store.submit(request(), None, None)

    with pytest.raises(OperationalError):
        store.while_idle(FILE, submit)
    assert len(store.active()) == 1


def test_an_edit_of_a_frozen_process_ends(
    url: str, store: SharedJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_store, "MAX_EDIT_S", 2.0)
    other = SharedJobStore(connect(url))
    with pytest.raises(OperationalError), store.editing(FILE), other.editing(FILE):
        edited = True
    assert edited
    other.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.submit(request("another"), None, None),
        lambda store: store.cancel(FILE),
        lambda store: store.forget_file(FILE),
        lambda store: store.forget(store.active()[0].job_id),
    ],
    ids=["submit", "cancel", "forget_file", "forget"],
)
def test_requests_do_not_wait_for_a_frozen_process(
    store: SharedJobStore,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[SharedJobStore], object],
) -> None:
    monkeypatch.setattr(scale_store, "LOCK_WAIT_S", 0.1)
    job = store.submit(request(), None, None)
    with store._engine.begin() as frozen:
        frozen.execute(text(f"SELECT pg_advisory_xact_lock({scale_store.FILES_LOCK})"))
        frozen.execute(text("SELECT FROM jobs FOR UPDATE"))
        with pytest.raises(OperationalError) as raised:
            change(store)
    assert isinstance(faults.as_studio_error(raised.value), StorageUnavailable)
    assert faults.as_studio_error(raised.value).extra["retry_after_s"]
    assert state(store, job) is State.QUEUED


def test_postgresql_notices_that_a_client_has_vanished(store: SharedJobStore) -> None:
    with store._engine.connect() as connection:
        setting = text("SELECT current_setting(:name)")
        for name, value in [
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "30000"),
            ("idle_in_transaction_session_timeout", "30s"),
        ]:
            assert connection.scalar(setting, {"name": name}) == value
