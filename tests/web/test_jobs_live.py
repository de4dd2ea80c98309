"""The namespace /jobs: what a page receives while its jobs run, and what it does not."""

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest
import socketio
from socketio.exceptions import ConnectionError

from studio.web.live.jobs import MAX_CONNECTIONS_PER_CLIENT, MAX_FILES, JobFeed
from tests.support.hearing import silence
from tests.support.in_process import application
from tests.support.jobs_client import PATH, Page
from tests.support.keys import ANN, BOB
from tests.support.server import WAIT_S, Server, until
from tests.support.sounds import noise, write_wav
from tests.support.speech import Spoken
from tests.support.threads import no_more_threads


def states(events: list[tuple[str, Any]]) -> list[str]:
    return [data["status"] for name, data in events if name == "job"]


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("songs") / "song.wav", noise(5.0, seed=81))


@pytest.mark.parametrize(
    "transport", ["websocket", pytest.param("polling", marks=pytest.mark.slow)]
)
def test_a_job_is_told_from_start_to_end(server: Server, tmp_path: Path, transport: str) -> None:
    seed = 82 + len(transport)
    file_id = server.upload(write_wav(tmp_path / "song.wav", noise(20.0, seed=seed)))
    with Page(server, transport) as page:
        assert page.subscribe(file_id) == {"file_ids": [file_id]}
        server.process(file_id)
        events = page.until_final()
    assert states(events)[-1] == "completed"
    jobs = [data for _, data in events]
    assert {job["file_id"] for job in jobs} == {file_id}
    progress = [job["progress"] for job in jobs]
    assert progress == sorted(progress)
    assert any(0 < one < 1 for one in progress)
    assert any(job["eta_s"] for job in jobs)
    assert "separating" in {job["stage"] for job in jobs}
    assert jobs[-1] == server.get(f"/status/{file_id}").json()["jobs"][0]


def test_a_subscription_begins_with_what_there_is(server: Server, song: Path) -> None:
    done, untouched = server.separate(song), server.upload(song)
    with Page(server) as page:
        page.subscribe(untouched, done)
        name, job = page.next()
        assert (name, job["file_id"], job["status"]) == ("job", done, "completed")
        assert page.subscribe() == {"file_ids": []}
        server.process(untouched, stems=["drums"])
        server.wait(untouched)
        page.subscribe(untouched)
        assert page.next()[1]["file_id"] == untouched
        assert page.events.empty()


def test_place_cancel_and_removal_are_told(server: Server, tmp_path: Path) -> None:
    first, second = (
        server.upload(write_wav(tmp_path / f"{seed}.wav", noise(30.0, seed=seed)))
        for seed in (84, 85)
    )
    with Page(server) as page:
        page.subscribe(second)
        server.process(first, shifts=20)
        until(lambda: server.get(f"/status/{first}").json()["status"] == "processing")
        server.process(second)
        name, job = page.next()
        assert (name, job["status"], job["place"]) == ("job", "queued", 1)
        server.delete(f"/cleanup/{second}")
        assert states(page.until_final())[-1] == "canceled"
        page.subscribe(first)
        server.post(f"/cancel/{first}")
        assert states(page.until_final())[-1] == "canceled"


def test_one_connection_may_join_both_namespaces(server: Server, song: Path) -> None:
    client = socketio.Client(reconnection=False, request_timeout=WAIT_S)
    file_id = server.upload(song)
    try:
        client.connect(server.url, namespaces=[PATH, "/transcribe"], wait_timeout=60)
        answer = client.call("subscribe", {"file_ids": [file_id]}, namespace=PATH, timeout=WAIT_S)
        assert answer == {"file_ids": [file_id]}
        assert client.call("keepalive", namespace="/transcribe", timeout=WAIT_S)
    finally:
        client.disconnect()


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "x",
        {},
        {"file_ids": "x"},
        {"file_ids": [1]},
        {"file_ids": ["x"] * (MAX_FILES + 1)},
    ],
)
def test_a_wrong_subscription_is_an_error(server: Server, data: Any) -> None:
    with Page(server) as page:
        error = page.call(data)["error"]
        assert error["code"] == "invalid_file_ids"
        assert page.next() == ("error", error)
        assert page.subscribe("0" * 32)["error"]["code"] == "unknown_file"


def test_a_database_that_cannot_be_read_is_told(server: Server, song: Path) -> None:
    file_id = server.upload(song)
    path = server.outputs / ".jobs.sqlite3"
    with Page(server) as page, closing(sqlite3.connect(path, timeout=WAIT_S)) as database:
        database.execute("ALTER TABLE jobs RENAME TO lost")
        try:
            error = page.subscribe(file_id)["error"]
        finally:
            database.execute("ALTER TABLE lost RENAME TO jobs")
        assert error["code"] == "storage_unavailable"
        assert page.next() == ("error", error)
        assert page.subscribe(file_id) == {"file_ids": [file_id]}


