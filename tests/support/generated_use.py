"""Uses the generated client: upload, process, status, download. Prints what it got as JSON.

    python generated_use.py FOLDER URL SONG

FOLDER contains the package `studio_client`. It runs without this project's packages.
"""

import json
import sys
import time
from pathlib import Path

FOLDER, URL, SONG = sys.argv[1:]
sys.path.insert(0, FOLDER)

from studio_client import Client  # noqa: E402
from studio_client.api.files import delete_file, upload_file  # noqa: E402
from studio_client.api.jobs import get_status, start_demucs_job, start_job  # noqa: E402
from studio_client.api.tracks import (  # noqa: E402
    download_archive,
    download_mix,
    download_track,
    list_tracks,
)
from studio_client.models import (  # noqa: E402
    DemucsJob,
    DownloadTrackFormat,
    SeparationOptions,
    SeparationResult,
    UploadFileBody,
)
from studio_client.types import File  # noqa: E402


def main() -> None:
    client = Client(URL, raise_on_unexpected_status=True)
    with open(SONG, "rb") as song:
        file = File(payload=song, file_name=Path(SONG).name, mime_type="audio/wav")
        uploaded = upload_file.sync(client=client, body=UploadFileBody(file=file))
    file_id = uploaded.file_id
    options = SeparationOptions(stems=["banjo"])
    wrong = start_job.sync("demucs", file_id, client=client, body=options)
    options = SeparationOptions(stems=["vocals"])
    job = start_demucs_job.sync(file_id, client=client, body=options)
    assert isinstance(job, DemucsJob)
    ends_s = time.monotonic() + 120
    status = get_status.sync(file_id, client=client, wait=30)
    while status.status not in ("completed", "failed") and time.monotonic() < ends_s:
        status = get_status.sync(file_id, client=client, wait=30)
    result = status.jobs[0].result
    assert isinstance(result, SeparationResult), result
    flac = DownloadTrackFormat.FLAC
    track = download_track.sync(file_id, "vocals", client=client, format_=flac)
    mix = download_mix.sync(file_id, "ogg", client=client, vocals="-6dB", key=2.0)
    archive = download_archive.sync(file_id, client=client)
    tracks = list_tracks.sync(file_id, client=client)
    deleted = delete_file.sync(file_id, client=client)
    sys.stdout.write(
        json.dumps(
            {
                "filename": uploaded.filename,
                "wrong": wrong.code,
                "stems": result.stems,
                "finished_at": status.jobs[0].finished_at.isoformat(),
                "track_begins": track.payload.read()[:4].decode("latin-1"),
                "mix_begins": mix.payload.read()[:4].decode("latin-1"),
                "archive_begins": archive.payload.read()[:2].decode("latin-1"),
                "tracks": [one.track for one in tracks.tracks],
                "formats": tracks.tracks[0].formats.to_dict(),
                "deleted": deleted.file_id == file_id,
            }
        )
    )


if __name__ == "__main__":
    main()
