"""Metrics, request ids and the log of a running server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.registry import REGISTRY

from studio.jobs.job import State
from studio.web.metrics import CurrentValues, Metrics
from tests.support.keys import SECRET
from tests.support.live_client import Client
from tests.support.metrics import Scrape, scrape
from tests.support.server import LAUNCHER, Server


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A server started by production.py, whose log is JSON."""
    server = Server(
        tmp_path_factory.mktemp("watched"),
        MODEL_DIR=weights,
        DEMUCS_MODEL="swift",
        WHISPER_MODEL="mini",
        LOG_FORMAT="json",
        SECRET_KEY=SECRET,
    ).start(command=LAUNCHER)
    yield server
    server.stop_later()


def test_jobs_and_their_sound_are_counted(watched: Server, short_wav: Path) -> None:
    before = scrape(watched)
    file_id = watched.separate(short_wav, shifts=1)
    after = scrape(watched)

    def gained(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    job = watched.get(f"/status/{file_id}").json()["jobs"][0]
    assert gained("studio_jobs_ended_total", model="demucs", state="completed") == 1
    assert gained("studio_jobs", model="demucs", state="completed") == 1
    assert gained("studio_audio_seconds_total", model="demucs") == job["result"]["duration_s"]
    assert gained("studio_processing_seconds_total", model="demucs") > 0
    assert after.value("studio_model_load_seconds_count", model="demucs/swift") >= 1
    assert after.value("studio_queue_depth") == 0
    used = sum(
        path.stat().st_size
        for folder in (watched.uploads, watched.outputs)
        for path in folder.rglob("*")
        if path.is_file()
    )
    assert after.value("studio_disk_used_bytes") > used / 2
    assert after.value("studio_disk_free_bytes") > 0


def test_requests_are_counted_by_route_and_status(watched: Server) -> None:
    """Ids and unknown paths make no rows of their own."""
    before = scrape(watched)
    for number in range(3):
        assert watched.get(f"/status/{number:032}").status_code == 404
        assert watched.get(f"/no/such/{number}").status_code == 404
    after = scrape(watched)
    labels = {"method": "GET", "route": "/status/<file_id>"}
    name = "studio_http_requests_total"
    assert (
        after.value(name, status="404", **labels) - before.value(name, status="404", **labels) == 3
    )
    assert after.value(name, route="unknown") - before.value(name, route="unknown") == 3
    assert after.value("studio_http_request_seconds_count", **labels) >= 3
    assert not any("0000" in route or "such" in route for route in after.labels(name, "route"))


def test_live_sessions_are_counted(watched: Server) -> None:
    before = scrape(watched).value("studio_live_sessions")
    with Client(watched) as client:
        client.greeting()
        assert scrape(watched).value("studio_live_sessions") == before + 1
        assert scrape(watched).value("studio_live_lag_seconds") == 0


def test_each_server_has_a_registry_of_its_own() -> None:
    def metrics() -> Metrics:
        present = CurrentValues(
            lambda: {("demucs", State.QUEUED): 2, ("whisper", State.FAILED): 1},
            list,
            lambda: 3,
            lambda: 1.5,
            lambda: 10,
            lambda: 20,
        )
        return Metrics(present)

    first, second = metrics(), metrics()
    first.request_answered("GET", "/health", 200, 0.1)
    assert Scrape(first.text().decode()).value("studio_http_requests_total") == 1
    counted = Scrape(second.text().decode())
    assert counted.value("studio_http_requests_total") == 0
    assert counted.value("studio_queue_depth") == 2
    assert counted.value("studio_jobs", state="failed") == 1
    assert counted.value("studio_live_sessions") == 3
    assert counted.value("studio_live_lag_seconds") == 1.5
    assert not any("studio" in family.name for family in REGISTRY.collect())


def test_every_answer_has_a_request_id(watched: Server) -> None:
    ids = {watched.get("/health").headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3
    for given in ("abc-123", "A.b_c" * 12):
        headers = {"X-Request-ID": given, "Origin": "https://page.example"}
        answer = watched.get("/nothing", headers=headers)
        assert answer.headers["X-Request-ID"] == given
        assert answer.json()["request_id"] == given
        assert "X-Request-ID" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("given", ["a b", "x" * 65, "<b>", "a,b", "ü".encode().decode("latin-1")])
def test_a_request_id_that_is_none_is_replaced(watched: Server, given: str) -> None:
    answer = watched.get("/nothing", headers={"X-Request-ID": given.encode("latin-1")})
    made = answer.headers["X-Request-ID"]
    assert made != given
    assert answer.json()["request_id"] == made
    assert len(made) == 32


def lines(server: Server) -> list[dict[str, Any]]:
    text = server.log.read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_the_log_is_json_with_request_ids(watched: Server) -> None:
    watched.get("/status/nothing?secret=word", headers={"X-Request-ID": "find-me"})
    watched.get("/health", headers={"X-Request-ID": "not-me"})
    watched.get("/a%0Ab", headers={"X-Request-ID": "forged"})
    found = {line["request_id"]: line for line in lines(watched) if "request_id" in line}
    line = found["find-me"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/status/nothing", 400)
    assert line["duration_ms"] >= 0
    assert line["client"] == "127.0.0.1"
    assert line["level"] == "INFO"
    assert line["time"].endswith("+00:00")
    assert "secret" not in json.dumps(line)
    assert "not-me" not in found
    assert found["forged"]["path"] == "/a%0Ab"


def test_the_production_server_writes_one_log(watched: Server) -> None:
    """gunicorn's own lines have the same format."""
    watched.get("/nothing", headers={"X-Request-ID": "once"})
    text = watched.log.read_text().splitlines()
    written = [json.loads(line) for line in text]
    assert {"gunicorn.error", "studio.requests", "production"} <= {
        line["logger"] for line in written
    }
    assert len([line for line in written if line.get("request_id") == "once"]) == 1


def test_the_text_log_names_the_request(server: Server) -> None:
    server.get("/nothing/at/all", headers={"X-Request-ID": "in-text"})
    found = [line for line in server.log.read_text().splitlines() if line.endswith("[in-text]")]
    assert len(found) == 1
    assert "INFO studio.requests: GET /nothing/at/all 404 " in found[0]
