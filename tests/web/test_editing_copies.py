"""Edits of transcripts that another request copies at the same time."""

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from studio.jobs.job import Job, Request, State
from studio.jobs.store import JobStore
from studio.storage.storage import Storage
from studio.transcription import editing
from studio.transcription.transcript import Transcript
from tests.support.hostile_files import open_door, send
from tests.support.sounds import noise, write_wav
from tests.support.storage import disk_storage

SEGMENT = {"start_s": 0.1, "end_s": 0.4, "text": "By hand."}
RESULT: dict[str, Any] = {
    "engine": "openvino",
    "precision": "f32",
    "note": None,
    "elapsed_s": 1.0,
    "real_time_factor": 1.0,
    "duration_s": 0.5,
    "language": "en",
    "language_probability": 1.0,
    "segments": 0,
    "words": 0,
    "speech_s": 0.5,
}


class Reused:
    """A transcript in this process, which a request for the same transcript will copy."""

    def __init__(self, door: FlaskClient, folder: Path) -> None:
        self._app = door.application
        # No job runs: this one is given its result.
        parts = self._app.extensions["parts"]
        parts.runner.stop()
        self._store: JobStore = parts.store
        sound = write_wav(folder / "speech.wav", noise(0.5)).read_bytes()
        self._file_id = send(door, sound, "speech.wav").get_json()["file_id"]
        assert self.request().status_code == 202
        self._finish(disk_storage(folder / "uploads", folder / "outputs"))
        later = self._store.add(Request(self._file_id, "demucs", "mini", {}, "a later one"))
        self._store.finish(later, State.CANCELED)

    def _finish(self, storage: Storage) -> None:
        job = self._store.claim()
        assert job is not None
        with storage.work(job.job_id) as work:
            transcript = Transcript("en", 1.0, 3.0, ()).to_dict()
            (work / editing.FILE).write_text(json.dumps(transcript))
            storage.publish(work, job.result_id)
        self._store.finish(job, State.COMPLETED, result=RESULT)

    def request(self) -> TestResponse:
        path = f"/process/whisper/{self._file_id}"
        return self._app.test_client().post(path, json={"model_variant": "mini"})

    def text(self) -> str:
        with closing(self._read("txt")) as answer:
            return answer.text

    def etag(self) -> str:
        with closing(self._read("json")) as answer:
            return answer.headers["ETag"]

    def _read(self, file_format: str) -> TestResponse:
        path = f"/download/{self._file_id}/transcription?format={file_format}"
        return self._app.test_client().get(path)

    def edit(self, etag: str, at_once: Callable[[], object] = lambda: None) -> TestResponse:
        """Send an edit; `at_once` is called before its body arrives."""
        body = json.dumps({"segments": [SEGMENT]}).encode()

        class Late(io.BytesIO):
            def readinto(self, buffer: Any) -> int:
                if self.tell() == 0:
                    at_once()
                return super().readinto(buffer)

        return self._app.test_client().put(
            f"/files/{self._file_id}/transcription",
            input_stream=Late(body),
            content_length=len(body),
            content_type="application/json",
            headers={"If-Match": etag},
        )


@pytest.fixture
def reused(tmp_path: Path) -> Iterator[Reused]:
    for door in open_door(tmp_path):
        yield Reused(door, tmp_path)


def test_a_slow_edit_of_a_transcript_that_is_copied_meanwhile_is_not_lost(reused: Reused) -> None:
    asked = list[int]()
    etag = reused.etag()
    edited = reused.edit(etag, lambda: asked.append(reused.request().status_code))
    assert asked == [200]
    assert edited.status_code in (200, 412)
    assert (edited.status_code == 200) == ("By hand." in reused.text())


def test_an_edit_while_a_transcript_is_copied_is_not_lost(
    reused: Reused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files have been copied, but its job is not stored yet."""
    etag, add = reused.etag(), JobStore.add
    edits = list[Future[TestResponse]]()
    with ThreadPoolExecutor(1) as pool:

        def add_late(store: JobStore, request: Request, **more: Any) -> Job:
            edits.append(pool.submit(reused.edit, etag))
            # It is over before the job is stored, or waits for that.
            wait(edits, 1.0)
            return add(store, request, **more)

        monkeypatch.setattr(JobStore, "add", add_late)
        assert reused.request().status_code == 200
        [edited] = [one.result() for one in edits]
    assert edited.status_code in (200, 412)
    assert (edited.status_code == 200) == ("By hand." in reused.text())
