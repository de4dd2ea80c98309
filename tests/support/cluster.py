"""All roles on one machine, with one PostgreSQL, and one pair of folders or one bucket."""

import os
import signal
import sys
from pathlib import Path

from scripts.services.children import kill, spawn, stop, wait_until_ready
from scripts.services.postgres import Postgres
from tests.support.server import ROOT, Server

HEARTBEAT_S, STALLED_S = 1, 8
START_TIMEOUT_S = 120


class Process:
    """A worker or a keeper."""

    def __init__(
        self, role: str, log: Path, environment: dict[str, str], command: list[str]
    ) -> None:
        self.role = role
        self.log = log
        self._process = spawn(command, log, cwd=ROOT, env={**environment, "ROLE": role})
        ready = f"the {role} is running"
        wait_until_ready(
            role, self._process, log, lambda: ready in log.read_text(), START_TIMEOUT_S
        )

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut does."""
        kill(self._process)

    def stop(self) -> int:
        """End it as a service manager does. Returns its exit code."""
        self._process.send_signal(signal.SIGCONT)
        return stop(self._process)


class Cluster:
    """With a `bucket`, as settings, each process has folders of its own.

    `module` has another application, and runs as a worker or a keeper.
    """

    def __init__(
        self,
        folder: Path,
        postgres: Postgres,
        weights: Path,
        bucket: dict[str, str] | None = None,
        *,
        module: str = "",
        **settings: object,
    ) -> None:
        self.folder = folder
        self.postgres = postgres
        self.outputs = folder / "outputs"
        self._processes: list[Process] = []
        self._servers: list[Server] = []
        self._settings = {
            "DATABASE_URL": postgres.url,
            "MODEL_DIR": str(weights),
            "DEMUCS_MODEL": "tiny",
            "SEPARATION_ENGINE": "torch",
            "TORCH_THREADS": "1",
            "MIN_FREE_BYTES": "0",
            "WORKER_HEARTBEAT_S": str(HEARTBEAT_S),
            "WORKER_STALLED_S": str(STALLED_S),
            **(bucket or {}),
            **{name: str(value) for name, value in settings.items()},
        }
        self.application = f"{module or 'app'}:create_app()"
        self._command = [sys.executable, *(["-m", module] if module else ["background.py"])]
        self._is_shared = bucket is None

    def web(self) -> Server:
        return self._serve("web")

    def live(self, node: str) -> Server:
        return self._serve("live", NODE=node)

    def _serve(self, role: str, **settings: str) -> Server:
        folder = self.folder / f"{role}{len(self._servers)}"
        folder.mkdir()
        given = {**self._settings, **self._folders(folder), **settings}
        server = Server(folder, ROLE=role, **given)
        self._servers.append(server.start(application=self.application))
        return server

    def start(self, role: str, *prefix: str, **settings: str) -> Process:
        """Start a worker or a keeper, with a `prefix` of its command."""
        name = f"{role}{len(self._processes)}"
        folders = self._folders(self.folder / name)
        environment = {**os.environ, **self._settings, **folders, **settings}
        command = [*prefix, *self._command]
        process = Process(role, self.folder / f"{name}.log", environment, command)
        self._processes.append(process)
        return process

    def _folders(self, own: Path) -> dict[str, str]:
        folder = self.folder if self._is_shared else own
        return {"UPLOAD_FOLDER": f"{folder / 'uploads'}", "OUTPUT_FOLDER": f"{folder / 'outputs'}"}

    def stop(self) -> None:
        for process in self._processes:
            process.stop()
        for server in self._servers:
            server.stop()

    def results(self, file_id: str) -> list[str]:
        """The names of the results of a file."""
        folder = self.outputs / file_id
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
