"""Where uploads and results are.

uploads/<file_id>/source.<type>        the uploaded file
uploads/<file_id>/upload.json          its name, size, hash and sound properties
uploads/<file_id>/original.*           its waveform data and its MP3, made on demand
uploads/.incoming/<server>-*           uploads in progress
outputs/<file_id>/<job_id>/            the results of one completed job
outputs/<file_id>/<job_id>-<attempt>/  those of a later attempt than the first
outputs/<file_id>/<job_id>/edited/     an edited version of a track, if there is one
outputs/<file_id>/<job_id>/tagged/     formats that contain the name of the upload
outputs/.work/<server>-*               results in progress
outputs/.locks/<server>                locked while the server lives; see studio.storage.owner
"""

import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from studio.storage.space import folder_errors

_ID = re.compile(r"[0-9a-f]{32}")
_RESULT = re.compile(r"[0-9a-f]{32}(-[0-9]+)?")


@dataclass(frozen=True)
class Folders:
    """`server` names the server that uses the folders."""

    uploads: Path
    outputs: Path
    server: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def incoming(self) -> Path:
        return self.uploads / ".incoming"

    @property
    def work(self) -> Path:
        return self.outputs / ".work"

    @property
    def locks(self) -> Path:
        return self.outputs / ".locks"

    def new_incoming(self) -> Path:
        """A path for an upload in progress of this server."""
        return self.incoming / f"{self.server}-{secrets.token_hex(16)}"

    def new_work(self, name: str) -> Path:
        """A path for results in progress of this server."""
        return self.work / f"{self.server}-{secrets.token_hex(4)}-{name}"

    def unfinished(self, target: Path) -> Path:
        """A path for a file in progress, from which it can be renamed to `target`.

        Uploads and outputs may be on different disks.
        """
        is_upload = target.is_relative_to(self.uploads)
        return self.new_incoming() if is_upload else self.new_work(target.name)

    def file_ids(self) -> list[str]:
        """The IDs of all uploads."""
        with folder_errors():
            return [path.name for path in self.uploads.iterdir() if is_id(path.name)]

    def is_empty(self) -> bool:
        """Whether there are no uploads."""
        with os.scandir(self.uploads) as entries:
            return not any(is_id(entry.name) for entry in entries)

    def has(self, file_id: str) -> bool:
        """Whether there is an upload with this ID, even if it cannot be read at the moment."""
        try:
            return stat.S_ISDIR((self.uploads / file_id).stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            # Results and jobs of uploads that do not exist are deleted.
            return True

    def result(self, file_id: str, job_id: str) -> Path:
        """Folder of a completed job's results."""
        return self.outputs / file_id / job_id


def is_id(name: str) -> bool:
    """Whether a name has the form of a file ID or job ID."""
    return _ID.fullmatch(name) is not None


def is_result(name: str) -> bool:
    """Whether a name has the form of that of a result folder."""
    return _RESULT.fullmatch(name) is not None
