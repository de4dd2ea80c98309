"""A real object store: OpenStack Swift with its S3 interface, on loopback."""

import subprocess
import time
from contextlib import suppress
from pathlib import Path

from scripts.services.children import free_port, is_open, kill, spawn, wait_until_ready
from scripts.services.programs import environment_with
from studio.errors import StorageUnavailable
from studio.storage.bucket import Bucket, BucketSettings

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test:tester", "AWS_SECRET_ACCESS_KEY": "testing"}
BUCKET = "studio"
CREATE_WITHIN_S, RETRY_S = 120.0, 0.5
KINDS = ("account", "container", "object", "proxy")
SERVER = Path(__file__).with_name("swift_server.py")


class ObjectStore:
    """Four processes. `kill` and `start` work on some of them. Raises ServiceError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True)
        self._python = environment_with("swift", folder / "environment")
        self.ports = {kind: free_port() for kind in KINDS}
        self.url = f"http://127.0.0.1:{self.ports['proxy']}"
        storage = [str(self.ports[kind]) for kind in KINDS if kind != "proxy"]
        subprocess.run(self._command("rings", *storage), check=True, timeout=300)

    def _command(self, *arguments: str) -> list[str]:
        return [str(self._python), str(SERVER), str(self.folder), *arguments]

    def start(self, *kinds: str) -> None:
        for kind in kinds:
            command = self._command(kind, str(self.ports[kind]))
            self._processes[kind] = spawn(command, self.folder / f"{kind}.log")
        for kind in kinds:
            wait_until_ready(
                f"Swift's {kind} server",
                self._processes[kind],
                self.folder / f"{kind}.log",
                lambda port=self.ports[kind]: is_open(port),  # type: ignore[misc]
            )

    def create_bucket(self) -> None:
        """Create the bucket, with retries: Swift's own limits are short for a busy machine."""
        bucket, ends_s = self.bucket(""), time.monotonic() + CREATE_WITHIN_S
        while True:
            try:
                bucket.create()
                return
            except StorageUnavailable:
                with suppress(StorageUnavailable):
                    # It may exist although nothing was answered.
                    bucket.check()
                    return
                if time.monotonic() > ends_s:
                    raise
            time.sleep(RETRY_S)

    def dead(self) -> list[str]:
        """The servers that do not run."""
        return [kind for kind in KINDS if kind not in self._processes]

    def kill(self, *kinds: str) -> None:
        for kind in kinds:
            if (process := self._processes.pop(kind, None)) is not None:
                kill(process)

    def bucket(self, prefix: str) -> Bucket:
        return Bucket(BucketSettings.of(f"s3://{BUCKET}/{prefix}", self.url, "us-east-1"))

    def settings(self, prefix: str) -> dict[str, str]:
        """The settings of a server that keeps its files here."""
        return {
            "STORAGE_URL": f"s3://{BUCKET}/{prefix}",
            "STORAGE_ENDPOINT": self.url,
            "STORAGE_REGION": "us-east-1",
        }
