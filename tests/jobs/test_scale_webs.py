"""Two web servers with one PostgreSQL answer as one, also while they are started anew."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any

import pytest
import requests
from socketio.exceptions import ConnectionError

from bench.scale_kills import Clients, Outcome
from scripts.services.postgres import Postgres
from studio.jobs.database import connect
from studio.jobs.scale.store import SharedJobStore
from tests.support.cluster import Cluster
from tests.support.live_client import Client
from tests.support.problems import FORM, assert_problem, part
from tests.support.server import Server, until
from tests.support.sounds import noise, write_wav
from tests.support.statements import waiting_for_locks

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
ANN, BOB = {"X-API-Key": "key-of-ann-0123456789"}, {"X-API-Key": "key-of-bob-0123456789"}
MAX_JOBS = 3
# Enough for one upload, and not for two.
MAX_BYTES = 300_000


@dataclass
class Webs:
    cluster: Cluster
    one: Server
    two: Server
    sound: bytes

    def upload(self, web: Server, owner: dict[str, str] | None = None) -> requests.Response:
        files = {"file": ("song.wav", self.sound)}
        return web.post("/upload", files=files, headers=owner)

    def sleep(
        self, web: Server, file_id: str, owner: dict[str, str] | None = None, **options: Any
    ) -> requests.Response:
        return web.post(f"/process/sleep/{file_id}", json=options, headers=owner)


@pytest.fixture(scope="module")
def start(
    tmp_path_factory: pytest.TempPathFactory, postgresql: Postgres
) -> Iterator[Callable[..., Webs]]:
    """Starts two web servers or live `nodes`, with settings and a database of their own."""
    clusters: list[Cluster] = []

    def start(*nodes: str, **settings: object) -> Webs:
        folder = tmp_path_factory.mktemp("webs")
        url = postgresql.new_database(f"webs{len(clusters)}")
        cluster = Cluster(
            folder,
            postgresql,
            folder / "weights",
            None,
            module="bench.sleeping",
            DATABASE_URL=url,
            DEMUCS_MODEL="mini",
            **settings,
        )
        clusters.append(cluster)
        sound = write_wav(folder / "song.wav", noise(1.0)).read_bytes()
        one, two = map(cluster.live, nodes) if nodes else (cluster.web(), cluster.web())
        return Webs(cluster, one, two, sound)

    yield start
    for cluster in clusters:
        cluster.stop()


@pytest.fixture(scope="module")
def webs(start: Callable[..., Webs]) -> Webs:
    """Two web servers, and one worker that runs one job at a time."""
    webs = start()
    webs.cluster.start("worker")
    return webs


def test_one_cancels_what_was_asked_of_the_other(webs: Webs) -> None:
    """The worker is free for the next job long before the first one would have ended."""
    first, second = (webs.upload(webs.one).json()["file_id"] for _ in range(2))
    webs.sleep(webs.one, first, seconds=600.0)
    until(lambda: webs.two.get(f"/status/{first}").json()["stage"] == "sleeping")
    webs.sleep(webs.one, second, seconds=0.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(webs.one.get, f"/status/{first}?wait=60")
        assert webs.two.post(f"/cancel/{first}").status_code == 200
        assert waiting.result().json()["status"] == "canceled"
    assert webs.one.wait(second)["status"] == "completed"
    assert webs.two.get(f"/status/{first}").json()["tracks"] == []


def test_equal_requests_to_both_at_once_make_one_job(webs: Webs) -> None:
    file_id = webs.upload(webs.one).json()["file_id"]
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(webs.sleep, (webs.one, webs.two)[number % 2], file_id, seconds=0.5)
            for number in range(8)
        ]
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert len(webs.two.wait(file_id)["jobs"]) == 1


def test_an_edit_at_one_does_not_overwrite_that_at_the_other(webs: Webs) -> None:
    """Both wait for a third server that edits the same transcript."""
    file_id = webs.upload(webs.one).json()["file_id"]
    webs.one.process(file_id, "whisper", model_variant="mini")
    assert webs.one.wait(file_id)["status"] == "completed"
    read = webs.one.get(f"/download/{file_id}/transcription?format=json")
    store = SharedJobStore(connect(webs.one.settings["DATABASE_URL"]))

    def edit(web: Server) -> requests.Response:
        url = f"{web.url}/files/{file_id}/transcription"
        body = {"segments": [{"start_s": 0.1, "end_s": 0.9, "text": f"By {web.port}."}]}
        return requests.put(url, json=body, headers={"If-Match": read.headers["ETag"]}, timeout=60)

    with ThreadPoolExecutor(2) as pool:
        with store.editing(file_id):
            edits = [pool.submit(edit, web) for web in (webs.one, webs.two)]
            until(lambda: waiting_for_locks(store._engine) == 2)
        answers = dict(zip((webs.one, webs.two), (one.result() for one in edits), strict=True))
    store.close()
    assert sorted(answer.status_code for answer in answers.values()) == [200, 412]
    kept = next(web for web, answer in answers.items() if answer.status_code == 200)
    for web in answers:
        text = web.get(f"/download/{file_id}/transcription?format=txt").text
        assert text == f"By {kept.port}.\n"


def test_a_restart_of_one_after_the_other_loses_no_request(webs: Webs) -> None:
    """Clients ask again after 503, and where nobody answers; nothing else goes wrong."""
    outcome, ended = Outcome(), Event()
    clients = Clients([webs.one, webs.two], outcome)

    def use(client: int) -> int:
        rounds = 0
        while not ended.is_set():
            sent = clients.ask("POST", "/upload", files={"file": ("song.wav", webs.sound)})
            file_id = sent.json()["file_id"]
            options = {"seconds": 0.1, "number": client}
            job = clients.ask("POST", f"/process/sleep/{file_id}", json=options)
            path = f"/status/{file_id}?wait=60"
            while (status := clients.ask("GET", path)).json()["status"] != "completed":
                assert status.json()["status"] in ("queued", "processing"), status.text
            track = clients.ask("GET", f"/download/{file_id}/left")
            codes = [answer.status_code for answer in (sent, job, status, track)]
            assert codes in ([201, 202, 200, 200], [201, 200, 200, 200]), track.text
            rounds += 1
        return rounds

    with ThreadPoolExecutor(4) as pool:
        users = [pool.submit(use, number) for number in range(4)]
        try:
            for web in (webs.one, webs.two):
                web.stop()
                web.start(application=webs.cluster.application)
        finally:
            ended.set()
        assert all(user.result() for user in users)
    assert outcome.retries.total() > 0


def test_owners_and_limits_hold_for_both_together(start: Callable[..., Webs]) -> None:
    webs = start(
        API_KEYS=",".join([*ANN.values(), *BOB.values()]),
        MAX_CLIENT_JOBS=MAX_JOBS,
        MAX_CLIENT_BYTES=MAX_BYTES,
    )
    file_id = webs.upload(webs.one, ANN).json()["file_id"]
    assert webs.two.get(f"/status/{file_id}", headers=ANN).status_code == 200
    assert_problem(webs.two.get(f"/status/{file_id}", headers=BOB), "unknown_file")
    for number in range(MAX_JOBS):
        web = (webs.one, webs.two)[number % 2]
        assert webs.sleep(web, file_id, ANN, number=number).status_code == 202
    for web in (webs.one, webs.two):
        assert_problem(webs.sleep(web, file_id, ANN, number=99), "too_many_jobs")
    others = webs.upload(webs.two, BOB).json()["file_id"]
    assert webs.sleep(webs.two, others, BOB).status_code == 202
    assert_problem(webs.upload(webs.two, ANN), "quota_exceeded")


def test_uploads_and_live_sessions_of_a_client_are_counted_on_both(
    start: Callable[..., Webs],
) -> None:
    """Those of a server that is killed no longer count."""
    webs = start(
        "live-1",
        "live-2",
        API_KEYS=",".join([*ANN.values(), *BOB.values()]),
        MAX_CLIENT_UPLOADS=1,
        LIVE_CLIENT_SESSIONS=1,
        WHISPER_MODEL="mini",
    )
    ann, bob = ({"token": key} for key in (*ANN.values(), *BOB.values()))
    head = (
        f"POST /upload HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {ann['token']}\r\n"
        f"Content-Length: 5000000\r\nContent-Type: {FORM['Content-Type']}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", webs.one.port)) as slow:
        slow.sendall(head + part("song.wav", b"RIFF" + bytes(300_000)))
        until(lambda: any((webs.cluster.folder / "uploads" / ".incoming").iterdir()))
        assert_problem(webs.upload(webs.two, ANN), "too_many_uploads", "1 uploads of yours")
        assert webs.upload(webs.two, BOB).status_code == 201
        with Client(webs.one, auth=ann), Client(webs.two, auth=bob):
            with pytest.raises(ConnectionError, match="too_many_sessions"):
                Client(webs.two, auth=ann)
            webs.one.kill()
    until(lambda: webs.upload(webs.two, ANN).status_code == 201)
    until(lambda: _connects(webs.two, ann))


def _connects(server: Server, auth: dict[str, str]) -> bool:
    try:
        Client(server, auth=auth).close()
    except ConnectionError:
        return False
    return True
