"""A real PostgreSQL on loopback, in a folder of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from scripts.services.children import ServiceError, free_port, spawn, wait_until_ready

# PostgreSQL refuses to run as root.
UNPRIVILEGED = "nobody"
MISSING = (
    "PostgreSQL is not installed: `initdb` is neither on PATH nor in /usr/lib/postgresql. "
    "On Debian, install the package `postgresql`."
)


def find_binaries() -> Path | None:
    """The folder with `initdb` and `postgres`; Debian keeps it out of the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class Postgres:
    """A server that starts, stops and dies on request; its database outlives it.

    It also listens on another `address` of this machine, for the /24 network of that. Raises
    ServiceError.
    """

    def __init__(self, address: str = "") -> None:
        binaries = find_binaries()
        if binaries is None:
            raise ServiceError(MISSING)
        self._binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="studio-postgres-"))
        self.port = free_port()
        self.url = f"postgresql+psycopg://studio@127.0.0.1:{self.port}/postgres"
        self._user = UNPRIVILEGED if os.getuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._addresses = ",".join(filter(None, ["127.0.0.1", address]))
        if self._user is not None:
            user = pwd.getpwnam(self._user)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        try:
            self._call("initdb", "-D", "data", "-U", "studio", "-A", "trust", "-E", "UTF8", "-N")
            if address:
                with open(self.folder / "data" / "pg_hba.conf", "a") as file:
                    file.write(f"host all all {address}/24 trust\n")
        except BaseException:
            self.remove()
            raise

    def start(self) -> "Postgres":
        settings = {
            "listen_addresses": self._addresses,
            "port": self.port,
            "unix_socket_directories": self.folder,
            # A killed process loses nothing by it.
            "fsync": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._binaries / "postgres"), "-D", "data", *options]
        log = self.folder / "postgres.log"
        self._process = spawn(command, log, cwd=self.folder, user=self._user)
        wait_until_ready("PostgreSQL", self._process, log, self._is_ready)
        return self

    def stop(self) -> None:
        """Shut it down, and close its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=60)
            self._process = None

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            # Its children are not in its process group. None may write when the next one starts.
            children = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            self._process.wait(timeout=30)
            psutil.wait_procs(children, timeout=30)
            (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_database(self, name: str) -> str:
        """The URL of a new, empty database."""
        self._call("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "studio", name)
        return self.url.removesuffix("postgres") + name

    def _is_ready(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1"]
        return subprocess.run([*command, "-p", str(self.port)], check=False).returncode == 0

    def _call(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / name, *arguments],
            cwd=self.folder,
            user=self._user,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ServiceError(f"PostgreSQL's {name} failed: {done.stderr.strip()}")
