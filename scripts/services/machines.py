"""Runs the processes of docs/scaling.md on one machine, as if each had a machine of its own."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from scripts.services import nginx
from scripts.services.children import free_port, is_open, spawn, stop, wait_until_ready
from scripts.services.object_store import CREDENTIALS, KINDS, ObjectStore
from scripts.services.postgres import Postgres
from studio.inference.variants import BUNDLED

ROOT = Path(__file__).resolve().parents[2]
HEARTBEAT_S, STALLED_S = 2, 8
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
NGINX_CONFIGURATION = """pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
{temporary_paths}
{upstreams}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 501m;
        include {folder}/store.conf;
        location / {{
            proxy_pass http://$server_group;
            proxy_set_header Host $http_host;
            proxy_read_timeout 120s;
        }}
    }}
}}
"""


@dataclass
class Part:
    """A process of the server, in a role."""

    name: str
    log: Path
    process: "subprocess.Popen[bytes]"

    def logged(self, text: str) -> bool:
        return text in self.log.read_text("utf-8", "replace")


def _end_children() -> None:
    """End the children of this program that no list has: a signal came while they were started."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    for child in psutil.wait_procs(children, STOP_TIMEOUT_S)[1]:
        with suppress(psutil.NoSuchProcess):
            child.kill()


class Machines:
    """Starts the parts, and stops them and all other children of this program at its end.

    Raises ServiceError.
    """

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._services = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="studio-machines-"))
        self._services.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._services.callback(_end_children)
        self.settings = {
            # Settings of a server for the internet may be in .env.
            "API_KEYS": "",
            "WEBHOOK_URL": "",
            "RATE_LIMIT": "",
            "RATE_LIMIT_WORK": "",
            "MAX_CLIENT_UPLOADS": "0",
            "MAX_CLIENT_JOBS": "0",
            "ROUTES": "",
            "WORKER_QUEUES": "",
            "WORKERS": "1",
            "HOST": "127.0.0.1",
            "DEBUG": "False",
            "SECRET_KEY": secrets.token_hex(32),
            "DEMUCS_MODEL": BUNDLED,
            "WHISPER_MODEL": BUNDLED,
            "WORKER_HEARTBEAT_S": str(HEARTBEAT_S),
            "WORKER_STALLED_S": str(STALLED_S),
            # Networks are converted once for all workers.
            "MODEL_DIR": str(self.folder / "weights"),
            "DOWNLOADS": "nginx" if nginx.BINARY else "proxy",
        }

    def __enter__(self) -> "Machines":
        return self

    def __exit__(self, *_: object) -> None:
        # All at once: each may take some seconds.
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            stop(process)
        self._services.close()

    def start_postgres(self) -> None:
        postgres = Postgres()
        self._services.callback(postgres.remove)
        postgres.start()
        self.settings["DATABASE_URL"] = postgres.new_database("studio")

    def start_store(self) -> ObjectStore:
        os.environ.update(CREDENTIALS)
        store = ObjectStore(self.folder / "store")
        self._services.callback(store.kill, *KINDS)
        store.start(*KINDS)
        store.create_bucket()
        self.settings |= store.settings("files")
        return store

    def start_part(self, name: str, role: str, port: int = 0, node: str = "") -> Part:
        """A process with folders of its own, as on a machine of its own."""
        own = self.folder / name.replace(" ", "-")
        own.mkdir()
        folders = {"UPLOAD_FOLDER": str(own / "uploads"), "OUTPUT_FOLDER": str(own / "outputs")}
        environment = {**os.environ, **self.settings, **folders, "ROLE": role, "NODE": node}
        if port:
            environment["PORT"] = str(port)
        log = own / "log"
        command = [sys.executable, "production.py"]
        part = Part(name, log, spawn(command, log, cwd=ROOT, env=environment))
        self._processes.append(part.process)
        ready = f"the {role} is running"
        is_ready = (lambda: is_open(port)) if port else (lambda: part.logged(ready))
        wait_until_ready(name.capitalize(), part.process, log, is_ready, START_TIMEOUT_S)
        return part

    def start_nginx(self, web: list[int], live: dict[str, int], store: ObjectStore) -> int:
        """nginx in front of the web servers and of the live nodes by name; its port.

        It fetches downloads from the store.
        """
        folder, port = self.folder / "nginx", free_port()
        folder.mkdir()
        stored = (ROOT / "nginx" / "store.conf").read_text("utf-8")
        address = store.url.removeprefix("http://")
        (folder / "store.conf").write_text(stored.replace("object-store:8080", address))
        text = NGINX_CONFIGURATION.format(
            folder=folder,
            temporary_paths=nginx.temporary_paths(folder),
            upstreams=nginx.upstreams(
                [f"127.0.0.1:{one}" for one in web],
                {node: f"127.0.0.1:{one}" for node, one in live.items()},
            ),
            port=port,
        )
        (folder / "nginx.conf").write_text(text)
        process = spawn(nginx.command(folder), folder / "log")
        self._processes.append(process)
        wait_until_ready("nginx", process, folder / "log", lambda: is_open(port))
        return port
