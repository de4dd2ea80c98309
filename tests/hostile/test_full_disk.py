"""A full or read-only disk, or a database that takes nothing: told in words, and no job is lost."""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from studio.errors import DiskFull, StorageUnavailable
from studio.jobs import execution, faults, runner
from studio.jobs.database import connect
from studio.jobs.housekeeping import HOUR_S
from studio.jobs.job import Job, Report, State
from studio.jobs.store import JobStore
from studio.storage.uploads import Upload
from tests.support.housekeeping import House
from tests.support.in_process import application
from tests.support.jobs import RESULT, Work, finished, request, running, state
from tests.support.problems import assert_problem
from tests.support.server import Server, until

IMPATIENT = "tests.support.impatient:create_app()"
LONG_RESULT = {"stems": ["vocals"], "note": "x" * 100_000}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> JobStore:
    store = JobStore(engine)
    store.open()
    return store


def pages(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("PRAGMA page_count")).scalar_one())


@contextmanager
def pragma(engine: Engine, setting: str) -> Iterator[None]:
    """All connections of an engine have a setting of SQLite inside."""

    is_set = True

    def prepare(connection: Any, _record: object) -> None:
        if is_set:
            connection.execute(f"PRAGMA {setting}").close()

    event.listen(engine, "connect", prepare)
    engine.dispose()
    try:
        yield
    finally:
        # The listener stays: removing it could meet a thread that is connecting.
        is_set = False
        engine.dispose()


def full(engine: Engine) -> str:
    """SQLite answers as on a full disk when a database would need more pages."""
    return f"max_page_count={pages(engine)}"


def read_only(_engine: Engine) -> str:
    return "query_only=ON"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "RETRY_S", 0.02)


@pytest.mark.parametrize("fault", [full, read_only])
def test_the_end_of_a_job_is_written_once_the_database_takes_it(
    store: JobStore, engine: Engine, caplog: pytest.LogCaptureFixture, fault: Callable[..., str]
) -> None:
    work = Work()
    work.act = lambda _job, _report: LONG_RESULT
    with running(store, work) as jobs:
        job = jobs.submit(request())
        until(lambda: work.began)
        with pragma(engine, fault(engine)):
            work.go.set()
            until(lambda: "cannot store the final state" in caplog.text)
            assert state(store, job) is State.PROCESSING
        done = finished(store, jobs, job)
        assert (done.state, done.result, done.attempts) == (State.COMPLETED, LONG_RESULT, 1)
        assert caplog.text.count("cannot store the final state") == 1
    assert work.discarded == []


def test_progress_that_cannot_be_written_fails_no_job(store: JobStore, engine: Engine) -> None:
    work = Work()
    reported: list[str] = []

    def act(_job: Job, report: Report) -> dict[str, Any]:
        with pragma(engine, "query_only=ON"):
            for stage in ("analysing", "separating", "encoding"):
                report(stage, 0.5)
                reported.append(stage)
        return RESULT

    work.act = act
    work.go.set()
    with running(store, work) as jobs:
        done = finished(store, jobs, jobs.submit(request()))
    assert (done.state, len(reported)) == (State.COMPLETED, 3), done


