"""A storage on disk, and the folders that it keeps files in."""

import os
from pathlib import Path

from studio.storage.disk_results import DiskResult
from studio.storage.disk_storage import DiskStorage
from studio.storage.results import ResultId
from studio.storage.uploads import Upload
from tests.support.storage import JOB, SOUND, disk_storage


class Folders:
    """A storage and its folders."""

    def __init__(self, root: Path, min_free_bytes: int = 0) -> None:
        self.uploads, self.outputs = root / "uploads", root / "outputs"
        self.storage = disk_storage(self.uploads, self.outputs, min_free_bytes)
        self.storage.open()

    @property
    def on_their_way(self) -> list[Path]:
        return [*(self.uploads / ".incoming").iterdir(), *(self.outputs / ".work").iterdir()]

    def upload(self, content: bytes = b"sound", name: str = "song.wav") -> Upload:
        incoming = self.storage.receive()
        incoming.write(content)
        return self.storage.accept(incoming, name, "wav", SOUND)

    def publish(self, upload: Upload, job_id: str = JOB, **files: bytes) -> Path:
        with self.storage.work(job_id) as work:
            for name, content in files.items():
                (work / f"{name}.wav").write_bytes(content)
            self.storage.publish(work, ResultId(upload.file_id, job_id))
        return self.outputs / upload.file_id / job_id


def paths_in(folder: Path) -> set[Path]:
    """All that lies in a folder, from which files may just be removed."""
    return {
        Path(parent, name)
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
    }


def result_in(storage: DiskStorage, folder: Path) -> DiskResult:
    """The result whose files are in a folder."""
    return storage.result(ResultId(folder.parent.name, folder.name))
