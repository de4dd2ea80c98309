"""The records of uploads in the job database, for storages that have no folder of their own."""

import time
from dataclasses import asdict

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import sessionmaker

from studio.jobs import faults
from studio.jobs.tables import UploadRow
from studio.storage.files import Upload, unknown_file
from studio.storage.folders import is_id


class UploadTable:
    """Each call is a transaction. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._sessions = sessionmaker(engine)

    def add(self, upload: Upload) -> bool:
        """Returns False if there is one with this ID."""
        row = UploadRow(
            file_id=upload.file_id,
            owner=upload.owner,
            size_bytes=upload.size_bytes,
            used_at=time.time(),
            record=asdict(upload),
        )
        try:
            with self._sessions.begin() as session:
                session.add(row)
        except IntegrityError:
            return False
        return True

    def read(self, file_id: str) -> Upload:
        record = None
        if is_id(file_id):
            wanted = select(UploadRow.record).where(UploadRow.file_id == file_id)
            try:
                with self._sessions() as session:
                    record = session.scalar(wanted)
            except OperationalError as error:
                raise faults.as_studio_error(error) from error
        if record is None:
            raise unknown_file(file_id)
        return Upload.of(record)

    def has(self, file_id: str) -> bool:
        with self._sessions() as session:
            found = select(UploadRow.file_id).where(UploadRow.file_id == file_id)
            return session.scalar(found) is not None

    def file_ids(self) -> list[str]:
        with self._sessions() as session:
            return list(session.scalars(select(UploadRow.file_id)))

    def of_owner(self, owner: str) -> dict[str, int]:
        """The sizes in bytes of the uploads of an owner, by ID."""
        with self._sessions() as session:
            rows = session.execute(
                select(UploadRow.file_id, UploadRow.size_bytes).where(UploadRow.owner == owner)
            )
            return {row.file_id: row.size_bytes for row in rows}

    def touch(self, file_id: str) -> None:
        with self._sessions.begin() as session:
            used = update(UploadRow).where(UploadRow.file_id == file_id)
            used = used.values(used_at=time.time()).returning(UploadRow.file_id)
            if session.scalar(used) is None:
                raise unknown_file(file_id)

    def used_at(self, file_id: str) -> float:
        with self._sessions() as session:
            used_at = session.scalar(select(UploadRow.used_at).where(UploadRow.file_id == file_id))
        if used_at is None:
            raise unknown_file(file_id)
        return used_at

    def remove(self, file_id: str) -> bool:
        """Returns False if there is none with this ID."""
        with self._sessions.begin() as session:
            gone = delete(UploadRow).where(UploadRow.file_id == file_id)
            return session.scalar(gone.returning(UploadRow.file_id)) is not None
