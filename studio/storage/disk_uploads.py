"""The records of uploads on disk."""

import json
import os
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

from studio.storage.folders import Folders, is_id
from studio.storage.listing import Listing
from studio.storage.uploads import Entry, Upload, record_errors, unknown_file

RECORD = "upload.json"


class DiskUploads:
    """The records of uploads: a JSON file beside each."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._listing = Listing(self.file_ids, self.read)

    def write(self, folder: Path, upload: Upload) -> None:
        (folder / RECORD).write_text(json.dumps(asdict(upload)), encoding="utf-8")

    def read(self, file_id: str) -> Upload:
        if not is_id(file_id):
            raise unknown_file(file_id)
        path = self._record(file_id)
        with record_errors(file_id):
            data = json.loads(path.read_text("utf-8"))
            data.setdefault("created_at", path.stat().st_mtime)
            return Upload.of(data)

    def file_ids(self) -> list[str]:
        return self._folders.file_ids()

    def of_owner(self, owner: str) -> list[Entry]:
        return self._listing.of(owner)

    def existing(self, file_ids: Collection[str]) -> set[str]:
        return {file_id for file_id in file_ids if self._folders.has(file_id)}

    def is_empty(self) -> bool:
        return self._folders.is_empty()

    def arrived_before(self, _at: float, _temporary_at: float) -> list[str]:
        # Each record is a file, which the caller reads anyway.
        return self._folders.file_ids()

    def touch(self, file_id: str) -> None:
        try:
            os.utime(self._record(file_id))
        except FileNotFoundError:
            raise unknown_file(file_id) from None

    def used_at(self, file_id: str) -> float:
        try:
            return self._record(file_id).stat().st_mtime
        except FileNotFoundError:
            raise unknown_file(file_id) from None

    def _record(self, file_id: str) -> Path:
        return self._folders.uploads / file_id / RECORD
