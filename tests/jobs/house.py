"""A storage with its housekeeper, for tests that turn the clock."""

import time
from pathlib import Path

from studio.errors import UnknownFile
from studio.jobs.database import connect
from studio.jobs.execution import Executor
from studio.jobs.housekeeping import HOUR_S, Housekeeper
from studio.jobs.job import Job, Request, State
from studio.jobs.outbox import Outbox
from studio.jobs.runner import JobRunner
from studio.jobs.store import JobStore
from studio.storage.files import Upload
from tests.support.storage import disk_storage

RETENTION_H = 2.0


class House:
    """Folders, a job database, and a housekeeper whose clock stands until the test turns it."""

    def __init__(self, folder: Path, retention_h: float = RETENTION_H) -> None:
        self.uploads, self.outputs = folder / "uploads", folder / "outputs"
        self.storage = disk_storage(self.uploads, self.outputs)
        self.storage.open()
        engine = connect(f"sqlite:///{folder / 'jobs.sqlite3'}")
        self.store, self.outbox = JobStore(engine), Outbox(engine)
        self.store.open()
        executor = Executor(self.store, {}, lambda _: None)
        self.runner = JobRunner(self.store, executor, workers=0, max_queued=9)
        self.now = time.time()
        self.keeper = self.housekeeper(retention_h)

    def housekeeper(self, retention_h: float) -> Housekeeper:
        return Housekeeper(
            self.storage,
            self.store,
            self.runner,
            self.outbox,
            retention_h,
            clock=lambda: self.now,
            every_s=0.01,
            steady=lambda: self.now,
        )

    def upload(self, owner: str | None = None) -> Upload:
        incoming = self.storage.receive()
        incoming.write(b"sound")
        return self.storage.accept(incoming, "song.wav", "wav", None, owner)

    def job(self, upload: Upload, **options: str) -> Job:
        return self.store.add(Request(upload.file_id, "demucs", "mini", options, upload.file_id))

    def finish(self, job: Job) -> None:
        with self.storage.work(job.job_id) as work:
            (work / "vocals.wav").write_bytes(b"stem")
            self.storage.publish(work, job.result_id)
        assert self.store.finish(job, State.COMPLETED, result={})

    def sweep(self, later_h: float = 0.0) -> None:
        self.now += later_h * HOUR_S
        self.keeper.sweep()

    def close(self) -> None:
        self.keeper.stop()
        self.store.close()
        self.storage.close()

    def has(self, upload: Upload) -> bool:
        try:
            self.storage.upload(upload.file_id)
        except UnknownFile:
            assert not (self.uploads / upload.file_id).exists()
            assert not (self.outputs / upload.file_id).exists()
            assert self.store.of_file(upload.file_id) == []
            return False
        return True
