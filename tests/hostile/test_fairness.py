"""One client with much to do: others get their turn, and what one may ask for has bounds."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.jobs import migration
from studio.jobs.database import connect
from studio.jobs.job import Request
from studio.jobs.store import JobStore
from studio.jobs.turns import Turns
from studio.jobs.usage import HOUR_S, Usage
from tests.support.problems import assert_problem
from tests.support.server import Server, until
from tests.support.sounds import noise, write_wav

ANN, BOB = "ann-0123456789abcdef", "bob-0123456789abcdef"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}"))
    store.open()
    yield store
    store.close()


def add(store: JobStore, client: str, count: int = 1) -> list[str]:
    requests = [Request("f" * 32, "demucs", "mini", {}, store.new_id()) for _ in range(count)]
    return [store.add(request, client=client).job_id for request in requests]


def claim(store: JobStore, count: int) -> list[str | None]:
    """Whose jobs are taken next."""
    taken = []
    for _ in range(count):
        job = store.claim()
        assert job is not None
        taken.append(job.client)
    return taken


def test_clients_take_turns(store: JobStore) -> None:
    add(store, "ann", 5)
    assert claim(store, 1) == ["ann"]
    add(store, "bob", 2)
    add(store, "cyd", 1)
    assert claim(store, 7) == ["bob", "cyd", "ann", "bob", "ann", "ann", "ann"]
    assert store.claim() is None


def test_a_client_that_comes_again_and_again_does_not_pass_who_waits(store: JobStore) -> None:
    add(store, "ann", 3)
    taken = []
    for _ in range(6):
        add(store, "bob")
        taken += claim(store, 1)
    assert taken.count("ann") == 3


def test_clients_that_send_one_job_after_another_do_not_pass_who_waits(store: JobStore) -> None:
    for client in ("ann", "bob", "cyd", "zoe"):
        add(store, client)
    before, taken = "", []
    for _ in range(8):
        [next_client] = claim(store, 1)
        assert next_client is not None
        # Its job has ended, and the next one has begun.
        if before in ("ann", "bob"):
            add(store, before)
        before = next_client
        taken.append(before)
    assert taken == ["ann", "bob", "cyd", "zoe", "ann", "bob", "ann", "bob"]


def test_after_a_restart_who_came_first_is_first(store: JobStore) -> None:
    add(store, "zoe", 2)
    add(store, "cyd")
    add(store, "ann")
    assert claim(JobStore(store._engine), 1) == ["zoe"]
    assert claim(JobStore(store._engine), 3) == ["zoe", "cyd", "ann"]


def test_a_waiting_client_is_overtaken_by_each_other_one_at_most_once() -> None:
    chance, turns = random.Random(1), Turns()
    waiting: dict[str | None, int] = {}
    overtaken: Counter[tuple[str | None, str | None]] = Counter()
    for _ in range(1000):
        for client in chance.sample("abcdefgh", chance.randrange(3)):
            waiting[client] = waiting.get(client, 0) + chance.choice((1, 1, 9))
        # As when a client asks for the place of its job.
        turns.order(chance.sample(list(waiting), len(waiting) // 2))
        if not waiting:
            continue
        taken, *others = turns.order(waiting)
        turns.take(taken, waiting)
        # Its next job waits from now on, behind those that came before.
        left = waiting.pop(taken) - 1
        if left:
            waiting[taken] = left
        overtaken.update((other, taken) for other in others)
        for pair in [pair for pair in overtaken if pair[0] == taken]:
            del overtaken[pair]
        assert max(overtaken.values(), default=0) <= 1


def test_places_are_those_of_the_turns(store: JobStore) -> None:
    """What a client is told is the order in which jobs are then taken."""
    job_ids = add(store, "ann", 3) + add(store, "bob", 2) + add(store, "cyd")
    claim(store, 1)
    job_ids = job_ids[1:]
    places = {}
    for job_id in job_ids:
        job = store.get(job_id)
        assert job is not None
        places[job_id] = job.place
    assert sorted(place or 0 for place in places.values()) == [1, 2, 3, 4, 5]
    for place in range(1, 6):
        job = store.claim()
        assert job is not None
        assert places[job.job_id] == place
        assert job.place is None


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("shared"),
        API_KEYS=f"{ANN},{BOB}",
        MODEL_DIR=weights,
        DEMUCS_MODEL="tiny",
        SEPARATION_ENGINE="torch",
        MAX_SEPARATION_S=1000,
        MAX_CLIENT_BYTES=3_000_000,
    ).start()
    yield server
    server.stop_later()


def upload(server: Server, path: Path, key: str) -> str:
    with open(path, "rb") as file:
        answer = server.post("/upload", files={"file": file}, headers={"X-API-Key": key})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["file_id"])


def test_one_client_s_long_jobs_do_not_stand_before_everybody(
    shared: Server, tmp_path: Path
) -> None:
    song = write_wav(tmp_path / "song.wav", noise(4.0, channels=1))
    slow = {"shifts": 20, "overlap": 0.9}
    first = [upload(shared, song, ANN) for _ in range(3)]
    for number, file_id in enumerate(first):
        options = {**slow, "overlap": 0.9 - 0.01 * number}
        path = f"/process/demucs/{file_id}"
        answer = shared.post(path, json=options, headers={"X-API-Key": ANN})
        assert answer.status_code == 202, answer.text
    headers = {"X-API-Key": ANN}
    until(
        lambda: shared.get(f"/status/{first[0]}", headers=headers).json()["status"] == "processing"
    )
    other = upload(shared, song, BOB)
    answer = shared.post(f"/process/demucs/{other}", json={}, headers={"X-API-Key": BOB})
    assert answer.json()["place"] == 1
    for file_id in first:
        shared.delete(f"/cleanup/{file_id}", headers={"X-API-Key": ANN})
    shared.delete(f"/cleanup/{other}", headers={"X-API-Key": BOB})


def test_more_work_than_the_bound_is_refused(shared: Server, tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", noise(6.0, channels=1))
    file_id = upload(shared, song, BOB)
    headers = {"X-API-Key": BOB}
    path = f"/process/demucs/{file_id}"
    answer = shared.post(path, json={"shifts": 20, "overlap": 0.9}, headers=headers)
    body = assert_problem(answer, "invalid_option", "shifts")
    assert "1,200 s" in body["error"] and "1,000 s" in body["error"]
    assert shared.get(f"/status/{file_id}", headers=headers).json()["jobs"] == []
    assert shared.post(path, json={"shifts": 1}, headers=headers).status_code == 202
    shared.delete(f"/cleanup/{file_id}", headers=headers)


def test_a_key_has_a_quota_of_bytes(shared: Server, tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", noise(8.0))
    headers = {"X-API-Key": ANN}
    kept = [upload(shared, song, ANN), upload(shared, song, ANN)]
    with open(song, "rb") as file:
        answer = shared.post("/upload", files={"file": file}, headers=headers)
    assert_problem(answer, "quota_exceeded", "DELETE /cleanup")
    other = upload(shared, song, BOB)
    shared.delete(f"/cleanup/{other}", headers={"X-API-Key": BOB})
    shared.delete(f"/cleanup/{kept[0]}", headers=headers)
    kept[0] = upload(shared, song, ANN)
    for file_id in kept:
        shared.delete(f"/cleanup/{file_id}", headers=headers)


def test_work_is_counted_for_a_day(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    now = [1_000_000.0]
    migration.upgrade(engine)
    usage = Usage(engine, lambda: now[0])
    usage.add("ann", 30.0)
    usage.add("ann", 15.0)
    now[0] += 2 * HOUR_S
    usage.add("ann", 5.0)
    usage.add("bob", 1.0)
    assert (usage.worked_s("ann"), usage.worked_s("bob"), usage.worked_s("cyd")) == (50, 1, 0)
    now[0] += 22.5 * HOUR_S
    assert usage.worked_s("ann") == 5.0
    now[0] += 24 * HOUR_S
    assert usage.worked_s("ann") == 0.0
    engine.dispose()


def test_work_beyond_the_minutes_of_a_key_is_refused(
    tmp_path: Path, weights: Path, short_wav: Path
) -> None:
    """Results that are there are still given, and removing files gives no minutes back."""
    server = Server(tmp_path, MODEL_DIR=weights, DEMUCS_MODEL="swift", MAX_CLIENT_MINUTES=1)
    server.start()
    try:
        file_id = server.separate(short_wav)
        # As if it had worked for the rest of the minute.
        engine = connect(f"sqlite:///{server.outputs / '.jobs.sqlite3'}")
        usage = Usage(engine)
        # A job is charged after it is shown as completed.
        until(lambda: 0 < usage.worked_s("address:127.0.0.1") < 60)
        usage.add("address:127.0.0.1", 60.0)
        engine.dispose()
        assert server.process(file_id).status_code == 200
        answer = server.process(file_id, overlap=0.5)
        body = assert_problem(answer, "quota_exceeded", "24 hours")
        assert answer.headers["Retry-After"] == str(body["retry_after_s"])
        server.delete(f"/cleanup/{file_id}")
        again = server.upload(short_wav)
        assert_problem(server.process(again), "quota_exceeded")
        assert server.get(f"/status/{again}").json()["jobs"] == []
    finally:
        server.stop_later()
