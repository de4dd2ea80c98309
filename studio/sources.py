"""The audio that jobs read: uploads, and tracks of earlier jobs."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from studio import audio
from studio.errors import InvalidOption, NotReady, UnknownFile
from studio.jobs.job import Job
from studio.jobs.store import JobStore
from studio.results import Result, Track
from studio.storage.on_demand import check_wanted
from studio.storage.results import StoredFile
from studio.storage.storage import Storage
from studio.storage.uploads import SoundInfo, Upload

NO_END = (
    "The file does not record where it ends, so the server cannot tell whether it is complete. "
    "{:,.1f} s of audio were found."
)
# Of an MP3, unless its recording has a rate that MP3 has.
MP3_RATE_HZ = 48_000


@dataclass(frozen=True)
class Source:
    """Audio to process, in a stored or a local file. `identity` identifies the content."""

    file: StoredFile | Path
    duration_s: float
    identity: str = ""

    @property
    def path(self) -> Path:
        """The file on the local disk; see `StoredFile.path`."""
        return self.file if isinstance(self.file, Path) else self.file.path


def sound_info(probe: audio.Probe) -> SoundInfo:
    """What is recorded of audio that was examined."""
    note = None if probe.says_its_end else NO_END.format(probe.duration_s)
    return SoundInfo(probe.duration_s, probe.sample_rate_hz, probe.channels, note)


def upload_peaks(storage: Storage, upload: Upload, samples_per_pixel: int) -> StoredFile:
    """The waveform data of uploaded audio, which is made if it does not exist.

    Raises NotAudio, DiskFull, and the errors of `OnDemand.make`.
    """
    sound = upload.sound
    assert sound is not None
    source = storage.source(upload)

    def write(path: Path) -> None:
        rate_hz = sound.sample_rate_hz
        blocks = audio.decode(source.path, rate_hz, sound.channels, sound.duration_s)
        with closing(blocks):
            audio.write_peaks(blocks, rate_hz, path, samples_per_pixel, check_wanted)

    return storage.beside(upload).add(
        f"original.{audio.PEAKS_FORMATS[samples_per_pixel]}",
        lambda: audio.max_peaks_bytes(round(sound.duration_s * sound.sample_rate_hz)),
        write,
    )


def upload_mp3(storage: Storage, upload: Upload) -> StoredFile:
    """Uploaded audio as MP3 of one or two channels, which is made if it does not exist.

    Raises NotAudio, DiskFull, and the errors of `OnDemand.make`.
    """
    sound = upload.sound
    assert sound is not None
    source = storage.source(upload)
    rate_hz = sound.sample_rate_hz if sound.sample_rate_hz in audio.MP3_RATES_HZ else MP3_RATE_HZ
    channels, samples = min(sound.channels, 2), round(sound.duration_s * rate_hz)
    tags = cache(lambda: audio.read_all_tags(source.path).completed(upload.filename))

    def write(path: Path) -> None:
        blocks = audio.decode(source.path, rate_hz, channels, sound.duration_s)
        writer = audio.SoundWriter(path, "mp3", rate_hz, channels, samples, tags=tags())
        with closing(blocks), writer:
            for block in blocks:
                check_wanted()
                writer.write(block)

    return storage.beside(upload).add(
        "original.mp3",
        lambda: audio.max_mp3_bytes(samples, channels) + tags().picture_bytes,
        write,
    )


class Processors(Protocol):
    """The model processors, which know what jobs have produced."""

    def result(self, job: Job) -> Result | None: ...

    def tracks(self, job: Job) -> Sequence[Track]: ...

    def names_for(self, upload: Upload) -> Sequence[str]: ...


class Sources:
    """Finds audio among uploads and results."""

    def __init__(self, storage: Storage, store: JobStore, processors: Processors) -> None:
        self.storage = storage
        self._store = store
        self._processors = processors

    def other(self, upload: Upload, option: str, file_id: str) -> Upload:
        """Another file of the owner of an upload, to which an option refers.

        Raises InvalidOption.
        """
        try:
            other = self.storage.upload(file_id)
        except UnknownFile:
            other = None
        if other is None or other.owner != upload.owner:
            raise InvalidOption(
                f"`{option}` is {file_id!r}; this file does not exist. Upload it first."
            )
        return other

    def upload(self, upload: Upload) -> Source:
        """Uploaded audio."""
        assert upload.sound is not None
        return Source(self.storage.source(upload), upload.sound.duration_s, upload.sha256)

    def find(
        self, upload: Upload, name: str, variant: str | None = None, identity: str | None = None
    ) -> tuple[Job, Source] | None:
        """The WAV of a track, from the latest completed job of an upload that has it.

        `variant` is the one that has to have made it, `identity` that of the source; None: any.
        """
        for job in self._store.of_file(upload.file_id):
            if identity not in (None, job.request.fingerprint):
                continue
            result = self._processors.result(job)
            tracks = {track.name: track for track in self._processors.tracks(job)}
            if result is None or name not in tracks:
                continue
            made_by = tracks[name].variant or job.request.variant
            file = self.storage.result(job.result_id).file(f"{name}.wav")
            if variant in (None, made_by) and file.info() is not None:
                duration_s = tracks[name].duration_s or result.duration_s
                return job, Source(file, duration_s, job.request.fingerprint)
        return None

    def track(self, upload: Upload, track: str, identity: str | None = None) -> Source:
        """The WAV of a track of an upload. Raises NotReady if no job has made it.

        `identity` is that of the source when it was chosen; None: choose the latest.
        """
        earlier = self.find(upload, track, identity=identity)
        if earlier is None and identity is not None:
            raise NotReady(
                f"The track {track!r} of {upload.filename!r} that this job was requested for has "
                "been deleted. Send the request again to use the latest one."
            )
        if earlier is None:
            ways = " or ".join(
                f"POST /process/{name}/{upload.file_id}"
                for name in self._processors.names_for(upload)
            )
            raise NotReady(f"The track {track!r} has not been generated yet. Start a job: {ways}.")
        return earlier[1]
