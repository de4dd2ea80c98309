"""A web server without a worker: what it knows of the workers from the database."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from scripts.services.postgres import Postgres
from studio.errors import StorageUnavailable
from studio.inference import warm_up
from studio.jobs import faults
from studio.jobs.database import MAX_CONNECTIONS, connect
from studio.jobs.job import Request, State
from studio.jobs.scale import workers
from studio.jobs.scale.partials import SharedPartials
from studio.jobs.scale.store import SharedJobStore
from studio.jobs.scale.workers import Capabilities, Workers
from studio.jobs.store import JobStore
from tests.support.problems import assert_problem
from tests.support.server import WAIT_S, Server, until
from tests.support.statements import Statements

pytestmark = pytest.mark.postgres
ROUTES = (("demucs.mini", "gpu"),)
STALLED_S = 600
# Requests that wait for the same job.
WAITING = 3
HOUR_AGO = text("UPDATE workers SET seen_at = now() - interval '1 hour'")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, PostgreSQL may take long to answer."""
    monkeypatch.setattr(workers, "WAIT_S", WAIT_S)


@pytest.fixture(scope="module")
def statements(postgresql: Postgres) -> Statements:
    return Statements(postgresql, postgresql.new_database(f"test{uuid4().hex}"))


@pytest.fixture(scope="module")
def web(
    statements: Statements, tmp_path_factory: pytest.TempPathFactory, weights: Path
) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("web"),
        ROLE="web",
        DATABASE_URL=statements.url,
        MODEL_DIR=weights,
        DEMUCS_MODEL="tiny",
        ROUTES="demucs.mini=gpu",
        WORKER_STALLED_S=f"{STALLED_S}",
    )
    yield server.start(application="tests.support.impatient:create_app()")
    server.stop_later()


@pytest.fixture
def engine(web: Server) -> Iterator[Engine]:
    """The database of the server, without workers."""
    engine = connect(web.settings["DATABASE_URL"])
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM workers"))
    yield engine
    engine.dispose()


def announced(engine: Engine, device: str, *queues: str, weights: str = "local") -> str:
    """A worker that has two variants of Demucs."""
    variant = {"purpose": "", "engine": None, "size_bytes": 7, "licence": "MIT"}
    variants = {name: {**variant, "weights": weights} for name in ("tiny", "mini")}
    worker_id = uuid4().hex
    Workers(engine, ROUTES, STALLED_S).announce(
        worker_id, Capabilities(queues, device, {"demucs": {"variants": variants}})
    )
    return worker_id


def variant_of(web: Server, name: str) -> dict[str, Any]:
    variant: dict[str, Any] = web.get("/models").json()["models"]["demucs"]["variants"][name]
    return variant


def test_models_are_those_of_the_living_workers(web: Server, engine: Engine) -> None:
    until(lambda: variant_of(web, "tiny")["workers"] == {})
    first = announced(engine, "cpu", weights="available")
    announced(engine, "cuda", "gpu")
    until(lambda: variant_of(web, "tiny")["workers"] == {"cpu": 1})
    assert variant_of(web, "tiny")["weights"] == "available"
    assert variant_of(web, "tiny")["size_bytes"] == 7
    assert variant_of(web, "mini")["workers"] == {"cpu": 1, "cuda": 1}
    assert variant_of(web, "mini")["weights"] == "local"
    assert variant_of(web, "htdemucs")["workers"] == {}
    Workers(engine, ROUTES, STALLED_S).leave(first)
    until(lambda: variant_of(web, "mini")["workers"] == {"cuda": 1})
    with engine.begin() as connection:
        connection.execute(HOUR_AGO)
    until(lambda: variant_of(web, "mini")["workers"] == {})


