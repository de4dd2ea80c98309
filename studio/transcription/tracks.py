"""The tracks of a transcription: `transcription` itself, and the stems of its separation, if any.

Formats are made when first asked for, and kept.
"""

import json
from pathlib import Path

from studio.errors import ResultsGone
from studio.storage.files import Storage
from studio.transcription.formats import FORMATS
from studio.transcription.transcribe import TRANSCRIPT_FILE
from studio.transcription.transcript import Transcript

TRACK = "transcription"
DEFAULT_FORMAT = "txt"
CONTENT_TYPES = {name: content_type for name, (_, content_type) in FORMATS.items()}


def file_of(storage: Storage, folder: Path, file_format: str) -> Path:
    """The transcript in a format, made if need be. Raises ResultsGone."""
    transcript = folder / TRANSCRIPT_FILE
    if not transcript.is_file():
        raise ResultsGone(
            "The results of this job were removed from the server's disk. Start the job again."
        )
    write, _ = FORMATS[file_format]

    def make(path: Path) -> None:
        data = json.loads(transcript.read_text("utf-8"))
        path.write_text(write(Transcript.from_dict(data)), "utf-8", newline="\n")

    # No format says more than the transcript; marks and line ends may make some of it longer.
    needed_bytes = 2 * transcript.stat().st_size
    return storage.add(folder, f"{TRACK}.{file_format}", needed_bytes, make)
