"""Several keepers: one is active, another replaces it when it freezes, and each sends webhooks."""

import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from scripts.services.children import spawn, stop
from scripts.services.postgres import Postgres
from studio.jobs.database import connect
from studio.jobs.job import State
from studio.jobs.outbox import Outbox
from studio.jobs.presence import DatabaseInUse, presence
from studio.jobs.store import JobStore
from studio.jobs.webhooks import Webhooks
from tests.support.jobs import request
from tests.support.receiver import Receiver
from tests.support.server import ROOT, until
from tests.support.webhooks import OPEN

pytestmark = pytest.mark.postgres
# Prints when it becomes active, and when it no longer is.
KEEPER = """
import sys
import threading
from contextlib import contextmanager
from studio.jobs.scale.keeper import Keeper
from studio.jobs.scale.store import SharedJobStore
from studio.jobs.database import connect

@contextmanager
def duties():
    print("active", flush=True)
    try:
        yield
    finally:
        print("replaced", flush=True)

store = SharedJobStore(connect(sys.argv[1]))
store.open()
Keeper(store, duties, lambda _: None, stalled_s=1.5).start()
threading.Event().wait()
"""
PRESENT = """
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def url(postgresql: Postgres) -> str:
    return postgresql.new_database(f"test{uuid4().hex}")


@pytest.fixture
def store(url: str) -> Iterator[JobStore]:
    store = JobStore(connect(url))
    store.open()
    yield store
    store.close()


def test_a_frozen_keeper_is_replaced(url: str, tmp_path: Path) -> None:
    logs = [tmp_path / name for name in ("first", "second")]
    first, second = (spawn([sys.executable, "-c", KEEPER, url], log, cwd=ROOT) for log in logs)
    try:
        until(lambda: any("active" in log.read_text() for log in logs))
        if "active" not in logs[0].read_text():
            first, second = second, first
            logs.reverse()
        first.send_signal(signal.SIGSTOP)
        until(lambda: "active" in logs[1].read_text())
        first.send_signal(signal.SIGCONT)
        until(lambda: "replaced" in logs[0].read_text())
        stop(second)
        until(lambda: logs[0].read_text().count("active") >= 2)
    finally:
        for process in (first, second):
            process.send_signal(signal.SIGCONT)
            stop(process)


def test_keepers_send_each_message_once(store: JobStore) -> None:
    outbox = Outbox(store._engine)
    with Receiver() as receiver:
        for number in range(20):
            job = store.add(request(f"{number}"), client=f"{number % 3}", webhook=receiver.url)
            store.finish(job, State.COMPLETED)
        senders = [Webhooks(outbox, OPEN, lambda job: {"job_id": job.job_id}) for _ in range(3)]
        threads = [threading.Thread(target=sender.send_due) for sender in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ids = [receiver.next().headers["webhook-id"] for _ in range(20)]
        assert len(set(ids)) == 20 and receiver.got.empty()


def test_the_claim_of_a_keeper_that_died_ends(store: JobStore) -> None:
    outbox = Outbox(store._engine)
    store.finish(store.add(request(), webhook="https://receiver.example"), State.COMPLETED)
    (message,) = outbox.due(1000.0, None, 2)
    assert outbox.claim(message.message_id, 1000.0, 1030.0)
    assert not outbox.claim(message.message_id, 1001.0, 1031.0)
    assert outbox.due(1029.0, None, 2) == []
    assert outbox.claim(message.message_id, 1030.0, 1060.0)


def test_presence_is_taken_again_after_a_restart(url: str) -> None:
    engine, other = connect(url), connect(url)
    with presence(engine, is_alone=False, look_every_s=0.1):
        with other.connect() as connection:
            (ended,) = connection.scalars(text(PRESENT)).all()
            assert ended
        until(lambda: _is_refused(url))
    with presence(other, is_alone=True):
        pass
    engine.dispose()
    other.dispose()


def _is_refused(url: str) -> bool:
    """Whether a server that wants to be alone is refused."""
    engine = connect(url)
    try:
        with presence(engine, is_alone=True):
            return False
    except DatabaseInUse:
        return True
    finally:
        engine.dispose()
