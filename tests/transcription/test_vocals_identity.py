"""A request for the words of the vocals has earlier results only if the vocals are the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config import Config
from models import Models
from studio import audio
from studio.errors import InvalidOption
from studio.jobs.database import connect
from studio.jobs.job import Request, State
from studio.jobs.store import JobStore
from studio.sources import sound_info
from studio.storage.storage import Storage
from studio.storage.uploads import Upload
from tests.support.sounds import noise, write_wav
from tests.support.storage import disk_storage

VOCALS = {"source": "vocals"}


class Studio:
    """The models of a server without the server, which may have other settings later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.storage: Storage = disk_storage(folder / "uploads", folder / "outputs")
        self.storage.open()
        self.store = JobStore(connect(f"sqlite:///{folder / 'jobs.sqlite3'}"))
        self.store.open()
        self.models = self.with_settings()

    def with_settings(self, **settings: str) -> Models:
        fast = {"SEPARATION_ENGINE": "torch", "WHISPER_RUNTIME": "ctranslate2"}
        usual = {"MODEL_DIR": str(self._folder), "DEMUCS_MODEL": "mini", "WHISPER_MODEL": "mini"}
        config = Config.load({**fast, **usual, **settings}, dotenv=None)
        return Models(config, self.storage, self.store)

    def upload(self) -> Upload:
        path = write_wav(self._folder / "song.wav", noise(1.0))
        incoming = self.storage.receive()
        incoming.write(path.read_bytes())
        return self.storage.accept(incoming, "song.wav", "wav", sound_info(audio.probe(path)), None)

    def words(self, upload: Upload) -> Request:
        return self.models.request("whisper", upload, VOCALS)

    def run(self, model: str, upload: Upload, **options: Any) -> None:
        """Do a job."""
        job = self.store.add(self.models.request(model, upload, options))
        result = self.models.get(model).run(job, lambda *_: None)
        assert self.store.finish(job, State.COMPLETED, result=result)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path)
    yield studio
    studio.store.close()


def test_the_variant_that_would_separate_counts(studio: Studio) -> None:
    upload = studio.upload()
    before = studio.words(upload)
    studio.models = studio.with_settings(DEMUCS_MODEL="htdemucs")
    assert studio.words(upload).fingerprint != before.fingerprint


def test_it_does_not_matter_which_job_separated_the_vocals(studio: Studio) -> None:
    upload, other = studio.upload(), studio.upload()
    first = studio.words(upload).fingerprint
    studio.run("whisper", upload, **VOCALS)
    studio.run("demucs", other, format="flac")
    assert studio.words(upload).fingerprint == first
    assert studio.words(other).fingerprint == first
    studio.models = studio.with_settings(DEMUCS_MODEL="htdemucs")
    assert studio.words(upload).fingerprint == first, "they are still used"


def test_a_better_separation_counts(studio: Studio) -> None:
    upload = studio.upload()
    studio.run("whisper", upload, **VOCALS)
    before = studio.words(upload)
    studio.run("demucs", upload, shifts=1)
    assert studio.words(upload).fingerprint != before.fingerprint


def test_a_song_that_is_too_long_to_be_separated_is_refused(studio: Studio) -> None:
    upload, separated = studio.upload(), studio.upload()
    studio.run("demucs", separated)
    studio.models = studio.with_settings(MAX_SEPARATION_S="1")
    with pytest.raises(InvalidOption, match=r"Separating the vocals .* maximum is"):
        studio.words(upload)
    assert studio.words(separated)