def test_a_stop_does_not_wait_for_the_database(
    store: JobStore, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """The job runs again after the next start."""
    work = Work()
    work.act = lambda _job, _report: LONG_RESULT
    with running(store, work) as jobs:
        job = jobs.submit(request())
        until(lambda: work.began)
        with pragma(engine, full(engine)):
            work.go.set()
            until(lambda: "cannot store the final state" in caplog.text)
            jobs.stop()
    assert state(store, job) is State.PROCESSING
    with running(store, work) as jobs:
        assert finished(store, jobs, job).state is State.COMPLETED


def test_a_job_that_no_thread_works_on_is_queued_again(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RECOVER_EVERY_S", 0.05)
    work = Work()
    with running(store, work) as jobs:
        held = jobs.submit(request("held"))
        until(lambda: work.began)
        lost = store.add(request("lost", "e" * 32))
        assert store.claim() is not None
        work.go.set()
        assert finished(store, jobs, lost).attempts == 2
        assert finished(store, jobs, held).attempts == 1


@pytest.mark.usefixtures("store")
def test_the_check_of_the_database_tells_what_is_wrong(engine: Engine) -> None:
    with pragma(engine, full(engine)), pytest.raises(DiskFull, match="full"):
        faults.check_writable(engine)
    with pragma(engine, "query_only=ON"), pytest.raises(StorageUnavailable, match="read-only"):
        faults.check_writable(engine)
    faults.check_writable(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM probes")).scalar_one() == 0


def mount(folder: Path, *options: str) -> bool:
    done = subprocess.run(
        ["mount", *options, str(folder)], check=False, capture_output=True, timeout=30
    )
    return done.returncode == 0


@pytest.fixture
def tiny(tmp_path: Path, weights: Path) -> Iterator[Server]:
    """A server with a disk of 4 MB for its uploads, and one for its results and jobs."""
    server = Server(tmp_path, MODEL_DIR=weights, DEMUCS_MODEL="swift", SEPARATION_ENGINE="torch")
    mounted: list[Path] = []
    try:
        for folder in (server.uploads, server.outputs):
            folder.mkdir()
            assert mount(folder, "-t", "tmpfs", "-o", "size=4m", "tmpfs")
            mounted.append(folder)
        yield server.start(application=IMPATIENT)
    finally:
        server.stop()
        for folder in mounted:
            # Others may look at all folders just then.
            subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    assert mount(folder, "-t", "tmpfs", "-o", "size=8m", "tmpfs")
    yield folder
    # A test that fails may leave files open.
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)


def fill(folder: Path) -> Path:
    """Leave no space on the disk of a folder. Returns the file that takes it."""
    ballast = folder / "ballast"
    with (
        open(ballast, "wb", buffering=0) as file,
        pytest.raises(OSError, match="No space left"),
    ):
        while True:
            file.write(bytes(1 << 12))
    return ballast


def large_upload(house: House) -> Upload:
    """An upload with a job that has ended."""
    upload = house.upload()
    (house.uploads / upload.file_id / "source.wav").write_bytes(bytes(1 << 20))
    house.finish(house.job(upload))
    return upload


@pytest.mark.root
def test_old_files_make_space_on_a_full_disk(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The database cannot be written before."""
    house = House(small_disk)
    old = [large_upload(house) for _ in range(2)]
    house.now += 10 * HOUR_S
    young = replace(house.upload(), created_at=house.now)
    (house.uploads / young.file_id / "upload.json").write_text(json.dumps(asdict(young)))
    orphan = house.outputs / ("f" * 32)
    orphan.mkdir()
    fill(small_disk)
    house.sweep()
    assert not any(map(house.has, old)) and not orphan.exists()
    assert list((house.uploads / ".incoming").iterdir()) == []
    assert house.has(young)
    assert "database or disk is full" in caplog.text
    house.close()


@pytest.mark.root
def test_a_file_can_be_deleted_on_a_full_disk(small_disk: Path) -> None:
    database = f"sqlite:///{small_disk / 'jobs.sqlite3'}"
    with application(small_disk, DATABASE_URL=database) as app:
        house = House(small_disk)
        upload = large_upload(house)
        ballast = fill(small_disk)
        answer = app.test_client().delete(f"/cleanup/{upload.file_id}")
        assert answer.status_code == 200, answer.text
        assert list((house.uploads / ".incoming").iterdir()) == []
        assert not (house.outputs / upload.file_id).exists()
        house.close()
        ballast.unlink()


def storage(server: Server) -> dict[str, str]:
    answer = server.get("/ready")
    body = answer.json()
    assert answer.status_code == (200 if body["ready"] else 503)
    assert body["ready"] == (set(body["storage"].values()) == {"ready"})
    states: dict[str, str] = body["storage"]
    return states


@pytest.mark.root
def test_a_full_disk_is_told_and_recovered_from(tiny: Server, short_wav: Path) -> None:
    file_id = tiny.upload(short_wav)
    assert storage(tiny) == {"disk": "ready", "database": "ready"}
    ballast = fill(tiny.outputs)
    refused = [tiny.process(file_id, stems=["vocals"], overlap=n / 10) for n in range(1, 4)]
    assert {answer.status_code for answer in refused} <= {202, 507}
    assert_problem(refused[-1], "disk_full", "database is full")
    until(lambda: set(storage(tiny).values()) & {"ready"} == set())
    ballast.unlink()
    until(lambda: storage(tiny) == {"disk": "ready", "database": "ready"})
    assert tiny.process(file_id, stems=["vocals"]).status_code == 202
    assert tiny.wait(file_id)["status"] == "completed"


@pytest.mark.root
@pytest.mark.slow
def test_a_read_only_disk_is_told_and_recovered_from(tiny: Server, short_wav: Path) -> None:
    assert mount(tiny.uploads, "-o", "remount,ro")
    with open(short_wav, "rb") as file:
        answer = tiny.post("/upload", files={"file": file})
    assert_problem(answer, "storage_unavailable", "Read-only file system")
    until(lambda: "Read-only" in storage(tiny)["disk"])
    assert mount(tiny.uploads, "-o", "remount,rw")
    until(lambda: storage(tiny) == {"disk": "ready", "database": "ready"})
    assert tiny.upload(short_wav)


def test_a_disk_that_is_gone_gives_503_until_it_is_back(
    tmp_path: Path, weights: Path, short_wav: Path
) -> None:
    """As when it is unmounted: the folder is empty then, or does not exist."""
    server = Server(tmp_path, MODEL_DIR=weights, DEMUCS_MODEL="swift", SEPARATION_ENGINE="torch")
    mounted = tmp_path / "mounted"
    try:
        server.start(application=IMPATIENT)
        assert server.upload(short_wav)
        server.uploads.rename(mounted)
        for is_empty in (False, True):
            if is_empty:
                server.uploads.mkdir()
            with open(short_wav, "rb") as file:
                answer = server.post("/upload", files={"file": file})
            assert_problem(answer, "storage_unavailable", "No such file or directory")
            until(lambda: "No such file or directory" in storage(server)["disk"])
        server.uploads.rmdir()
        mounted.rename(server.uploads)
        until(lambda: storage(server) == {"disk": "ready", "database": "ready"})
        assert server.upload(short_wav)
    finally:
        server.stop_later()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/process/demucs/{file_id}", "application/json"),
        ("/upload", "multipart/form-data; boundary=x"),
    ],
)
def test_a_bad_chunk_size_is_a_bad_request(
    server: Server, short_wav: Path, path: str, kind: str
) -> None:
    file_id = server.upload(short_wav)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(
            f"POST {path.format(file_id=file_id)} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
            "zz\r\n{}\r\n0\r\n\r\n".encode()
        )
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "bad_request"' in answer
