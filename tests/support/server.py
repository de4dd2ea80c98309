"""The real server, as tests start, ask and stop it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import requests

from scripts.services.children import free_port, kill, spawn
from tests.support.forks import Fork, Forks

# Longer than a loaded machine needs, shorter than anybody waits for a test that fails.
WAIT_S = 120.0
ROOT = Path(__file__).resolve().parents[2]
# Nothing listens on the discard port.
CLOSED_PORT = 9
LAUNCHER = [sys.executable, "production.py"]


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
        arguments = ["-k", "gthread", "-w", "1", "--threads", "64", "--timeout", "600"]
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
