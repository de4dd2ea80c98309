"""Lists the uploads of an owner whose records are files."""

from collections.abc import Callable
from threading import Lock

from studio.errors import UnknownFile
from studio.storage.uploads import Entry, UnreadableRecord, Upload


class Listing:
    """Remembers the owner of every upload, so that each record is read once. Thread-safe."""

    def __init__(self, file_ids: Callable[[], list[str]], read: Callable[[str], Upload]) -> None:
        self._file_ids = file_ids
        self._read_record = read
        self._known: dict[str, tuple[str | None, Entry] | None] = {}
        self._lock = Lock()

    def of(self, owner: str) -> list[Entry]:
        """The uploads of an owner, newest first, without temporary ones."""
        with self._lock:
            self._known = {
                file_id: self._known.get(file_id) or self._read(file_id)
                for file_id in self._file_ids()
            }
            uploads = [known for known in self._known.values() if known is not None]
        return sorted((entry for one, entry in uploads if one == owner), reverse=True)

    def _read(self, file_id: str) -> tuple[str | None, Entry] | None:
        try:
            upload = self._read_record(file_id)
        except (UnknownFile, UnreadableRecord):
            return None
        owner = None if upload.is_temporary else upload.owner
        return owner, (upload.created_at, file_id)
