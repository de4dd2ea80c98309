"""What a server refuses for want of room: large files, a full queue, a full disk, lost clients."""

import contextlib
import errno
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.errors import DiskFull
from studio.storage.incoming import IncomingFile
from tests.support.problems import BOUNDARY, FORM, assert_problem, left_on, part, send
from tests.support.server import Server, until
from tests.support.sounds import convert, noise, write_wav
from tests.support.storage import disk_storage

LIMIT_BYTES = 100_000
SLOW: dict[str, Any] = {"shifts": 20, "overlap": 0.75}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A server that takes 100 kB a request and lets one job wait."""
    server = Server(
        tmp_path_factory.mktemp("small"),
        MODEL_DIR=weights,
        DEMUCS_MODEL="tiny",
        MAX_CONTENT_LENGTH=LIMIT_BYTES,
        MAX_QUEUED_JOBS=1,
    ).start()
    yield server
    server.stop_later()


@pytest.fixture(scope="module")
def full(
    tmp_path_factory: pytest.TempPathFactory, weights: Path, server: Server, short_wav: Path
) -> Iterator[tuple[Server, str]]:
    """A server whose disk has too little room left, and a file from better days."""
    folder = tmp_path_factory.mktemp("full")
    file_id = server.upload(short_wav)
    shutil.copytree(server.uploads / file_id, folder / "uploads" / file_id)
    filled = Server(folder, MODEL_DIR=weights, DEMUCS_MODEL="tiny", MIN_FREE_BYTES=2**60).start()
    yield filled, file_id
    filled.stop_later()


@pytest.fixture(scope="module")
def small_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty seconds in less than 100 kB."""
    folder = tmp_path_factory.mktemp("songs")
    song = write_wav(folder / "song.wav", noise(20.0, channels=1, rate_hz=8_000), 8_000)
    return convert(song, folder / "song.mp3", "-b:a", "16k")


def incoming(server: Server) -> list[Path]:
    return list((server.uploads / ".incoming").iterdir())


def test_a_file_within_the_limit(small: Server, small_song: Path) -> None:
    assert small_song.stat().st_size < LIMIT_BYTES
    assert small.upload(small_song)


def test_a_file_over_the_limit(small: Server) -> None:
    before = left_on(small)
    answer = send(small, part("song.wav", b"RIFF" + bytes(LIMIT_BYTES)))
    assert_problem(answer, "file_too_large", "100,000")
    assert left_on(small) == before


def test_a_file_over_the_limit_in_pieces_of_unknown_length(small: Server) -> None:
    """Chunked: the server finds out while it reads, and stops."""
    before = left_on(small)
    head = part("song.wav", b"RIFF")[:-2]
    pieces = [head, *[bytes(10_000)] * 12, f"\r\n--{BOUNDARY}--\r\n".encode()]
    answer = small.post("/upload", data=iter(pieces), headers=FORM)
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert_problem(answer, "file_too_large", "100,000")
    assert left_on(small) == before


