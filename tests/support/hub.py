"""A small Hugging Face Hub on this machine: as much of it as downloads need."""

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

from tests.support.listening import listening

REVISION = "0" * 40
BLOCK_BYTES = 64 * 1024


@dataclass
class Hub:
    """Files of repositories, how they are sent, and what was asked for.

    `files` maps `NAMESPACE/NAME/FILE` to content. `sizes` are declared sizes that differ from the
    real ones. Each connection breaks off after `break_after_bytes`. While `paused` is set, sending
    stops once the part `paused_at` of a file was sent. `sent_bytes` counts the content that was
    sent, by file.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    break_after_bytes: int | None = None
    takes_ranges: bool = True
    paused: Event = field(default_factory=Event)
    paused_at: float = 0.5
    downloaded: list[str] = field(default_factory=list)
    sent_bytes: dict[str, int] = field(default_factory=dict)
    url: str = ""

    def add(self, repository: str, folder: Path, *names: str) -> None:
        """Publish the files of a folder, by default all."""
        for path in sorted(folder.iterdir()):
            if path.is_file() and (not names or path.name in names):
                self.files[f"{repository}/{path.name}"] = path.read_bytes()


def publish_htdemucs(hub: Hub, weights: Path, folder: Path) -> None:
    """Publish a small network as `htdemucs`; its file is made in `folder` and has over 1 MB."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    network = weights / "demucs" / "swift0.safetensors"
    with safe_open(str(network), framework="pt") as file:
        metadata = {**file.metadata(), "note": "x" * 1_000_000}
    save_file(load_file(network), str(folder / "swift0.safetensors"), metadata)
    release = "adefossez/HTDemucs"
    hub.files[f"{release}/htdemucs.yaml"] = json.dumps({"models": ["swift0"]}).encode()
    hub.add(release, folder, "swift0.safetensors")


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            if listed := re.fullmatch(r"/api/models/([^/]+/[^/?]+).*", self.path):
                self._list(listed[1])
                return
            found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", self.path)
            name = f"{found[1]}/{found[2]}" if found else ""
            if self.path == "/":
                self._send(b"", {}, 200, name)
            elif name in hub.files:
                self._send_file(name, with_body)
            else:
                self.send_error(404)

        def _list(self, repository: str) -> None:
            names = [
                name.removeprefix(f"{repository}/")
                for name in hub.files
                if name.startswith(f"{repository}/")
            ]
            about = {
                "id": repository,
                "sha": REVISION,
                "siblings": [{"rfilename": name} for name in names],
            }
            self._send(json.dumps(about).encode(), {}, 200, "")

        def _send_file(self, name: str, with_body: bool) -> None:
            content = hub.files[name]
            headers = {
                "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Repo-Commit": REVISION,
            }
            start, status = 0, 200
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if asked and hub.takes_ranges:
                start, status = int(asked[1]), 206
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            size_bytes = hub.sizes.get(name, len(content)) - start
            headers["Content-Length"] = str(size_bytes)
            if with_body:
                hub.downloaded.append(name.rpartition("/")[2])
            self._send(content[start:] if with_body else b"", headers, status, name)

        def _send(self, body: bytes, headers: dict[str, str], status: int, name: str) -> None:
            self.send_response(status)
            headers.setdefault("Content-Length", str(len(body)))
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            sent_bytes = 0
            while sent_bytes < len(body):
                if hub.break_after_bytes is not None and sent_bytes >= hub.break_after_bytes:
                    self.close_connection = True
                    return
                while hub.paused.is_set() and sent_bytes >= len(body) * hub.paused_at:
                    time.sleep(0.02)
                block = body[sent_bytes : sent_bytes + BLOCK_BYTES]
                try:
                    self.wfile.write(block)
                except OSError:
                    self.close_connection = True
                    return
                sent_bytes += len(block)
                hub.sent_bytes[name] = hub.sent_bytes.get(name, 0) + len(block)

    with listening(Handler) as port:
        hub.url = f"http://127.0.0.1:{port}"
        try:
            yield hub
        finally:
            hub.paused.clear()
