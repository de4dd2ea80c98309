"""The tracks of generated music: `music`, and `music_2`, ... where there are variations.

Formats are made when first asked for, and kept.
"""

from pathlib import Path
from typing import Any

from studio import audio
from studio.errors import ResultsGone
from studio.storage.files import Storage
from studio.storage.on_demand import check_wanted

TRACK = "music"


def names(variations: int) -> list[str]:
    """The names of so many tracks."""
    return [TRACK, *(f"{TRACK}_{number}" for number in range(2, variations + 1))]


def file_of(
    storage: Storage, folder: Path, result: dict[str, Any], track: str, audio_format: str
) -> Path:
    """The file of a track in a format, made if need be. Raises ResultsGone."""
    master = folder / f"{track}.wav"
    if not master.is_file():
        raise ResultsGone(
            "The results of this job were removed from the server's disk. Start the job again."
        )
    if audio_format == "wav":
        return master
    return storage.add(
        folder,
        f"{track}.{audio_format}",
        audio.most_bytes(master, audio_format),
        lambda path: audio.encode(
            master, path, audio_format, result["gain"], lambda _: check_wanted()
        ),
    )
