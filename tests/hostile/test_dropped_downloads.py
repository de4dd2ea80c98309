"""Downloads that are dropped, or asked for many times, leave the server free for others."""

import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from studio.results import TrackFolder
from studio.separation.result import SeparationResult, tracks_of
from studio.storage import on_demand
from studio.storage.disk_results import DiskFile
from studio.storage.on_demand import Abandoned, Requester, requested_by
from studio.storage.results import ResultId
from tests.support.folders import Folders
from tests.support.problems import assert_problem
from tests.support.server import Server, until
from tests.support.sounds import RATE_HZ, ffmpeg_children, noise, write_wav

# More than the server has threads.
DROPPED = 80
# Long enough that nothing below is made before its requests have gone.
MINUTES = 15


@pytest.fixture(scope="module")
def long_sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sound = np.tile(noise(20.0), 3 * MINUTES)
    return write_wav(tmp_path_factory.mktemp("long") / "long.wav", sound, subtype="FLOAT")


@pytest.fixture
def result(server: Server, short_wav: Path, long_sound: Path) -> Iterator[Path]:
    """The folder of a separation whose `vocals` is a long sound that only WAV is there of."""
    file_id = server.separate(short_wav, model_variant="swift", stems=["vocals"])
    [folder] = (server.outputs / file_id).iterdir()
    (folder / "vocals.wav").unlink()
    (folder / "vocals.wav").hardlink_to(long_sound)
    yield folder
    server.delete(f"/cleanup/{file_id}")


def ask(server: Server, path: str) -> socket.socket:
    """A download that was asked for and is not read."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


def being_made(result: Path) -> list[str]:
    return [path.name for path in (result.parents[1] / ".work").iterdir()]


def address(folder: Path, track: str, audio_format: str) -> str:
    return f"/download/{folder.parent.name}/{track}?format={audio_format}"


def test_dropped_downloads_do_not_deafen_the_server(server: Server, result: Path) -> None:
    """As many clients as threads and more ask for one format and hang up at once."""
    made_at_once = 0
    for number in range(DROPPED):
        client = ask(server, address(result, "vocals", "mp3"))
        time.sleep(0.03)
        client.close()
        if number % 10 == 0:
            made_at_once = max(made_at_once, len(being_made(result)))
    assert server.get("/health").status_code == 200
    assert made_at_once <= 1
    until(lambda: being_made(result) == [])
    assert not (result / "vocals.mp3").exists(), "it was made though nobody waited"


def test_what_one_still_waits_for_is_made_once_for_all(server: Server, result: Path) -> None:
    (result / "vocals.wav").unlink()
    write_wav(result / "vocals.wav", np.tile(noise(20.0), 6), subtype="FLOAT")
    path = address(result, "vocals", "mp3")
    dropped = ask(server, path)
    until(lambda: being_made(result))
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(server.get, path) for _ in range(3)]
        dropped.close()
        contents = {answer.result().content for answer in answers}
    assert contents == {(result / "vocals.mp3").read_bytes()}
    assert being_made(result) == []


def test_the_child_of_an_abandoned_file_ends(tmp_path: Path) -> None:
    """What is left without a stem is decoded from the upload by ffmpeg."""
    folders = Folders(tmp_path)
    song = write_wav(tmp_path / "song.wav", noise(10.0))
    folder = folders.publish(folders.upload(), vocals=b"")
    write_wav(folder / "vocals.wav", noise(10.0), subtype="FLOAT")
    result = SeparationResult(
        engine="",
        precision="",
        note=None,
        stems=["vocals"],
        format="wav",
        sample_rate_hz=RATE_HZ,
        channels=2,
        samples=10 * RATE_HZ,
        duration_s=10.0,
        gain=1.0,
        elapsed_s=1.0,
        real_time_factor=0.1,
    )
    rest = next(track for track in tracks_of(result) if track.name == "no_vocals")
    seen: list[int] = []

    def has_left() -> bool:
        """It is there before the file is begun, and gone at the first block."""
        seen.extend(ffmpeg_children())
        return bool(seen)

    with pytest.raises(Abandoned), requested_by(Requester("a client", has_left)):
        files = folders.storage.result(ResultId(folder.parent.name, folder.name))
        rest.make(TrackFolder(files, DiskFile(song), song.name), "wav")
    assert seen
    assert ffmpeg_children() == []
    assert [path.name for path in folder.iterdir()] == ["vocals.wav"]


def test_a_client_waits_for_a_few_formats_only(server: Server, result: Path) -> None:
    """More are refused, with the time to wait; what is there already is sent all the same."""
    more = 3
    clients = [
        ask(server, address(result, "vocals", "mp3"))
        for _ in range(on_demand.MAX_REQUESTS_PER_CLIENT + more)
    ]
    answered: list[socket.socket] = []
    try:
        while len(answered) < more:
            ready, _, _ = select.select([one for one in clients if one not in answered], [], [], 60)
            assert ready
            answered += ready
        for client in answered:
            assert client.recv(12) == b"HTTP/1.1 429"
        answer = server.get(address(result, "vocals", "ogg"))
        assert_problem(answer, "too_many_conversions", "8 of your downloads")
        assert answer.headers["Retry-After"] == "5"
        zipped = server.get(f"/download/{result.parent.name}/all.zip?format=ogg")
        assert_problem(zipped, "too_many_conversions", "8 of your downloads")
        there = server.get(address(result, "vocals", "wav"), stream=True)
        assert there.status_code == 200
        there.close()
    finally:
        for client in clients:
            client.close()
    until(lambda: being_made(result) == [])
