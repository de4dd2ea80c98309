"""Jobs in PostgreSQL: turns of clients, queues, and jobs whose worker has died."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from scripts.services.postgres import Postgres
from studio.errors import Interrupted, StorageUnavailable
from studio.jobs.database import connect
from studio.jobs.execution import describe
from studio.jobs.job import Job, Report, Request, State
from studio.jobs.jobs import route
from studio.jobs.presence import DatabaseInUse, presence
from studio.jobs.scale import store as scale_store
from studio.jobs.scale.store import MAX_ATTEMPTS, SharedJobStore
from studio.jobs.usage import Usage
from tests.support import job_backends
from tests.support.jobs import Work, request
from tests.support.server import ROOT, WAIT_S, until
from tests.support.statements import Statements, waiting_for_locks

pytestmark = pytest.mark.postgres
STALLED_S = 0.2
INTERRUPTED = describe(Interrupted("Its workers died."))
DIE = """
UPDATE procrastinate_jobs SET status = 'doing', worker_id = :worker WHERE id = (
    SELECT entry FROM jobs WHERE job_id = :job_id
)
"""
NEXT = text("SELECT job_id FROM jobs WHERE state = 'queued' ORDER BY priority DESC, entry")
ROUTES = (("demucs.*_ft", "gpu"), ("whisper.*", "cpu"))
EMBEDDED = """
import sys
from app import create_app
from config import Config
app = create_app(Config.load(environ={"UPLOAD_FOLDER": sys.argv[1], "OUTPUT_FOLDER": sys.argv[1]},
                             dotenv=None))
