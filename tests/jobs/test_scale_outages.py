"""What workers and keepers do after PostgreSQL could not be used for a while."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, text

from scripts.services.postgres import Postgres
from studio.errors import Interrupted
from studio.jobs.execution import describe
from studio.jobs.job import Job, State
from studio.jobs.scale.contact import Contact
from studio.jobs.scale.store import SharedJobStore
from tests.support import job_backends
from tests.support.jobs import Work, request, state
from tests.support.server import until

pytestmark = pytest.mark.postgres
INTERRUPTED = describe(Interrupted("Its workers died."))
STALLED_S = 600.0
# A worker that has begun a job, and was last seen before an outage.
STALE_WORKER = (
    "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '15 min')"
)
TAKE = """
UPDATE procrastinate_jobs SET status = 'doing', worker_id = (
    SELECT max(id) FROM procrastinate_workers
) WHERE id = (SELECT entry FROM jobs WHERE job_id = :job_id)
"""
HEARTBEAT = text("SELECT max(last_heartbeat) FROM procrastinate_workers")
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture
def store(postgresql: Postgres) -> Iterator[SharedJobStore]:
    store = job_backends.shared_store(postgresql.new_database(f"test{uuid4().hex}"))
    yield store
    store.close()


@pytest.fixture
def operator(store: SharedJobStore) -> Iterator[Engine]:
    """Connections that can always write."""
    options = {"options": "-c default_transaction_read_only=off"}
    engine = create_engine(store.url, isolation_level="AUTOCOMMIT", connect_args=options)
    yield engine
    engine.dispose()


def set_read_only(operator: Engine, value: str) -> None:
    with operator.connect() as connection:
        setting = f"{operator.url.database} SET default_transaction_read_only = {value}"
        connection.execute(text(f"ALTER DATABASE {setting}"))
        connection.execute(text(END_OTHERS))


def run(operator: Engine, statement: str, **values: object) -> None:
    with operator.connect() as connection:
        connection.execute(text(statement), values)


def beats_again(operator: Engine) -> None:
    with operator.connect() as connection:
        before = connection.scalar(HEARTBEAT)
        until(lambda: connection.scalar(HEARTBEAT) > before)


def test_a_worker_beats_again_after_a_failover(
    store: SharedJobStore, operator: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """The standby is read-only until it is promoted."""
    work = Work()
    worker = job_backends.start_worker(store, work)
    job = store.submit(request(), None, None)
    until(lambda: work.began)
    set_read_only(operator, "on")
    # Reports of the job fail too.
    until(lambda: "cannot use PostgreSQL, retrying: cannot execute UPDATE" in caplog.text)
    set_read_only(operator, "off")
    beats_again(operator)
    work.go.set()
    until(lambda: state(store, job) is State.COMPLETED)
    worker.stop(30.0)


def test_no_error_ends_the_heartbeats_of_a_worker(
    store: SharedJobStore, operator: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    worker = job_backends.start_worker(store, Work())
    with operator.connect() as connection:
        until(lambda: connection.scalar(HEARTBEAT))
    run(operator, "ALTER TABLE procrastinate_workers RENAME TO away")
    until(lambda: "could not store the heartbeat" in caplog.text)
    run(operator, "ALTER TABLE away RENAME TO procrastinate_workers")
    beats_again(operator)
    worker.stop(30.0)


def begun(store: SharedJobStore, operator: Engine) -> Job:
    """A job of a stale worker."""
    run(operator, STALE_WORKER)
    job = store.submit(request(), None, None)
    run(operator, TAKE, job_id=job.job_id)
    started = store.begin(job.job_id, job.attempt)
    assert started is not None
    return started


def test_a_keeper_rescues_no_job_soon_after_an_outage(
    store: SharedJobStore, operator: Engine
) -> None:
    job = begun(store, operator)
    now = datetime.now(UTC)
    contact = Contact(max_gap_s=60.0)
    for ago_s in (1000.0, 950.0, 20.0):
        contact.since(now - timedelta(seconds=ago_s))
    store.rescue(INTERRUPTED, 30.0, contact)
    assert store.owns(job)
    store.rescue(INTERRUPTED, 10.0, contact)
    assert not store.owns(job)


def test_contact_that_lasts_does_not_begin_again() -> None:
    contact, now = Contact(max_gap_s=60.0), datetime.now(UTC)
    assert contact.since(now) == now
    for number in range(5):
        assert contact.since(now + timedelta(seconds=50 * number)) == now
    later = now + timedelta(hours=1)
    assert contact.since(later) == later


def test_a_worker_that_starts_leaves_the_jobs_of_others_alone(
    store: SharedJobStore, operator: Engine
) -> None:
    """After an outage all workers look dead."""
    job = begun(store, operator)
    worker = job_backends.start_worker(store, Work())
    beats_again(operator)
    store.rescue(INTERRUPTED, STALLED_S, Contact(max_gap_s=60.0))
    assert store.owns(job)
    worker.stop(30.0)
