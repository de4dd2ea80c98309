"""What several test files share: a real server, small real models, sound to send."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import requests
import yaml

from scripts.services.children import free_port, kill, spawn
from studio.inference.engine_settings import EngineSettings
from tests.support.forks import Fork, Forks

# Longer than a loaded machine needs, shorter than anybody waits for a test that fails.
WAIT_S = 120.0
ROOT = Path(__file__).resolve().parents[2]
SONG = ROOT / "samples" / "song"
RATE_HZ = 44_100
LAUNCHER = [sys.executable, "production.py"]

Sound = npt.NDArray[np.float32]

# Demucs on PyTorch, where the sound itself is tested and not the engine.
TORCH = EngineSettings("torch", "f32", 0, Path("unused"))


def until(true: Callable[[], object], within_s: float = WAIT_S) -> None:
    """Wait until something holds."""
    ends_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends_s, "it did not happen"
        time.sleep(0.02)


class Server:
    """The real server behind gunicorn on loopback, with folders of its own.

    What the servers of a test session share: networks are converted once, and their graphs lie in
    `graphs`; `forks` starts gunicorn with most imports done. Benchmarks have neither.
    """

    graphs: ClassVar[Path | None] = None
    forks: ClassVar[Forks | None] = None
    _ending: ClassVar[list[subprocess.Popen[bytes] | Fork]] = []

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.uploads = folder / "uploads"
        self.outputs = folder / "outputs"
        self.settings = {name: str(value) for name, value in settings.items()}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | Fork | None = None

    def start(
        self,
        timeout_s: float = WAIT_S,
        application: str = "app:create_app()",
        command: list[str] | None = None,
    ) -> "Server":
        """Start gunicorn with the application, or the command, and wait until it answers."""
        environment = {
            **os.environ,
            "UPLOAD_FOLDER": str(self.uploads),
            "OUTPUT_FOLDER": str(self.outputs),
            "MODEL_DIR": str(self.folder / "weights"),
            "PORT": str(self.port),
            "DEMUCS_MODEL": "mini",
            "MIN_FREE_BYTES": "0",
            # Tests ask and connect more often than a person.
            "RATE_LIMIT": "",
            "RATE_LIMIT_WORK": "",
            "MAX_CLIENT_UPLOADS": "0",
            "MAX_CLIENT_JOBS": "0",
            "LIVE_CLIENT_SESSIONS": "0",
            **self.settings,
        }
        self._share_graphs(Path(environment["MODEL_DIR"]) / ".graphs")
        arguments = ["-k", "gthread", "-w", "1", "--threads", "64"]
        arguments += ["-b", f"127.0.0.1:{self.port}", application]
        if command is None and self.forks is not None:
            self._process = self.forks.start(arguments, environment, self.log)
        else:
            command = command or [sys.executable, "-m", "gunicorn", *arguments]
            self._process = spawn(command, self.log, cwd=ROOT, env=environment)
        ends_s = time.monotonic() + timeout_s
        while time.monotonic() < ends_s and self._process.poll() is None:
            with suppress(requests.ConnectionError, requests.Timeout):
                requests.get(f"{self.url}/health", timeout=5)
                if self._listens():
                    return self
            time.sleep(0.1)
        self.kill()
        raise AssertionError(f"the server did not start:\n{self.log.read_text()[-3000:]}")

    def _listens(self) -> bool:
        """Whether its process listens on its port, which another program may have taken before."""
        import psutil

        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid).net_connections()
            return self.port in {one.laddr.port for one in found if one.status == "LISTEN"}
        return False

    def _share_graphs(self, folder: Path) -> None:
        if self.graphs is not None and not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.symlink_to(self.graphs)

    def until_loaded(self) -> requests.Response:
        """The answer of /ready once no model is loading any more."""
        while "loading" in (answer := self.get("/ready")).json()["models"].values():
            time.sleep(0.1)
        return answer

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End it as a service manager does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)
            self._process = None

    def stop_later(self) -> None:
        """Like `stop`, but `wait_for_stopped` waits for its end."""
        if self._process is not None:
            self._process.terminate()
            self._ending.append(self._process)
            self._process = None

    @classmethod
    def wait_for_stopped(cls) -> None:
        while cls._ending:
            cls._ending.pop().wait(timeout=60)

    def kill(self) -> None:
        """End it as a power cut does: gunicorn and its worker at once."""
        if self._process is not None:
            kill(self._process)
            self._process = None

    def get(self, path: str, **more: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=120, **more)

    def post(self, path: str, **more: Any) -> requests.Response:
        return requests.post(self.url + path, timeout=120, **more)

    def delete(self, path: str, **more: Any) -> requests.Response:
        return requests.delete(self.url + path, timeout=120, **more)

    def upload(self, path: Path, filename: str | None = None) -> str:
        with open(path, "rb") as file:
            answer = self.post("/upload", files={"file": (filename or path.name, file)})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["file_id"])

    def process(self, file_id: str, model: str = "demucs", **options: Any) -> requests.Response:
        return self.post(f"/process/{model}/{file_id}", json=options)

    def wait(self, file_id: str, timeout_s: float = 300.0, **more: Any) -> dict[str, Any]:
        """The status once the latest job is final; `more` is for `requests`, such as `headers`."""
        ends_s = time.monotonic() + timeout_s
        while time.monotonic() < ends_s:
            status: dict[str, Any] = self.get(f"/status/{file_id}?wait=30", **more).json()
            if status["status"] not in ("queued", "processing"):
                return status
        raise AssertionError(f"the job did not end in {timeout_s} s: {status}")

    def edit(self, file_id: str, segments: list[dict[str, Any]]) -> None:
        """Replace the transcript of a file."""
        url = f"{self.url}/files/{file_id}/transcription"
        body, headers = {"segments": segments}, {"If-Match": "*"}
        answer = requests.put(url, json=body, headers=headers, timeout=120)
        assert answer.status_code == 200, answer.text

    def separate(self, path: Path, **options: Any) -> str:
        """Upload and separate a file; its id once the tracks are there."""
        file_id = self.upload(path)
        assert self.process(file_id, **options).status_code in (200, 202)
        status = self.wait(file_id)
        assert status["status"] == "completed", status
        return file_id


def make_tiny_weights(folder: Path) -> Path:
    """Real Demucs networks with random weights, small enough to run in an instant.

    Bags in `folder`/demucs: `tiny` (HTDemucs, 1 s segments), `tiny_ft` (four specialists),
    `tiny_mixed` (HTDemucs, HDemucs and Demucs with uneven weights), `swift` (Demucs, the fastest).
    """
    import torch
    from demucs.demucs import Demucs
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs

    bags = folder / "demucs"
    bags.mkdir(parents=True)
    sources = ["drums", "bass", "other", "vocals"]
    transformer = {"sources": sources, "channels": 8, "t_layers": 1, "t_heads": 2, "segment": 1}
    torch.manual_seed(7)
    for number in range(4):
        save_network(HTDemucs(**transformer), transformer, bags / f"tiny{number}.safetensors")
    hybrid = {"sources": sources, "channels": 8, "segment": 2}
    save_network(HDemucs(**hybrid), hybrid, bags / "hybrid0.safetensors")
    wave = {"sources": sources, "channels": 8, "depth": 4, "segment": 2}
    save_network(Demucs(**wave), wave, bags / "wave0.safetensors")
    plain = {"sources": sources, "channels": 4, "depth": 3, "lstm_layers": 0, "dconv_mode": 0}
    plain |= {"resample": False, "segment": 4}
    save_network(Demucs(**plain), plain, bags / "swift0.safetensors")
    identity = np.eye(4).tolist()
    mixed = [[1.0, 0.0, 2.0, 1.0], [1.0, 1.0, 0.0, 1.0], [0.0, 2.0, 1.0, 0.0]]
    for name, models, weights in (
        ("tiny", ["tiny0"], None),
        ("tiny_ft", ["tiny0", "tiny1", "tiny2", "tiny3"], identity),
        ("tiny_mixed", ["tiny0", "hybrid0", "wave0"], mixed),
        ("swift", ["swift0"], None),
    ):
        bag: dict[str, Any] = {"models": models}
        if weights:
            bag["weights"] = weights
        (bags / f"{name}.yaml").write_text(yaml.safe_dump(bag))
    return folder


def save_network(network: Any, arguments: dict[str, Any], path: Path) -> None:
    """Write a demucs network in the layout of `demucs.hf.load_safetensors_model`."""
    import json

    from safetensors.torch import save_file

    kind = f"{type(network).__module__}.{type(network).__name__}"
    metadata = {"klass": kind, "args": "[]", "kwargs": json.dumps(arguments)}
    save_file(network.state_dict(), str(path), metadata)


def noise(seconds: float, channels: int = 2, rate_hz: int = RATE_HZ, seed: int = 0) -> Sound:
    """Coloured noise with a tone, float32 (channels, samples), peak about 0.5."""
    generator = np.random.default_rng(seed)
    samples = round(seconds * rate_hz)
    hiss = generator.normal(0, 0.05, (channels, samples))
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(samples) / rate_hz)
    return (hiss + tone).astype(np.float32)


def tone(seconds: float, frequency_hz: float = 1000.0, rate_hz: int = RATE_HZ) -> Sound:
    """A sine of amplitude 0.5, float32 (samples,)."""
    samples = np.arange(round(seconds * rate_hz))
    return (0.5 * np.sin(2 * np.pi * frequency_hz * samples / rate_hz)).astype(np.float32)


def level_db(sound: Sound) -> float:
    """Level of the middle half of a sound against that of `tone`, in dB."""
    length = sound.shape[-1]
    middle = sound[..., length // 4 : 3 * length // 4].astype(np.float64)
    return float(20 * np.log10(max(np.sqrt(np.mean(middle**2)), 1e-9) / (0.5 / np.sqrt(2))))


def decode_all(path: Path, rate_hz: int = RATE_HZ, channels: int = 2) -> Sound:
    """A whole file as `studio.audio.decode` yields it, float32 (channels, samples)."""
    from studio.audio import decode

    blocks = list(decode(path, rate_hz, channels))
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((channels, 0), np.float32)


def ffmpeg_children() -> list[int]:
    """Process ids of the ffmpeg children of this process that still run."""
    import psutil

    children = psutil.Process().children()
    return [
        child.pid
        for child in children
        if "ffmpeg" in child.name() and child.status() != psutil.STATUS_ZOMBIE
    ]


def write_wav(path: Path, sound: Sound, rate_hz: int = RATE_HZ, subtype: str = "PCM_16") -> Path:
    import soundfile

    soundfile.write(str(path), sound.T, rate_hz, subtype=subtype, format="WAV")
    return path


def read_sound(path: Path) -> Sound:
    """float32 (channels, samples) of a file that libsndfile reads."""
    import soundfile

    frames, _ = soundfile.read(str(path), dtype="float32", always_2d=True)
    return np.ascontiguousarray(frames.T)


def sound_of(answer: requests.Response) -> Sound:
    """float32 (channels, samples) of a download at RATE_HZ."""
    import soundfile

    assert answer.status_code == 200, answer.text
    frames, rate_hz = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    assert rate_hz == RATE_HZ
    return np.asarray(frames.T)


def convert(source: Path, target: Path, *options: str) -> Path:
    """Make another container of a file with ffmpeg."""
    from studio.audio import ffmpeg_path

    command = [ffmpeg_path(), "-nostdin", "-v", "error", "-y", "-i", str(source)]
    subprocess.run([*command, *options, str(target)], check=True)
    return target
