"""Storages for a test, on disk and in an object store, and what they keep."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.services.object_store import ObjectStore
from studio.jobs.database import connect
from studio.jobs.store import JobStore
from studio.jobs.uploads import UploadTable
from studio.storage.disk_storage import DiskStorage
from studio.storage.folders import Folders
from studio.storage.object_storage import ObjectSettings, ObjectStorage
from studio.storage.results import ResultId
from studio.storage.space import DiskSpace
from studio.storage.storage import Storage
from studio.storage.uploads import SoundInfo, Upload

SOUND = SoundInfo(3.5, 44_100, 2)
JOB, OTHER = "a" * 32, "b" * 32
# Sent in two parts.
LARGE = os.urandom(17 << 20)


def disk_storage(
    uploads: Path, outputs: Path, min_free_bytes: int = 0, max_bytes: int = 0
) -> DiskStorage:
    space = DiskSpace(uploads, outputs, min_free_bytes, max_bytes)
    return DiskStorage(Folders(uploads, outputs), space)


def in_bucket(store: ObjectStore, folder: Path, cache_bytes: int = 1 << 30) -> ObjectStorage:
    """A server's storage. Servers with the same folder share a database and a prefix."""
    engine = connect(f"sqlite:///{folder / 'jobs.sqlite3'}")
    jobs = JobStore(engine)
    jobs.open()
    folders = Folders(folder / "uploads", folder / "outputs")
    space = DiskSpace(folders.uploads, folders.outputs)
    storage = ObjectStorage(
        store.bucket(folder.name),
        UploadTable(engine),
        folders,
        space,
        settings=ObjectSettings(cache_bytes, has_proxy=False),
        is_shared=jobs.is_shared,
    )
    storage.open()
    return storage


def upload_to(storage: Storage, content: bytes = b"sound", owner: str | None = None) -> Upload:
    incoming = storage.receive()
    incoming.write(content)
    return storage.accept(incoming, "歌 1.wav", "wav", SOUND, owner)


def prompt_to(storage: Storage) -> Upload:
    incoming = storage.receive()
    incoming.write(b'{"duration": 3}\na calm piano')
    return storage.accept(incoming, "prompt.txt", "txt", None)


def publish(storage: Storage, upload: Upload, job_id: str = JOB, **files: bytes) -> ResultId:
    result = ResultId(upload.file_id, job_id)
    with storage.work(job_id) as work:
        for name, content in files.items():
            (work / f"{name}.wav").write_bytes(content)
        storage.publish(work, result)
    return result


def read(storage: Storage, result: ResultId, name: str) -> bytes:
    with storage.hold():
        return storage.result(result).file(name).path.read_bytes()


def results_in(storage: Storage) -> list[ResultId]:
    """All results that a sweep looks at."""
    found: list[ResultId] = []

    def choose(results: Sequence[ResultId]) -> list[ResultId]:
        found.extend(results)
        return []

    storage.orphans.remove_results(choose, time.time())
    return found