def test_a_job_without_a_worker_says_so(web: Server, engine: Engine, short_wav: Path) -> None:
    file_id = web.upload(short_wav)
    until(lambda: variant_of(web, "mini")["workers"] == {})
    job = web.process(file_id, model_variant="mini").json()
    assert job["status"] == "queued"
    assert "'gpu'" in job["note"] and "demucs/mini" in job["note"]
    announced(engine, "cpu", "default")
    announced(engine, "cuda", "gpu")
    until(lambda: web.get(f"/status/{file_id}").json()["jobs"][0]["note"] is None)
    web.post(f"/cancel/{file_id}")
    assert web.get(f"/status/{file_id}").json()["jobs"][0]["note"] is None


def test_requests_take_few_round_trips(
    web: Server, statements: Statements, short_wav: Path
) -> None:
    """Each of the two statements of `GET /status` comes with a test of its connection.

    Once in a while a request also reads the living workers, after such a test, and the server
    announces itself. What the server does in the background does not come with each request.
    """
    files = [web.upload(short_wav) for _ in range(3)]

    def fewest(ask: Callable[[str], object]) -> list[str]:
        return min((statements.during(partial(ask, file_id)) for file_id in files), key=len)

    sent = fewest(lambda file_id: web.process(file_id, model_variant="tiny"))
    assert 0 < len(sent) <= 16, sent
    sent = fewest(lambda file_id: web.get(f"/status/{file_id}"))
    assert 0 < len(sent) <= 8, sent
    for file_id in files:
        web.post(f"/cancel/{file_id}")


def reads(sent: list[str], beginning: str) -> list[str]:
    return [one for one in sent if one.startswith(beginning)]


def test_the_end_of_a_job_wakes_those_who_wait_for_it(
    web: Server, engine: Engine, statements: Statements, short_wav: Path
) -> None:
    """Each of them reads the jobs of the file once; those who wait for another job read nothing."""
    files = [web.upload(short_wav) for _ in range(2)]
    for file_id in files:
        web.process(file_id, model_variant="tiny")
    store, arrived = SharedJobStore(engine), statements.from_now()
    with ThreadPoolExecutor(2 * WAITING) as pool:
        first, second = (
            [pool.submit(web.get, f"/status/{file_id}?wait=60") for _ in range(WAITING)]
            for file_id in files
        )
        # Each looks once more before it waits.
        until(lambda: len(reads(arrived(), "SELECT jobs.state")) >= 2 * WAITING)
        sent = statements.during(lambda: [store.cancel(files[0]), *map(Future.result, first)])
        assert not any(answer.done() for answer in second)
        store.cancel(files[1])
    assert {one.result().json()["status"] for one in (*first, *second)} == {"canceled"}
    assert len(reads(sent, "SELECT jobs.number")) == WAITING, sent


def test_metrics_are_those_of_all_jobs(web: Server, engine: Engine) -> None:
    """Another process runs a job."""
    store = JobStore(engine)
    before = web.get("/metrics").text
    store.add(Request("f" * 32, "demucs", "tiny", {}, "counted"))
    job = store.claim()
    assert job is not None
    assert store.finish(job, State.COMPLETED, result={"duration_s": 60.0})
    assert not store.finish(job, State.FAILED), "it is counted once"
    after = web.get("/metrics").text
    for line in (
        'studio_jobs_ended_total{model="demucs",state="completed"} 1.0',
        'studio_audio_seconds_total{model="demucs"} 60.0',
        'studio_processing_seconds_total{model="demucs"}',
    ):
        assert line in after and line not in before


def test_partial_results_come_from_the_worker(web: Server, engine: Engine, short_wav: Path) -> None:
    """Also to a request that waits for them."""
    file_id = web.upload(short_wav)
    web.process(file_id, model_variant="tiny")
    job = JobStore(engine).claim()
    assert job is not None and job.request.file_id == file_id
    partials = SharedPartials(engine, every_s=0.1)
    with ThreadPoolExecutor(1) as pool, partials.during(job) as show:
        waiting = pool.submit(web.get, f"/status/{file_id}?partial_from=1&wait=60")
        for number in range(3):
            show({"id": number})
        assert waiting.result().json()["partial"][0] == {"id": 1}
    web.post(f"/cancel/{file_id}")


