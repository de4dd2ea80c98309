"""`make demo`: a song, speech and a prompt through a server started for it.

It uses the bundled models; with `--real`, htdemucs and Whisper base if they can be downloaded.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import soundfile

from config import Config, ConfigError
from models import Models
from scripts import env_example
from scripts.scores import sdr_db, word_errors
from scripts.services.children import ServiceError, free_port, spawn, stop, wait_until_ready
from studio.cli.backend import open_backend
from studio.cli.fetching import fetch
from studio.cli.show import Screen
from studio.errors import StudioError
from studio.inference.variants import BUNDLED

ROOT = Path(__file__).resolve().parent.parent
SONG = ROOT / "samples" / "song"
SPEECH = ROOT / "samples" / "speech"
PROMPT = "fast happy piano in the high register, with drums"
MUSIC_S = 5
MUSIC_SEED = 1
TARGET = ROOT / "outputs" / "demo"
# The machine's: where and how models run, and where their weights are.
KEPT = {
    "DEVICE",
    "TORCH_THREADS",
    "SEPARATION_ENGINE",
    "SEPARATION_PRECISION",
    "WHISPER_ENGINE",
    "WHISPER_RUNTIME",
    "MUSICGEN_ENGINE",
    "MUSICGEN_PRECISION",
    "MODEL_DIR",
}
START_TIMEOUT_S = 120
ANSWER_TIMEOUT_S = 120


def main() -> None:
    """Separate a song, transcribe speech, make music; ends with a status of 0 or with the cause."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true", help="use htdemucs and Whisper base")
    is_real = parser.parse_args().real
    TARGET.mkdir(parents=True, exist_ok=True)
    demucs, whisper = fetch_real() if is_real else (BUNDLED, BUNDLED)
    with server(is_offline=not is_real) as url, requests.Session() as session:
        separate(url, session, demucs)
        transcribe(url, session, whisper)
        make_music(url, session)
    shown = TARGET.relative_to(ROOT)
    print(f"\nThe results are in {shown}/. To process your own recordings:")
    print("  make run                                   starts the server")
    print("  http://localhost:8000                      opens the studio in a browser")
    print("  http://localhost:8000/docs                 lists the whole API")
    print('  curl -F "file=@song.mp3" http://localhost:8000/upload')


def fetch_real() -> tuple[str, str]:
    """Download htdemucs and base. Returns the variants to use: the bundled ones as a fallback."""
    screen = Screen()
    try:
        kept = Config.load(only=KEPT)
        config = dataclasses.replace(kept, DEMUCS_MODEL="htdemucs", WHISPER_MODEL="base")
        with open_backend(lambda *parts: Models(config, *parts), TARGET) as backend:
            demucs, whisper = (fetch(backend, screen, name, None) for name in ("demucs", "whisper"))
            return demucs or config.DEMUCS_MODEL, whisper or config.WHISPER_MODEL
    except (ConfigError, StudioError) as error:
        raise SystemExit(str(error)) from error


def separate(url: str, session: requests.Session, variant: str) -> None:
    mixture = SONG / "mixture.flac"
    file_id = upload(url, session, mixture)
    with step("separate") as say:
        result = process(url, session, "demucs", file_id, variant)
        factor = result["real_time_factor"]
        say(f"{variant}, real-time factor {factor:.2f} (below 1 is faster than real time)")
    with step("download") as say:
        for stem in result["stems"]:
            download(url, session, file_id, stem, f"{stem}.wav")
        say(", ".join(f"{stem}.wav" for stem in result["stems"]))
    print(f"\n{'stem':10}{'SDR of the stem':>17}{'of the mixture':>17}")
    whole = read(mixture)
    for stem in result["stems"]:
        true = read(SONG / f"{stem}.flac")
        found = sdr_db(true, read(TARGET / f"{stem}.wav"))
        print(f"{stem:10}{found:14.1f} dB{sdr_db(true, whole):14.1f} dB")
    print()


def transcribe(url: str, session: requests.Session, variant: str) -> None:
    file_id = upload(url, session, SPEECH / "spoken.flac")
    with step("transcribe") as say:
        result = process(url, session, "whisper", file_id, variant)
        factor = result["real_time_factor"]
        say(f"{variant}, {result['words']} words, real-time factor {factor:.2f}")
    with step("download") as say:
        download(url, session, file_id, "transcription", "transcription.txt")
        say("transcription.txt")
    said = (TARGET / "transcription.txt").read_text("utf-8").strip()
    true = json.loads((SPEECH / "spoken.json").read_text("utf-8"))["text"]
    errors, words = word_errors(true, said)
    print("\ntrue text   " + " ".join(true.split()))
    print("transcript  " + " ".join(said.split()))
    print(f"{errors} of {words} words wrong")