def test_a_file_over_the_limit_is_refused_before_it_is_sent(server: Server) -> None:
    """Only the headers arrive, with a length of 600 MB: the answer is there at once."""
    before = left_on(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(
            b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 600000000\r\n"
            b"Content-Type: " + FORM["Content-Type"].encode() + b"\r\n\r\n"
        )
        answer = b""
        while b'"code": "file_too_large"' not in answer:
            received = client.recv(65_536)
            assert received, answer
            answer += received
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"the maximum is 524,288,000" in answer
    assert left_on(server) == before


def test_options_over_the_limit(small: Server, small_song: Path) -> None:
    file_id = small.upload(small_song)
    answer = small.process(file_id, stems=["a" * LIMIT_BYTES])
    assert_problem(answer, "file_too_large", "65,536")


def test_a_full_queue_says_when_to_come_again(small: Server, small_song: Path) -> None:
    running, waiting, refused = (small.upload(small_song) for _ in range(3))
    assert small.process(running, **SLOW).status_code == 202
    until(lambda: small.get(f"/status/{running}").json()["status"] == "processing")
    assert small.process(waiting, **SLOW).status_code == 202
    answer = small.process(refused, **SLOW)
    body = assert_problem(answer, "queue_full", "1 jobs are waiting")
    assert int(answer.headers["Retry-After"]) == body["retry_after_s"] > 0
    assert small.get(f"/status/{refused}").json()["jobs"] == []
    assert small.process(waiting, **SLOW).status_code == 202  # that one is known
    assert small.process(running, **SLOW).status_code == 202

    assert small.post(f"/cancel/{waiting}").status_code == 200
    assert small.process(refused, **SLOW).status_code == 202
    for file_id in (refused, running):
        assert small.post(f"/cancel/{file_id}").status_code == 200


def test_a_full_disk_refuses_an_upload(full: tuple[Server, str], short_wav: Path) -> None:
    server, _ = full
    before = left_on(server)
    answer = send(server, part("song.wav", short_wav.read_bytes()))
    assert_problem(answer, "disk_full", "/cleanup/")
    assert left_on(server) == before


def test_a_full_disk_refuses_an_upload_of_unknown_length(full: tuple[Server, str]) -> None:
    server, _ = full
    before = left_on(server)
    pieces = [part("song.wav", bytes(50_000)), f"--{BOUNDARY}--\r\n".encode()]
    assert_problem(server.post("/upload", data=iter(pieces), headers=FORM), "disk_full", "disk")
    assert left_on(server) == before


@pytest.mark.slow
def test_a_full_disk_fails_a_job_and_leaves_nothing(full: tuple[Server, str]) -> None:
    server, file_id = full
    before = left_on(server)
    assert server.process(file_id).status_code == 202
    status = server.wait(file_id)
    assert (status["status"], status["error"]["code"]) == ("failed", "disk_full")
    assert "/cleanup/" in status["error"]["error"]
    assert status["tracks"] == []
    assert left_on(server) == before
    assert not (server.outputs / file_id).exists()
    body = assert_problem(server.get(f"/download/{file_id}/vocals"), "not_ready", "failed")
    assert "/process/demucs/" in body["error"]


def test_a_disk_that_takes_no_more_while_writing() -> None:
    """/dev/full answers each write as a full disk does."""
    incoming = IncomingFile(Path("/dev/full"), lambda: None)
    with pytest.raises(DiskFull, match="full"):
        for _ in range(100):
            incoming.write(bytes(65_536))
    with contextlib.suppress(DiskFull):
        incoming.close()


def test_discarding_an_upload_on_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """Closing writes the last bytes; that they do not fit must not keep the file."""
    storage = disk_storage(tmp_path / "uploads", tmp_path / "outputs")
    storage.open()
    path = tmp_path / "uploads" / ".incoming" / "song"
    path.symlink_to("/dev/full")
    incoming = IncomingFile(path, lambda: None)
    incoming.write(b"a few bytes that wait in the buffer")
    storage.discard(incoming)
    assert list(path.parent.iterdir()) == []


def test_a_disk_that_is_full_at_the_last_moment_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The song is there, but its description no longer fits."""
    storage = disk_storage(tmp_path / "uploads", tmp_path / "outputs")
    storage.open()
    incoming = storage.receive()
    incoming.write(b"a song")

    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", no_space)
    with pytest.raises(DiskFull):
        storage.accept(incoming, "song.wav", "wav", None)
    storage.discard(incoming)
    assert [*(tmp_path / "uploads").iterdir()] == [tmp_path / "uploads" / ".incoming"]
    assert [*(tmp_path / "uploads" / ".incoming").iterdir()] == []


def test_a_client_that_goes_away_leaves_nothing(server: Server, short_wav: Path) -> None:
    before = left_on(server)
    body = part("song.wav", short_wav.read_bytes())
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(
            f"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: {FORM['Content-Type']}\r\n\r\n".encode()
        )
        client.sendall(body[: len(body) // 2])
        until(lambda: bool(incoming(server)))
    until(lambda: not incoming(server))
    assert left_on(server) == before
    assert server.get("/health").status_code == 200


def test_a_client_that_goes_away_while_it_waits_for_the_status(
    server: Server, short_wav: Path
) -> None:
    file_id = server.upload(short_wav)
    assert server.process(file_id, **SLOW).status_code == 202
    for _ in range(40):  # more than the server has threads
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            client.sendall(
                f"GET /status/{file_id}?wait=1 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
    assert server.get("/health").status_code == 200
    server.delete(f"/cleanup/{file_id}")
