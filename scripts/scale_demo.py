"""`make scale-demo`: three songs on two workers, of which one is killed, and nothing is lost.

It starts all parts of docs/scaling.md on this machine, without Docker: PostgreSQL, OpenStack Swift
as the object store, two web servers, two live nodes, nginx if it is installed, two workers and a
keeper.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import socketio
import soundfile
from socketio.exceptions import SocketIOError

from scripts.services import nginx
from scripts.services.children import ServiceError, free_port, kill
from scripts.services.machines import STALLED_S, Machines, Part
from scripts.services.object_store import ObjectStore

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
SONG = SAMPLES / "song" / "mixture.flac"
SPEECH, SPEECH_S = SAMPLES / "speech" / "spoken.flac", 8
SONGS, PIECE_S = 3, 5
# Runs per song. They make a job last long enough that its worker can be killed.
SHIFTS = 8
STEMS = ("drums", "bass", "other", "vocals")
ANSWER_TIMEOUT_S = 60
JOBS_TIMEOUT_S = 300
POLL_S = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STARTED_S = time.monotonic()


class DemoError(Exception):
    """What went wrong, as a sentence."""


@dataclass
class Song:
    """A piece of the bundled song, with the workers that have begun to separate it."""

    number: int
    file_id: str
    job_id: str
    status: str = "queued"
    begun_by: list[Part] = field(default_factory=list)


def main() -> None:
    """Run the demo; ends with a status of 0 or with the cause."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with Machines() as machines:
            try:
                demonstrate(machines)
            finally:
                # What has been started is stopped in any case.
                for number in SIGNALS:
                    signal.signal(number, signal.SIG_IGN)
                say("Stopping all processes and deleting their files.")
    except (ServiceError, DemoError) as error:
        raise SystemExit(f"The demo failed. {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("The demo was interrupted.") from None


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def say(text: str) -> None:
    print(f"{time.monotonic() - STARTED_S:6.1f} s  {text}", flush=True)


def demonstrate(machines: Machines) -> None:
    say("PostgreSQL starts. It holds the jobs and their queue.")
    machines.start_postgres()
    say("OpenStack Swift is installed and starts. Its S3 interface holds the files.")
    store = machines.start_store()
    url, live_url = start_servers(machines, store)
    say("A keeper starts. It returns the jobs of dead workers to the queue.")
    machines.start_part("keeper", "keeper")
    songs = send(url, machines.folder)
    workers = []
    for name in ("worker 1", "worker 2"):
        say(f"{name.capitalize()} starts.")
        workers.append(machines.start_part(name, "worker"))
    watch = Watch(url, songs, workers)
    dead = watch.kill_one()
    watch.until_completed()
    check(url, store, songs, dead)
    transcribe(live_url)


def start_servers(machines: Machines, store: ObjectStore) -> tuple[str, str]:
    """Start web servers and live nodes, and nginx if it is installed.

    Returns the addresses for requests and for live connections.
    """
    web = [free_port(), free_port()]
    for number, port in enumerate(web, 1):
        say(f"Web server {number} starts on port {port}.")
        machines.start_part(f"web server {number}", "web", port)
    live = {"live-1": free_port(), "live-2": free_port()}
    for node, port in live.items():
        say(f"The live node {node} starts on port {port}.")
        machines.start_part(node, "live", port, node)
    if nginx.BINARY is None:
        say("nginx is not installed. The demo uses web server 1 and live-1.")
        return f"http://127.0.0.1:{web[0]}", f"http://127.0.0.1:{live['live-1']}"
    port = machines.start_nginx(web, live, store)
    say(f"nginx on port {port} distributes requests and live connections.")
    return (f"http://127.0.0.1:{port}",) * 2


def send(url: str, folder: Path) -> list[Song]:
    """Upload pieces of the bundled song, and queue their separation."""
    songs = []
    for number in range(1, SONGS + 1):
        path = folder / f"song {number}.wav"
        rate_hz = soundfile.info(SONG).samplerate
        length = PIECE_S * rate_hz
        piece, _ = soundfile.read(SONG, start=(number - 1) * length, frames=length)
        soundfile.write(path, piece, rate_hz)
        with open(path, "rb") as file:
            file_id = ask("POST", f"{url}/upload", files={"file": file}).json()["file_id"]
        options = {"shifts": SHIFTS}
        job = ask("POST", f"{url}/process/demucs/{file_id}", json=options).json()
        songs.append(Song(number, file_id, job["job_id"]))
    say(f"{SONGS} songs of {PIECE_S} s are uploaded, and their jobs are in the queue.")
    return songs


class Watch:
    """Follows songs from the queue to their results, and says what happens."""

    def __init__(self, url: str, songs: list[Song], workers: list[Part]) -> None:
        self._url = url
        self._songs = songs
        self._workers = workers

    def kill_one(self) -> Part:
        """Kill a worker while it separates. Returns it."""
        self._until(lambda: self._busy() is not None or self._all_completed())
        busy = self._busy()
        if busy is None:
            raise DemoError("All songs were separated before a worker could be killed.")
        song, worker = busy
        kill(worker.process)
        say(f"{worker.name.capitalize()} is killed while it separates song {song.number}.")
        say(f"Its job runs again when it has sent no heartbeat for {STALLED_S} s.")
        return worker

    def until_completed(self) -> None:
        self._until(self._all_completed)

    def _busy(self) -> tuple[Song, Part] | None:
        """A song that is being separated, and its worker, once both workers have one."""
        running = [song for song in self._songs if song.status == "processing" and song.begun_by]
        if len(running) < len(self._workers):
            return None
        return running[0], running[0].begun_by[-1]

    def _all_completed(self) -> bool:
        return all(song.status == "completed" for song in self._songs)

    def _until(self, is_met: Callable[[], bool]) -> None:
        ends_s = time.monotonic() + JOBS_TIMEOUT_S
        while not is_met():
            if time.monotonic() > ends_s:
                raise DemoError(f"The songs were not separated within {JOBS_TIMEOUT_S} s.")
            time.sleep(POLL_S)
            for song in self._songs:
                self._look(song)

    def _look(self, song: Song) -> None:
        for worker in self._workers:
            begun = worker not in song.begun_by and worker.logged(f"job {song.job_id}: starting")
            if begun:
                again = " again, from the beginning" if song.begun_by else ""
                song.begun_by.append(worker)
                say(f"{worker.name.capitalize()} separates song {song.number}{again}.")
        status = ask("GET", f"{self._url}/status/{song.file_id}").json()
        if status["status"] in ("failed", "canceled"):
            raise DemoError(f"Song {song.number} {status['status']}: {status['error']}")
        if status["status"] == "completed" != song.status:
            say(f"Song {song.number} is separated.")
        song.status = status["status"]


def check(url: str, store: ObjectStore, songs: list[Song], dead: Part) -> None:
    """Every song has all its stems, and one result. Raises DemoError."""
    for song in songs:
        for stem in STEMS:
            if ask("GET", f"{url}/download/{song.file_id}/{stem}").content[:4] != b"RIFF":
                raise DemoError(f"The download of {stem} of song {song.number} is not a WAV file.")
        keys = store.bucket("files").infos(f"results/{song.file_id}/")
        results = {key.split("/")[2] for key in keys}
        if len(results) != 1:
            raise DemoError(f"Song {song.number} has {len(results)} results: {sorted(results)}.")
    say(f"All {SONGS} songs have their {len(STEMS)} stems, although {dead.name} was killed.")


def transcribe(url: str) -> None:
    """Send a piece of the bundled recording to a live node. Raises DemoError."""
    samples, rate_hz = soundfile.read(SPEECH, dtype="int16")
    sound = samples[: SPEECH_S * rate_hz].astype("<i2").tobytes()
    audio = {"payload": {"data": sound, "mimeType": f"audio/pcm;rate={rate_hz}"}}
    try:
        with socketio.SimpleClient() as client:
            client.connect(
                url,
                namespace="/transcribe",
                transports=["polling"],
                wait_timeout=ANSWER_TIMEOUT_S,
            )
            node = client.sid.partition(".")[0]
            client.call("audio", audio, timeout=ANSWER_TIMEOUT_S)
            client.emit("finish")
            event, data = "", dict[str, Any]()
            while event != "finished":
                event, data = client.receive(timeout=ANSWER_TIMEOUT_S)
    except SocketIOError as error:
        raise DemoError(f"The live transcription failed: {error!r}") from None
    if not data["text"]:
        raise DemoError("The live transcription has no text.")
    say(f"The live node {node} transcribes a recording of {SPEECH_S} s: {data['text']}")


def ask(method: str, url: str, **content: Any) -> requests.Response:
    """The answer to a request. Raises DemoError for an error."""
    answer = requests.request(method, url, timeout=ANSWER_TIMEOUT_S, **content)
    if not answer.ok:
        raise DemoError(f"{method} {url} was answered with {answer.status_code}: {answer.text}")
    return answer


if __name__ == "__main__":
    main()
