"""A real object store for tests: OpenStack Swift with its S3 interface, on loopback."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from studio.storage.bucket import Bucket, BucketSettings
from tests.support.programs import environment_with
from tests.support.server import ROOT, free_port

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test:tester", "AWS_SECRET_ACCESS_KEY": "testing"}
BUCKET = "studio"
KINDS = ("account", "container", "object", "proxy")


class ObjectStore:
    """Four processes. `kill` and `start` work on one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {kind: free_port() for kind in KINDS}
        self.url = f"http://127.0.0.1:{self.ports['proxy']}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True)
        self._python = environment_with("swift", folder / "environment")
        storage = [str(self.ports[kind]) for kind in KINDS if kind != "proxy"]
        subprocess.run(self._command("rings", *storage), check=True, timeout=300)

    def _command(self, *arguments: str) -> list[str]:
        script = str(ROOT / "tests" / "support" / "swift_server.py")
        return [str(self._python), script, str(self.folder), *arguments]

    def start(self, *kinds: str) -> None:
        for kind in kinds:
            with open(self.folder / f"{kind}.log", "ab") as log:
                self._processes[kind] = subprocess.Popen(
                    self._command(kind, str(self.ports[kind])),
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        for kind in kinds:
            self._until_open(kind)

    def _until_open(self, kind: str) -> None:
        ends_s = time.monotonic() + 60
        while time.monotonic() < ends_s and self._processes[kind].poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.ports[kind])) == 0:
                    return
            time.sleep(0.05)
        log = (self.folder / f"{kind}.log").read_text()[-2000:]
        raise AssertionError(f"the {kind} server did not start:\n{log}")

    def dead(self) -> list[str]:
        """The servers that do not run."""
        return [kind for kind in KINDS if kind not in self._processes]

    def kill(self, *kinds: str) -> None:
        for kind in kinds:
            if (process := self._processes.pop(kind, None)) is not None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)

    def bucket(self, prefix: str) -> Bucket:
        return Bucket(BucketSettings.of(f"s3://{BUCKET}/{prefix}", self.url, "us-east-1"))

    def settings(self, prefix: str) -> dict[str, str]:
        """The settings of a server that keeps its files here."""
        return {
            "STORAGE_URL": f"s3://{BUCKET}/{prefix}",
            "STORAGE_ENDPOINT": self.url,
            "STORAGE_REGION": "us-east-1",
        }


@contextmanager
def object_store(folder: Path) -> Iterator[ObjectStore]:
    """A running store with an empty bucket. Its credentials are in the environment."""
    store = ObjectStore(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        try:
            store.start(*KINDS)
            store.bucket("").create()
            yield store
        finally:
            store.kill(*KINDS)
