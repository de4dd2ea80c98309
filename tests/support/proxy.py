"""A real nginx with the project's configuration, and a certificate that `generate-ssl.sh` made."""

import shutil
import subprocess
import time
from pathlib import Path

import psutil

from scripts import nginx_site
from scripts.services import nginx
from scripts.services.children import free_port
from tests.support.server import ROOT, WAIT_S

CONFIGURATION = (ROOT / "nginx" / "nginx.conf").read_text()


def make_certificate(folder: Path, *names: str) -> Path:
    """The certificate of a copy of `generate-ssl.sh` in a folder of its own, beside names.conf."""
    folder.mkdir()
    script = shutil.copy(ROOT / "generate-ssl.sh", folder)
    subprocess.run(["sh", script, *names], check=True, capture_output=True)
    made = folder / "nginx" / "ssl"
    if names:
        (made / "names.conf").write_text(f"server_name {' '.join(names)};\n")
    return made / "cert.pem"


class Proxy:
    """nginx on loopback, as a child of the test, before the server at `upstream` (HOST:PORT).

    The configuration is the project's. Rewritten are: `http2 on;` in the words of nginx before
    1.25, the two ports, the paths, the upstream, and what `more` says (text -> text).
    """

    def __init__(
        self,
        folder: Path,
        certificate: Path,
        upstream: str,
        more: dict[str, str] | None = None,
        configuration: str = CONFIGURATION,
    ) -> None:
        folder.mkdir()
        self.certificate = certificate
        self.http_port, self.port = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.log = folder / "error.log"
        self.access_log = folder / "access.log"
        self._command = nginx.command(folder)
        rewritten = {
            "        http2 on;\n": "",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl http2;",
            "listen 443 ssl default_server;": (
                f"listen 127.0.0.1:{self.port} ssl http2 default_server;"
            ),
            "listen 80 default_server;": f"listen 127.0.0.1:{self.http_port} default_server;",
            "listen 80;": f"listen 127.0.0.1:{self.http_port};",
            "/etc/nginx/ssl": str(certificate.parent),
            "/tmp/nginx.pid": str(folder / "nginx.pid"),
            "access_log /dev/stdout": f"access_log {self.access_log}",
            "server ai-backend:8000;": f"server {upstream};",
            "http {\n": f"http {{\n{nginx.temporary_paths(folder)}",
            **(more or {}),
        }
        text = configuration
        for old, new in rewritten.items():
            assert text.count(old) >= 1, old
            text = text.replace(old, new)
        (folder / "nginx.conf").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def check(self) -> subprocess.CompletedProcess[str]:
        """What `nginx -t` says."""
        return subprocess.run(
            [*self._command, "-t"], capture_output=True, text=True, check=False, timeout=60
        )

    def start(self) -> "Proxy":
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        ends_s = time.monotonic() + WAIT_S
        while not self.workers():
            assert self._process.poll() is None and time.monotonic() < ends_s, self.errors()
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def workers(self) -> list[int]:
        """The ids of the processes that serve."""
        assert self._process is not None
        return [child.pid for child in psutil.Process(self._process.pid).children()]

    def errors(self) -> str:
        return self.log.read_text()


def before_several(folder: Path, certificate: Path, web: int, live: dict[str, int]) -> Proxy:
    """nginx with the configuration of docker-compose.scale.yml.

    It is before a web server and live nodes, on these ports of loopback.
    """
    text = nginx_site.SCALE.read_text().replace("server web:8000;", "server ai-backend:8000;")
    nodes = {f"server {name}:8000;": f"server 127.0.0.1:{live[name]};" for name in nginx_site.LIVE}
    return Proxy(folder, certificate, f"127.0.0.1:{web}", nodes, text)
