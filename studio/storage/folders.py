"""Where uploads and results are.

uploads/<file_id>/source.<type>        the uploaded file
uploads/<file_id>/upload.json          its name, size, hash and sound properties
uploads/.incoming/                     uploads in progress
outputs/<file_id>/<job_id>/            the results of one completed job
outputs/<file_id>/<job_id>/edited/     an edited version of a track, if there is one
outputs/.work/                         results in progress
"""

import re
from dataclasses import dataclass
from pathlib import Path

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Folders:
    uploads: Path
    outputs: Path

    @property
    def incoming(self) -> Path:
        return self.uploads / ".incoming"

    @property
    def work(self) -> Path:
        return self.outputs / ".work"

    def file_ids(self) -> list[str]:
        """The IDs of all uploads."""
        return [path.name for path in self.uploads.iterdir() if is_id(path.name)]

    def has(self, file_id: str) -> bool:
        """Whether there is an upload with this ID."""
        return (self.uploads / file_id).is_dir()

    def result(self, file_id: str, job_id: str) -> Path:
        """Folder of a completed job's results."""
        return self.outputs / file_id / job_id


def is_id(name: str) -> bool:
    """Whether a name has the form of a file ID or job ID."""
    return _ID.fullmatch(name) is not None