def test_a_client_has_a_few_connections(server: Server) -> None:
    pages = [Page(server) for _ in range(MAX_CONNECTIONS_PER_CLIENT)]
    try:
        with pytest.raises(ConnectionError, match="too_many_connections"):
            Page(server)
    finally:
        for page in pages:
            page.close()

    def is_let_in() -> bool:
        try:
            Page(server).close()
        except ConnectionError:
            return False
        return True

    until(is_let_in)


def test_a_client_that_leaves_while_it_joins_keeps_no_place(tmp_path: Path) -> None:
    server = Server(tmp_path).start(application="tests.support.slow_joining:create_app()")
    poll = "/socket.io/?EIO=4&transport=polling"
    joining = range(MAX_CONNECTIONS_PER_CLIENT)
    try:
        opened = [json.loads(server.get(poll).text[1:])["sid"] for _ in joining]
        with ThreadPoolExecutor(len(joining)) as pool:
            joins = [
                pool.submit(server.post, f"{poll}&sid={sid}", data=f"40{PATH},") for sid in opened
            ]
            until(lambda: len([*server.outputs.glob("joining-*")]) == len(joining))
            for sid in opened:
                assert server.post(f"{poll}&sid={sid}", data="1").status_code == 200
            (server.outputs / "go").touch()
            for one in joins:
                one.result()
        with ExitStack() as pages:
            for _ in joining:
                pages.enter_context(Page(server))
    finally:
        server.stop_later()


def test_segments_are_told_as_they_are_decoded(
    live_server: Server, recording: Spoken, tmp_path: Path
) -> None:
    sound = np.concatenate([recording.sound, silence(1)] * 3)
    file_id = live_server.upload(write_wav(tmp_path / "speech.wav", sound[None], 16_000))
    with Page(live_server) as page:
        page.subscribe(file_id)
        live_server.process(file_id, "whisper")
        events = page.until_final()
    assert states(events)[-1] == "completed"
    transcript = live_server.get(f"/download/{file_id}/transcription?format=json").json()
    told: list[dict[str, Any]] = []
    for name, data in events:
        if name == "partial":
            assert data["first"] == len(told)
            told += data["items"]
    assert told
    # The last ones may only be in the result.
    assert told == transcript["segments"][: len(told)]


def test_changes_are_told_at_most_four_times_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often jobs change; what is shorter than a pause is the accuracy of the clock."""
    with application(tmp_path) as app:
        namespaces = app.extensions["parts"].socketio.server.namespace_handlers
        feed = JobFeed(namespaces[PATH].feed._services, lambda *_: None)
        told_s: list[float] = []
        monkeypatch.setattr(feed._services.runner, "wait_for_change", lambda seen, _: seen)
        monkeypatch.setattr(feed, "_tell", lambda _: told_s.append(time.monotonic()))
        feed.watch("page", [])
        until(lambda: len(told_s) >= 4)
        feed.stop()
    assert min(after - before for before, after in pairwise(told_s[1:])) > 0.2


def test_the_feed_starts_once_there_is_a_thread_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with application(tmp_path) as app:
        namespaces = app.extensions["parts"].socketio.server.namespace_handlers
        feed = JobFeed(namespaces[PATH].feed._services, lambda *_: None)
        with no_more_threads(), pytest.raises(RuntimeError, match="can't start"):
            feed.watch("first", [])
        told: Queue[int] = Queue()
        feed.watch("second", [])
        monkeypatch.setattr(feed, "_tell", lambda watches: told.put(len(watches)))
        assert told.get(timeout=WAIT_S) == 2
        feed.stop()


def test_only_the_owner_may_watch_a_file(locked: Server, short_wav: Path) -> None:
    with short_wav.open("rb") as file:
        answer = locked.post("/upload", files={"file": file}, headers={"X-API-Key": ANN})
    file_id = answer.json()["file_id"]
    with Page(locked, auth={"token": ANN}) as page:
        assert page.subscribe(file_id) == {"file_ids": [file_id]}
    with Page(locked, auth={"token": BOB}) as page:
        never = page.subscribe("0" * 32)["error"]["message"]
        other = page.subscribe(file_id)["error"]["message"]
        assert other == never.replace("0" * 32, file_id)
    with pytest.raises(ConnectionError, match=r"API key.*unauthorized"):
        Page(locked)


def test_a_page_with_a_session_may_watch(locked: Server) -> None:
    answer = locked.post("/session", headers={"X-API-Key": ANN})
    [(name, value)] = answer.cookies.items()
    headers = {"Cookie": f"{name}={value}", "Origin": locked.url}
    with Page(locked, headers=headers) as page:
        assert page.subscribe() == {"file_ids": []}