def make_music(url: str, session: requests.Session) -> None:
    path = TARGET / "prompt.txt"
    path.write_text(PROMPT + "\n", "utf-8")
    print()
    file_id = upload(url, session, path)
    with step("make music") as say:
        wanted = {"duration": MUSIC_S, "seed": MUSIC_SEED}
        result = process(url, session, "musicgen", file_id, BUNDLED, **wanted)
        factor = result["real_time_factor"]
        say(f"{result['duration_s']:.1f} s of music, real-time factor {factor:.2f}")
    with step("download") as say:
        download(url, session, file_id, "music", "music.wav")
        say("music.wav")
    print(f"\nprompt      {PROMPT}")


def upload(url: str, session: requests.Session, path: Path) -> str:
    with step("upload") as say, open(path, "rb") as file:
        uploaded = asked(
            session.post(f"{url}/upload", files={"file": file}, timeout=ANSWER_TIMEOUT_S)
        )
        megabytes = uploaded["bytes"] / 1e6
        length = f", {uploaded['duration_s']:.1f} s" if uploaded.get("duration_s") else ""
        say(f"{uploaded['filename']}{length}, {megabytes:.1f} MB")
    return str(uploaded["file_id"])


def process(
    url: str, session: requests.Session, model: str, file_id: str, variant: str, **options: Any
) -> dict[str, Any]:
    """Run a variant of a model on a file; the result of the job."""
    asked(
        session.post(
            f"{url}/process/{model}/{file_id}",
            json={"model_variant": variant, **options},
            timeout=ANSWER_TIMEOUT_S,
        )
    )
    return wait(url, session, file_id)


def settings_of(port: int, folder: str, *, is_offline: bool) -> dict[str, str]:
    """The environment of the demo's server.

    The environment and `.env` may have the settings of a server for the internet, or of one of many
    machines. Here they have their defaults, except those of KEPT.
    """
    fields = [field for field in dataclasses.fields(Config) if field.name not in KEPT]
    settings = {field.name: env_example.shown(field.default) for field in fields}
    own = {
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "UPLOAD_FOLDER": f"{folder}/uploads",
        "OUTPUT_FOLDER": f"{folder}/outputs",
        # The server loads its default variants at the start; these need no network.
        "DEMUCS_MODEL": BUNDLED,
        "WHISPER_MODEL": BUNDLED,
    }
    return settings | own | ({"HF_HUB_OFFLINE": "1"} if is_offline else {})


@contextmanager
def server(*, is_offline: bool = True) -> Iterator[str]:
    """A server with folders of its own on a free port; its address.

    It downloads nothing if it `is_offline`.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="demo-") as folder, step("start server") as say:
        log = Path(folder) / "server.log"
        environment = {**os.environ, **settings_of(port, folder, is_offline=is_offline)}
        child = spawn([sys.executable, "app.py"], log, cwd=ROOT, env=environment)
        try:
            wait_until_ready("The server", child, log, lambda: answers(url), START_TIMEOUT_S)
            say(url)
            yield url
        except ServiceError as error:
            raise SystemExit(str(error)) from error
        finally:
            stop(child)


def answers(url: str) -> bool:
    try:
        requests.get(f"{url}/health", timeout=5)
    except requests.ConnectionError:
        return False
    return True


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Gives a function that prints one line: what this step did and how long it took."""
    started_s = time.monotonic()

    def say(text: str) -> None:
        print(f"{name:14}{time.monotonic() - started_s:6.1f} s  {text}", flush=True)

    yield say


def asked(answer: requests.Response) -> dict[str, Any]:
    """The JSON of an answer; an error of the server ends the demo with its sentence."""
    body: dict[str, Any] = answer.json()
    if not answer.ok:
        raise SystemExit(f"The server refused: {body['error']}")
    return body


def wait(url: str, session: requests.Session, file_id: str) -> dict[str, Any]:
    """Show progress until the job is final; its result."""
    while True:
        status = asked(session.get(f"{url}/status/{file_id}?wait=1", timeout=ANSWER_TIMEOUT_S))
        if status["status"] == "completed":
            print("\r\033[K" if sys.stdout.isatty() else "", end="")
            result: dict[str, Any] = status["jobs"][0]["result"]
            return result
        if status["status"] in ("failed", "canceled"):
            raise SystemExit(f"The job {status['status']}: {status['error']}")
        if sys.stdout.isatty():
            print(f"\r{status['stage']:14}{status['progress']:6.0%}", end="", flush=True)


def download(url: str, session: requests.Session, file_id: str, track: str, name: str) -> None:
    with session.get(
        f"{url}/download/{file_id}/{track}", stream=True, timeout=ANSWER_TIMEOUT_S
    ) as answer:
        answer.raise_for_status()
        with open(TARGET / name, "wb") as file:
            for block in answer.iter_content(1 << 20):
                file.write(block)


def read(path: Path) -> Any:
    frames, _ = soundfile.read(str(path), dtype="float64", always_2d=True)
    return frames


if __name__ == "__main__":
    main()