print(sorted({"psycopg", "psycopg_pool", "procrastinate", "boto3"} & set(sys.modules)))
app.extensions["parts"].stop()
"""

Open = Callable[[], SharedJobStore]


@pytest.fixture
def open_store(postgresql: Postgres) -> Iterator[Open]:
    """Opens the same database again, as another server does."""
    url = postgresql.new_database(f"test{uuid4().hex}")
    opened: list[SharedJobStore] = []

    def open_one() -> SharedJobStore:
        store = SharedJobStore(connect(url), partial(route, ROUTES), max_queued=1000)
        store.open()
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


def submit(store: SharedJobStore, name: str, client: str) -> Job:
    return store.submit(request(name), client, None)


def found(store: SharedJobStore, job: Job) -> Job:
    now = store.get(job.job_id)
    assert now is not None
    return now


def test_many_songs_of_one_client_delay_another_by_one_job(open_store: Open) -> None:
    store, work = open_store(), Work()
    many = [submit(store, f"{number}", "ann") for number in range(5)]
    worker = job_backends.start_worker(store, work)
    until(lambda: work.began)
    single = submit(store, "single", "bob")
    assert found(store, single).place == 1
    assert [found(store, job).place for job in many[1:]] == [2, 3, 4, 5]
    work.go.set()
    until(lambda: store.count(State.COMPLETED) == 6)
    worker.stop(30.0)
    order = [many[0], single, *many[1:]]
    assert work.began == [job.job_id for job in order]


def take(store: SharedJobStore) -> str:
    """Begin the job that a worker of all queues takes next. Returns its client."""
    with store._engine.connect() as connection:
        job_id = connection.scalar(NEXT)
    job = store.begin(job_id, 1)
    assert job is not None and job.client is not None
    return job.client


@pytest.mark.parametrize("forgets", [False, True], ids=["", "deleted"])
@pytest.mark.parametrize("model", ["demucs", "whisper"], ids=["same queue", "other queue"])
def test_clients_that_send_one_job_after_another_do_not_pass_who_waits(
    open_store: Open, model: str, forgets: bool
) -> None:
    store = open_store()

    def add(client: str, model: str) -> None:
        again = Request(store.new_id(), model, "tiny", {}, "the same")
        store.submit(again, client, None)

    for _ in range(3):
        add("zoe", "demucs")
    add("ann", model)
    add("bob", model)
    before, taken = "", []
    for _ in range(9):
        client = take(store)
        # Its job has ended, and the next one has begun.
        if before in ("ann", "bob"):
            for job in store.active():
                if job.client == before:
                    store.finish(job, State.COMPLETED)
                    if forgets:
                        store.forget_file(job.request.file_id)
            add(before, model)
        before = client
        taken.append(client)
    assert taken == ["zoe", "ann", "bob"] * 3


def test_turns_are_kept_for_a_day(open_store: Open) -> None:
    store = open_store()
    for client in ("ann", "bob"):
        submit(store, client, client)
        assert take(store) == client
    with store._engine.begin() as connection:
        connection.execute(
            text("UPDATE turns SET begun_at = now() - interval '25 hours' WHERE client = 'ann'")
        )
    store.rescue(INTERRUPTED, STALLED_S)
    with store._engine.connect() as connection:
        assert connection.scalars(text("SELECT client FROM turns")).all() == ["bob"]


def test_a_fast_queue_delays_nobody_in_another_one(open_store: Open) -> None:
    store = open_store()
    for number in range(4):
        submit(store, f"{number}", "ann")
    assert take(store) == "ann"
    for number in range(4):
        quick = Request("e" * 32, "whisper", "base", {}, f"{number}")
        job = store.submit(quick, "bob", None)
        store.begin(job.job_id, 1)
        store.finish(job, State.COMPLETED)
    assert submit(store, "single", "cyd").place == 1
    # Nor are those who come to it delayed, while workers of all queues have other jobs.
    store.submit(Request("e" * 32, "whisper", "base", {}, "another"), "dan", None)
    with store._engine.connect() as connection:
        turn = connection.scalar(text("SELECT -priority FROM jobs WHERE client = 'dan'"))
    assert turn is not None and turn <= 1


def test_two_servers_make_one_job_of_equal_requests(open_store: Open) -> None:
    stores, ids = [open_store(), open_store()], []
    callers = [
        threading.Thread(
            target=lambda store=store, client=client: ids.append(
                submit(store, "same", client).job_id
            )
        )
        for store in stores
        for client in ("ann", "bob", "cyd")
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert (len(ids), len(set(ids))) == (6, 1)
    with stores[0]._engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM procrastinate_jobs")) == 1


def die(store: SharedJobStore, job: Job) -> None:
    """A worker begins the job and dies."""
    with store._engine.begin() as connection:
        worker = connection.scalar(
            text(
                "INSERT INTO procrastinate_workers (last_heartbeat) "
                "VALUES (now() - interval '1 hour') RETURNING id"
            )
        )
        connection.execute(text(DIE), {"worker": worker, "job_id": job.job_id})
    assert store.begin(job.job_id, found(store, job).attempt) is not None


def test_the_jobs_of_dead_workers_run_again_and_fail_in_the_end(open_store: Open) -> None:
    store = open_store()
    job = submit(store, "bad", "ann")
    for number in range(1, MAX_ATTEMPTS + 1):
        assert found(store, job).attempt == number
        die(store, job)
        ended = store.rescue(INTERRUPTED, STALLED_S)
    failed = found(store, job)
    assert (failed.state, failed.attempts, failed.error) == (
        State.FAILED,
        MAX_ATTEMPTS,
        INTERRUPTED,
    )
    assert ended == [job.job_id]


class Frozen(Work):
    """The first attempt of a job does not report until the second one has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.froze = threading.Event()

    def __call__(self, job: Job, report: Report) -> dict[str, Any]:
        if job.attempt == 1:
            self.froze.set()
            until(lambda: self.began)
        return super().__call__(job, report)


def test_a_worker_that_runs_a_job_twice_ends_both_attempts(
    open_store: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "studio.jobs.execution")
    store, work = open_store(), Frozen()
    job = submit(store, "twice", "ann")
    worker = job_backends.start_worker(store, work, concurrency=2)
    assert work.froze.wait(WAIT_S)
    store.rescue(INTERRUPTED, 0.0)
    until(lambda: f"job {job.job_id} ended" in caplog.text)
    worker.stop(WAIT_S)
    work.go.set()
    assert (found(store, job).state, found(store, job).attempt) == (State.QUEUED, 3)


