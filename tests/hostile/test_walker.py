"""Two clients and a stranger walk over all routes and events at random.

Nobody gets an answer of 500 or more, or a byte of another's; when they have left, the server holds
as many threads, descriptors and files as before, and not much more memory.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import psutil
import pytest

from studio.transcription.engine import RATE_HZ
from tests.support.folders import paths_in
from tests.support.receiver import SECRET
from tests.support.server import Server, until
from tests.support.sounds import noise, write_wav
from tests.support.speech import Spoken
from tests.support.walker import Walker

SEED = "16"
# Steps of a walk before the first measurement, which fill caches and pools.
FIRST_STEPS, STEPS = 40, 220
LONGEST_S = 50.0
# A slow machine walks for longer.
MIN_STEPS = 20
MEMORY_BYTES = 200 * 1024**2
# Threads of the pool (32) that come when many ask at once, and connections that are kept.
SLACK = 40
KEYS = {"ann": "ann-0123456789abcdef", "bob": "bob-0123456789abcdef", "stranger": ""}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("walked"),
        API_KEYS=",".join(key for key in KEYS.values() if key),
        MODEL_DIR=weights,
        DEMUCS_MODEL="swift",
        SEPARATION_ENGINE="torch",
        WHISPER_MODEL="mini",
        MUSICGEN_MODEL="mini",
        TORCH_THREADS=1,
        WEBHOOK_SECRET=SECRET,
        WEBHOOK_ALLOW_PRIVATE="true",
        LIVE_CLIENT_SESSIONS=2,
        MAX_CLIENT_JOBS=5,
        HF_HUB_OFFLINE=1,
    ).start()
    yield server
    server.stop_later()


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, recording: Spoken) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sounds")
    speech = write_wav(folder / "speech.wav", recording.part(0, 1)[None], RATE_HZ)
    return {
        "wav": write_wav(folder / "song.wav", noise(1.5)).read_bytes(),
        "speech": speech.read_bytes(),
        "txt": b"a slow waltz",
    }


def walk(server: Server, sounds: dict[str, bytes], seed: str, steps: int) -> list[Walker]:
    """Let all three walk at the same time, and leave."""
    walkers = [Walker(server, name, key, seed, sounds) for name, key in KEYS.items()]
    for walker in walkers:
        walker.foreign_marks = [other.mark for other in walkers if other is not walker]
    ends_s = time.monotonic() + LONGEST_S

    def run(walker: Walker) -> None:
        while walker.steps < steps and not walker.wrong:
            if walker.steps > MIN_STEPS and time.monotonic() > ends_s:
                break
            walker.others = [
                file_id for other in walkers if other is not walker for file_id in [*other.own]
            ]
            walker.step()

    threads = [Thread(target=run, args=(walker,)) for walker in walkers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for walker in walkers:
        walker.others = []
        walker.leave()
    return walkers


def use_every_model(server: Server, sounds: dict[str, bytes]) -> None:
    """A job of each model, so that all of their libraries are loaded."""
    headers = {"X-API-Key": KEYS["ann"]}
    for model, ending, content in (
        ("demucs", "wav", sounds["wav"]),
        ("whisper", "wav", sounds["speech"]),
        ("musicgen", "txt", sounds["txt"]),
    ):
        sent = {"file": (f"one.{ending}", content)}
        file_id = server.post("/upload", files=sent, headers=headers).json()["file_id"]
        body = {"duration": 1.0} if model == "musicgen" else {}
        server.post(f"/process/{model}/{file_id}", json=body, headers=headers)
        status = server.wait(file_id, headers=headers)
        assert status["status"] == "completed", status
        server.delete(f"/cleanup/{file_id}", headers=headers)


def worker(server: Server) -> psutil.Process:
    (process,) = psutil.Process(server.pid).children()
    return process


def files(server: Server) -> set[Path]:
    """What lies in the folders beside the database and the two folders for what is on its way."""
    return {
        path
        for folder in (server.uploads, server.outputs)
        for path in paths_in(folder)
        if not path.name.startswith((".jobs", ".lock", ".work", ".incoming"))
        and path.parent.name != ".locks"
    }


@pytest.mark.slow
def test_a_random_walk_ends_where_it_began(server: Server, sounds: dict[str, bytes]) -> None:
    use_every_model(server, sounds)
    for walker in walk(server, sounds, f"{SEED} first", FIRST_STEPS):
        assert walker.wrong == []
    process = worker(server)
    # A canceled job may still load its model.
    until(lambda: files(server) == set())
    threads, descriptors = process.num_threads(), process.num_fds()
    memory_bytes = process.memory_info().rss

    for walker in walk(server, sounds, SEED, STEPS):
        assert walker.wrong == []
        assert walker.steps > MIN_STEPS

    until(lambda: files(server) == set())
    until(lambda: process.num_threads() <= threads + SLACK)
    until(lambda: process.num_fds() <= descriptors + SLACK)
    assert process.memory_info().rss <= memory_bytes + MEMORY_BYTES
    assert not [child for child in process.children(recursive=True) if "ffmpeg" in child.name()]
    assert "Traceback" not in server.log.read_text()