def test_readiness_counts_workers(web: Server, engine: Engine) -> None:
    until(lambda: web.get("/ready").json()["workers"] == 0)
    assert web.get("/ready").json()["ready"]
    announced(engine, "cpu")
    until(lambda: web.get("/ready").json()["workers"] == 1)


def test_a_stalled_database_gives_503_and_the_server_stays_alive(
    web: Server, engine: Engine, short_wav: Path
) -> None:
    """As when a migration locks the jobs: requests hold all connections of the server."""
    file_id = web.upload(short_wav)
    with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
        with engine.begin() as stalled:
            stalled.execute(text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
            health = web.get("/health")
            assert (health.status_code, health.json()["status"]) == (200, "healthy")
            assert health.json()["jobs_queued"] is health.json()["jobs_processing"] is None
            asked = [pool.submit(web.get, f"/status/{file_id}") for _ in range(MAX_CONNECTIONS)]
            refused = next(as_completed(asked)).result()
            assert web.get("/health").status_code == 200
        answers = [one.result() for one in asked]
    assert_problem(refused, "storage_unavailable", "does not respond")
    assert refused.headers["Retry-After"]
    assert {answer.status_code for answer in answers} == {200, 503}
    until(lambda: web.get("/health").json()["jobs_queued"] is not None)


def test_a_stalled_database_keeps_no_readiness_check_waiting(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would hold a thread of the server until there are none left."""
    monkeypatch.setattr(warm_up, "CHECK_STORAGE_EVERY_S", 0.0)
    monkeypatch.setattr(workers, "KNOWN_FOR_S", 0.0)
    check = warm_up.StorageCheck({"database": partial(faults.check_writable, engine)})
    known, unknown = Workers(engine, (), STALLED_S), Workers(engine, (), STALLED_S)
    announced(engine, "cpu")
    assert [one.device for one in known.living()] == ["cpu"]
    monkeypatch.setattr(warm_up, "STORAGE_WAIT_S", 0.2)
    monkeypatch.setattr(workers, "WAIT_S", 0.2)
    with ThreadPoolExecutor() as pool:
        with engine.begin() as stalled:
            stalled.execute(text("LOCK TABLE probes, workers IN ACCESS EXCLUSIVE MODE"))
            states = [pool.submit(check.states) for _ in range(2)]
            assert all("not responded" in one.result(WAIT_S)["database"] for one in states)
            assert [one.device for one in pool.submit(known.living).result(WAIT_S)] == ["cpu"]
            with pytest.raises(StorageUnavailable, match="does not respond"):
                pool.submit(unknown.living).result(WAIT_S)
        until(lambda: check.states() == {"database": warm_up.READY})


def test_a_server_that_is_stopped_logs_no_error(
    statements: Statements, tmp_path: Path, weights: Path, short_wav: Path
) -> None:
    url = statements.url
    server = Server(tmp_path, ROLE="web", DATABASE_URL=url, MODEL_DIR=weights, DEMUCS_MODEL="tiny")
    server.start()
    server.upload(short_wav)
    server.stop()
    assert "Traceback" not in server.log.read_text()


def test_a_worker_that_comes_back_is_counted_again(engine: Engine) -> None:
    workers = Workers(engine, (), STALLED_S)
    worker_id = announced(engine, "cpu")
    with engine.begin() as connection:
        connection.execute(HOUR_AGO)
    other = announced(engine, "cuda")
    assert [one.device for one in workers.living()] == ["cuda"]
    workers.announce(worker_id, Capabilities((), "cpu", {}))
    again = Workers(engine, (), STALLED_S)
    assert sorted(one.device for one in again.living()) == ["cpu", "cuda"]
    assert again.can_run("demucs", "tiny") and not again.can_run("whisper", "mini")
    again.leave(other)