def test_a_job_that_lost_its_entry_gets_another(open_store: Open) -> None:
    """As after a restore, or in a database of a server on one machine."""
    store, work = open_store(), Work()
    job = store.add(request())
    assert store.rescue(INTERRUPTED, STALLED_S) == []
    work.go.set()
    worker = job_backends.start_worker(store, work)
    until(lambda: found(store, job).state is State.COMPLETED)
    worker.stop(30.0)
    assert found(store, job).attempts == 1


def test_a_job_takes_few_round_trips(postgresql: Postgres) -> None:
    """On a busy database each costs as much as a thousand rows."""
    url = postgresql.new_database(f"test{uuid4().hex}")
    statements = Statements(postgresql, url)
    store = SharedJobStore(connect(url))
    store.open()
    job = submit(store, "first", "ann")
    # A transaction with seven statements, on a connection that is tested first.
    sent = statements.during(lambda: submit(store, "second", "ann"))
    assert len(sent) <= 10, sent
    # A test of the connection, the jobs, and their positions.
    sent = statements.during(lambda: store.of_file(job.request.file_id))
    assert len(sent) <= 3, sent
    # A test of the connection, and a transaction that changes the job and its client's turn.
    sent = statements.during(lambda: store.begin(job.job_id, 1))
    assert len(sent) <= 5, sent
    store.close()


def test_one_server_edits_a_job_at_a_time(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = open_store(), open_store()
    order: list[str] = []

    def edit() -> None:
        with two.editing("song"):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with one.editing("song"):
            with two.editing("other song"):
                order.append("other")
            editing = pool.submit(edit)
            until(lambda: waiting_for_locks(one._engine) == 1)
            order.append("first")
        editing.result()
    assert order == ["other", "first", "second"]
    monkeypatch.setattr(scale_store, "EDITING_WAIT_S", 1.0)
    unavailable = pytest.raises(StorageUnavailable, match="edit")
    with one.editing("song"), unavailable, two.editing("song"):
        pass


def test_a_route_sets_the_queue(open_store: Open) -> None:
    store = open_store()
    for number, (model, variant) in enumerate(
        [("demucs", "htdemucs_ft"), ("demucs", "htdemucs"), ("whisper", "base")]
    ):
        store.submit(Request("f" * 32, model, variant, {}, f"{number}"), None, None)
    with store._engine.connect() as connection:
        rows = connection.execute(text("SELECT queue_name FROM procrastinate_jobs ORDER BY id"))
        assert [queue for (queue,) in rows] == ["gpu", "default", "cpu"]


def test_a_server_that_runs_its_own_jobs_shares_no_database(open_store: Open) -> None:
    engine = open_store()._engine
    with presence(engine, is_alone=False):
        check_refused(engine, is_alone=True)
        with presence(engine, is_alone=False):
            pass
    with presence(engine, is_alone=True):
        check_refused(engine, is_alone=False)


def check_refused(engine: Engine, *, is_alone: bool) -> None:
    with pytest.raises(DatabaseInUse, match="ROLE=all"), presence(engine, is_alone=is_alone):
        pass


def test_the_first_times_of_an_hour_add_up(open_store: Open) -> None:
    """Another process stores its time first, and commits while this one waits for it."""
    engine = open_store()._engine
    usage = Usage(engine, clock=lambda: 3600.0)
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as other:
            other.execute(text("INSERT INTO usage VALUES ('bob', 1, 10.0)"))
            added = pool.submit(usage.add, "bob", 5.0)
            with engine.connect() as looking:
                until(lambda: looking.scalar(text("SELECT true FROM pg_locks WHERE NOT granted")))
        added.result(WAIT_S)
    assert usage.worked_s("bob") == 15.0


def test_a_server_on_one_machine_imports_none_of_it(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDED, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
