"""The records of uploads in the job database, for storages that have no folder of their own."""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict

from sqlalchemy import Engine, and_, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from studio.jobs import faults
from studio.jobs.database import Sessions
from studio.jobs.tables import InstallationRow, UploadRow
from studio.storage.folders import is_id
from studio.storage.uploads import Entry, Upload, record_errors, unknown_file


class UploadTable:
    """Each call is a transaction. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._sessions = Sessions(engine)

    def installation_id(self) -> str:
        """The name of the database."""
        with _database_errors(), self._sessions.reading() as session:
            return session.scalars(select(InstallationRow.installation_id)).one()

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
            with _database_errors(), self._sessions.reading() as session:
                record = session.scalar(wanted)
        if record is None:
            raise unknown_file(file_id)
        with record_errors(file_id):
            return Upload.of(record)

    def file_ids(self) -> list[str]:
        with self._sessions.reading() as session:
            return list(session.scalars(select(UploadRow.file_id)))

    def of_owner(self, owner: str) -> list[Entry]:
        created_at = UploadRow.record["created_at"].as_float()
        is_temporary = UploadRow.record["is_temporary"].as_boolean()
        mine = select(created_at, UploadRow.file_id)
        mine = mine.where(UploadRow.owner == owner, is_temporary.is_not(True))
        with self._sessions.reading() as session:
            return sorted((at, file_id) for at, file_id in session.execute(mine))[::-1]

    def existing(self, file_ids: Collection[str]) -> set[str]:
        with _database_errors(), self._sessions.reading() as session:
            existing = select(UploadRow.file_id).where(UploadRow.file_id.in_(file_ids))
            return set(session.scalars(existing))

    def is_empty(self) -> bool:
        with self._sessions.reading() as session:
            return session.scalar(select(UploadRow.file_id).limit(1)) is None

    def arrived_before(self, at: float, temporary_at: float) -> list[str]:
        created_at = UploadRow.record["created_at"].as_float()
        is_temporary = UploadRow.record["is_temporary"].as_boolean()
        is_early = or_(created_at < at, and_(is_temporary, created_at < temporary_at))
        with self._sessions.reading() as session:
            return list(session.scalars(select(UploadRow.file_id).where(is_early)))

    def used_bytes(self, owner: str) -> int:
        """The size of the uploads of an owner and of their results."""
        size = func.sum(UploadRow.size_bytes + UploadRow.result_bytes)
        with self._sessions.reading() as session:
            return int(session.scalar(select(size).where(UploadRow.owner == owner)) or 0)

    def add_result_bytes(self, file_id: str, size_bytes: int) -> None:
        """Count results that were stored, or with a negative size, deleted."""
        with _database_errors(), self._sessions.begin() as session:
            session.execute(
                update(UploadRow)
                .where(UploadRow.file_id == file_id)
                .values(result_bytes=UploadRow.result_bytes + size_bytes)
            )

    def set_result_bytes(self, sizes: Mapping[str, int], after: str, to: str | None) -> None:
        """Correct the sizes of the results of the uploads with IDs from `after` to `to`.

        `sizes` has those that are not 0. The upload `after` does not count; None means the last.
        """
        counted = select(UploadRow.file_id, UploadRow.result_bytes)
        counted = counted.where(UploadRow.file_id > after)
        if to is not None:
            counted = counted.where(UploadRow.file_id <= to)
        with self._sessions.begin() as session:
            for file_id, size_bytes in session.execute(counted).all():
                if size_bytes != sizes.get(file_id, 0):
                    session.execute(
                        update(UploadRow)
                        .where(UploadRow.file_id == file_id)
                        .values(result_bytes=sizes.get(file_id, 0))
                    )

    def touch(self, file_id: str) -> None:
        with self._sessions.begin() as session:
            used = update(UploadRow).where(UploadRow.file_id == file_id)
            used = used.values(used_at=time.time()).returning(UploadRow.file_id)
            if session.scalar(used) is None:
                raise unknown_file(file_id)

    def used_at(self, file_id: str) -> float:
        with self._sessions.reading() as session:
            used_at = session.scalar(select(UploadRow.used_at).where(UploadRow.file_id == file_id))
        if used_at is None:
            raise unknown_file(file_id)
        return used_at

    def remove(self, file_id: str) -> bool:
        """Returns False if there is none with this ID."""
        with self._sessions.begin() as session:
            gone = delete(UploadRow).where(UploadRow.file_id == file_id)
            return session.scalar(gone.returning(UploadRow.file_id)) is not None


@contextmanager
def _database_errors() -> Iterator[None]:
    """Convert the errors of a database that does not respond, for jobs, which wait for it."""
    try:
        yield
    except OperationalError as error:
        raise faults.as_studio_error(error) from error
