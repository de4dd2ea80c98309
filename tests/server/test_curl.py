"""The curl session of the contract, line by line: against the server, and through nginx.

Through nginx the lines are run as they stand, over https with `-k`.
"""

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.proxy import Proxy
from tests.support.server import LAUNCHER, Server
from tests.support.sounds import convert, noise, read_sound, write_wav
from tests.support.speech import MAX_WRONG, RECORDING, Spoken, wrong

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is not installed; .ci/run installs it"
)

HOST = "https://localhost"
ID = "abc123"


class Shell:
    """A folder in which lines are run as written; only the host and the id are replaced."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.file_id = ID
        self._url = url

    def run(self, line: str) -> str:
        """What a line prints; curl itself must have succeeded."""
        words = shlex.split(line.replace(HOST, self._url).replace(ID, self.file_id))
        assert words[0] == "curl"
        done = subprocess.run(
            [words[0], "-sS", "-k", *words[1:]],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def json(self, line: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run(line))
        return answer


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A server that has weights for the variants that the session names."""
    model_dir = tmp_path_factory.mktemp("model_dir") / "weights"
    shutil.copytree(weights, model_dir, ignore=shutil.ignore_patterns(".graphs"))
    for name in ("htdemucs", "mdx_extra"):
        bag = yaml.safe_dump({"models": ["tiny0"]})
        (model_dir / "demucs" / f"{name}.yaml").write_text(bag)
    server = Server(
        tmp_path_factory.mktemp("curl"),
        MODEL_DIR=model_dir,
        DEMUCS_MODEL="htdemucs",
        SEPARATION_ENGINE="torch",
        WHISPER_MODEL="mini",
        SECRET_KEY="0123456789abcdef0123456789abcdef",
    ).start(command=LAUNCHER)
    yield server
    server.stop_later()


@pytest.fixture(scope="module")
def behind_nginx(
    published: Server, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("curl") / "nginx"
    proxy = Proxy(folder, certificate, f"127.0.0.1:{published.port}").start()
    yield proxy
    proxy.stop()


@pytest.fixture(
    params=[
        pytest.param("http", marks=pytest.mark.slow),
        pytest.param("https", marks=pytest.mark.nginx),
    ]
)
def shell(tmp_path: Path, published: Server, request: pytest.FixtureRequest) -> Iterator[Shell]:
    over: Server | Proxy = published
    if request.param == "https":
        over = request.getfixturevalue("behind_nginx")
    song = write_wav(tmp_path / "speech.wav", noise(2.0, seed=21))
    convert(song, tmp_path / "song.mp3")
    shell = Shell(tmp_path, over.url)
    yield shell
    # The next one asks for the same work, and is not to find it done.
    published.delete(f"/cleanup/{shell.file_id}")


def test_health_and_models(shell: Shell) -> None:
    assert shell.json("curl -k https://localhost/health")["status"] == "healthy"
    assert set(shell.json("curl -k https://localhost/models")["models"]) == {
        "demucs",
        "whisper",
        "musicgen",
        "analysis",
    }


def test_a_song_becomes_stems(shell: Shell, published: Server) -> None:
    sent = shell.json('curl -X POST -F "file=@song.mp3" https://localhost/upload')
    shell.file_id = sent["file_id"]
    job = shell.json("curl -k -X POST https://localhost/process/demucs/abc123")
    assert (job["variant"], job["status"]) == ("htdemucs", "queued")
    shell.json("curl -k https://localhost/status/abc123")
    published.wait(shell.file_id)
    status = shell.json("curl -k https://localhost/status/abc123")
    assert status["status"] == "completed"
    for line in (
        "curl -k https://localhost/download/abc123/vocals -o vocals.wav",
        "curl -k https://localhost/download/abc123/drums -o drums.wav",
        "curl -k https://localhost/download/abc123/bass -o bass.wav  ",
        "curl -k https://localhost/download/abc123/other -o other.wav",
    ):
        assert shell.run(line) == ""
    for stem in ("vocals", "drums", "bass", "other"):
        sound = read_sound(shell.folder / f"{stem}.wav")
        assert sound.shape == (2, round(sent["duration_s"] * 44_100))

    listed = shell.json("curl -k https://localhost/files/abc123")
    assert listed["filename"] == "song.mp3"
    gone = shell.json("curl -k -X DELETE https://localhost/cleanup/abc123")
    assert gone["file_id"] == shell.file_id
    error = shell.json("curl -k https://localhost/status/abc123")
    assert error["code"] == "unknown_file"


def test_another_variant(shell: Shell, published: Server) -> None:
    shell.file_id = shell.json('curl -X POST -F "file=@song.mp3" https://localhost/upload')[
        "file_id"
    ]
    line = """curl -k -X POST -H "Content-Type: application/json" \
      -d '{"model_variant": "mdx_extra"}' \
      https://localhost/process/demucs/abc123"""
    assert shell.json(line)["variant"] == "mdx_extra"
    assert published.wait(shell.file_id)["status"] == "completed"


def test_the_old_name(shell: Shell, published: Server) -> None:
    shell.file_id = shell.json('curl -X POST -F "file=@song.mp3" https://localhost/upload')[
        "file_id"
    ]
    job = shell.json("curl -k -X POST https://localhost/separate/abc123")
    assert (job["model"], job["variant"]) == ("demucs", "htdemucs")
    assert published.wait(shell.file_id)["status"] == "completed"


def test_speech_becomes_text(shell: Shell, published: Server, recording: Spoken) -> None:
    convert(RECORDING, shell.folder / "speech.wav")
    sent = shell.json('curl -k -X POST -F "file=@speech.wav" https://localhost/upload')
    shell.file_id = sent["file_id"]
    job = shell.json("curl -k -X POST https://localhost/process/whisper/abc123")
    assert (job["variant"], job["status"]) == ("mini", "queued")
    shell.json("curl -k https://localhost/status/abc123")
    assert published.wait(shell.file_id)["status"] == "completed"
    shell.run("curl -k https://localhost/download/abc123/transcription -o transcript.txt")
    said = (shell.folder / "transcript.txt").read_text("utf-8")
    assert wrong(recording.text, said) <= MAX_WRONG


def test_a_name_that_is_not_ascii(shell: Shell) -> None:
    (shell.folder / "song.mp3").rename(shell.folder / "夜曲.mp3")
    sent = shell.json('curl -X POST -F "file=@夜曲.mp3" https://localhost/upload')
    assert sent["filename"] == "夜曲.mp3"
