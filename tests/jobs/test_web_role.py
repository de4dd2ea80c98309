"""A web server without a worker: what it knows of the workers from the database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from scripts.services.postgres import Postgres
from studio.jobs.scale.workers import Abilities, Workers
from studio.jobs.store import connect
from tests.support.server import Server, until

pytestmark = pytest.mark.postgres
ROUTES = (("demucs.mini", "gpu"),)
STALLED_S = 600
HOUR_AGO = text("UPDATE workers SET seen_at = now() - interval '1 hour'")


@pytest.fixture(scope="module")
def web(
    postgresql: Postgres, tmp_path_factory: pytest.TempPathFactory, weights: Path
) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("web"),
        ROLE="web",
        DATABASE_URL=postgresql.new_database(f"test{uuid4().hex}"),
        MODEL_DIR=weights,
        DEMUCS_MODEL="tiny",
        ROUTES="demucs.mini=gpu",
        WORKER_STALLED_S=f"{STALLED_S}",
    )
    yield server.start()
    server.stop()


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
        worker_id, Abilities(queues, device, {"demucs": {"variants": variants}})
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


def test_a_worker_that_comes_back_is_counted_again(engine: Engine) -> None:
    workers = Workers(engine, (), STALLED_S)
    worker_id = announced(engine, "cpu")
    with engine.begin() as connection:
        connection.execute(HOUR_AGO)
    other = announced(engine, "cuda")
    assert [one.device for one in workers.living()] == ["cuda"]
    workers.announce(worker_id, Abilities((), "cpu", {}))
    again = Workers(engine, (), STALLED_S)
    assert sorted(one.device for one in again.living()) == ["cpu", "cuda"]
    assert again.can_run("demucs", "tiny") and not again.can_run("whisper", "mini")
    again.leave(other)
