"""What only the storage in an object store does."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from config import Config
from models import Models
from scripts.services.object_store import ObjectStore
from studio.concurrency import ConcurrencyLimit
from studio.errors import StorageUnavailable
from studio.jobs.database import connect
from studio.jobs.quota import Quota
from studio.jobs.store import JobStore
from studio.jobs.uploads import UploadTable
from studio.jobs.usage import Usage
from studio.storage.bucket import Bucket, BucketSettings
from studio.storage.bucket_owner import OWNER
from studio.storage.object_storage import ObjectStorage
from studio.storage.results import FileInfo
from studio.storage.uploads import Upload
from studio.web.bounds import UploadBounds
from studio.web.compat.blocking_jobs import BlockingJobs
from studio.web.services import Services
from tests.support.storage import (
    JOB,
    LARGE,
    OTHER,
    SOUND,
    in_bucket,
    prompt_to,
    publish,
    read,
    results_in,
    upload_to,
)


@pytest.mark.s3
def test_results_are_counted_when_they_are_stored(swift: ObjectStore, tmp_path: Path) -> None:
    """And counted again by each sweep."""
    storage = in_bucket(swift, tmp_path)
    upload = upload_to(storage, bytes(100), "ann")
    result = publish(storage, upload, vocals=bytes(3_000))
    assert storage.used_bytes_of("ann") == 3_100

    def make_sound(path: Path) -> None:
        path.write_bytes(bytes(50))

    storage.result(result).add("a.mp3", lambda: 0, make_sound)
    assert storage.used_bytes_of("ann") == 3_150
    (tmp_path / "lost").write_bytes(bytes(7))
    storage.bucket.put(f"results/{upload.file_id}/{OTHER}/drums.wav", tmp_path / "lost")
    assert len(results_in(storage)) == 2
    assert storage.used_bytes_of("ann") == 3_157
    storage.discard_result(result)
    assert storage.used_bytes_of("ann") == 107


def with_another_database(store: ObjectStore, folder: Path) -> ObjectStorage:
    """A server with the same prefix as those of `folder`, and one upload that only it knows."""
    other = folder / "other" / folder.name
    other.mkdir(parents=True, exist_ok=True)
    storage = in_bucket(store, other)
    upload = Upload(OTHER, "song.wav", "wav", 5, "", SOUND)
    UploadTable(connect(f"sqlite:///{other / 'jobs.sqlite3'}")).add(upload)
    return storage


@pytest.mark.s3
def test_a_server_with_another_database_deletes_nothing(
    swift: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As with a copy of `.env`, or after the database was lost."""
    storage, later = in_bucket(swift, tmp_path), time.time() + 4000
    result = publish(storage, upload_to(storage), vocals=b"stem")
    objects = set(storage.bucket.infos(""))
    other = with_another_database(swift, tmp_path)
    for accept in (other.check_writable, lambda: upload_to(other)):
        with pytest.raises(StorageUnavailable, match="DATABASE_URL"):
            accept()
    other.orphans.remove(later)
    other.orphans.remove_results(lambda _: [result], later)
    assert set(storage.bucket.infos("")) == objects
    assert caplog.text.count("another database") == 2
    storage.check_writable()


@pytest.mark.s3
def test_a_bucket_of_an_earlier_version_belongs_to_the_database_of_its_uploads(
    swift: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage, later = in_bucket(swift, tmp_path), time.time() + 4000
    known = {upload_to(storage).file_id for _ in range(2)}
    storage.bucket.delete([OWNER])
    (tmp_path / "lost").write_bytes(b"sound")
    storage.bucket.put(f"uploads/{JOB}/source.wav", tmp_path / "lost")
    objects = set(storage.bucket.infos(""))
    with_another_database(swift, tmp_path).orphans.remove(later)
    assert set(storage.bucket.infos("")) == objects
    assert "no record of most uploads" in caplog.text
    in_bucket(swift, tmp_path).orphans.remove(later)
    sources = {f"uploads/{file_id}/source.wav" for file_id in known}
    assert set(storage.bucket.infos("")) == {OWNER, *sources}


@pytest.mark.s3
def test_a_bucket_that_does_not_exist_is_named(swift: ObjectStore) -> None:
    bucket = Bucket(BucketSettings.of("s3://missing/prefix", swift.url, "us-east-1"))
    with pytest.raises(StorageUnavailable, match=r"'missing' does not exist.*STORAGE_URL"):
        bucket.check()


@pytest.mark.s3
def test_a_file_that_is_sent_again_while_it_is_deleted_stays(
    swift: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = in_bucket(swift, tmp_path)

    def send() -> Upload:
        incoming = storage.receive()
        incoming.write(b"sound")
        return storage.accept(incoming, "a.wav", "wav", SOUND, temporary_id=OTHER)

    upload = send()
    result = publish(storage, upload, vocals=b"stem")
    infos = storage.bucket.infos

    def send_meanwhile(prefix: str) -> dict[str, FileInfo]:
        if not storage.has(OTHER):
            send()
        return infos(prefix)

    monkeypatch.setattr(storage.bucket, "infos", send_meanwhile)
    storage.remove(OTHER)
    assert storage.source(upload).info() is not None
    assert storage.result(result).exists()


@pytest.mark.s3
def test_a_file_that_was_lost_is_stored_when_it_is_sent_again(
    swift: ObjectStore, tmp_path: Path, short_wav: Path
) -> None:
    storage = in_bucket(swift, tmp_path)
    quota = Quota(storage, Usage(connect("sqlite://")), 0, 0)
    bounds = UploadBounds(
        allowed_extensions=frozenset({"wav"}),
        max_bytes=1 << 20,
        limit=ConcurrencyLimit(1, 0),
        max_duration_s=60.0,
        max_decoded_bytes=1 << 30,
    )
    parts = SimpleNamespace(storage=storage, quota=quota, uploads=bounds, secret="secret")
    work = BlockingJobs(cast(Services, parts))

    def send() -> Upload:
        incoming = storage.receive()
        incoming.write(short_wav.read_bytes())
        try:
            return work.keep(incoming, "a.wav", None)
        finally:
            storage.discard(incoming)

    upload = send()
    storage.bucket.delete([f"uploads/{upload.file_id}/source.wav"])
    assert send() == upload
    assert storage.source(upload).info() is not None


@pytest.mark.s3
def test_a_sweep_takes_few_requests(
    swift: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files there are: it lists all objects in pages, and deletes many at once."""
    storage = in_bucket(swift, tmp_path)
    (tmp_path / "lost").write_bytes(b"sound")
    kept = upload_to(storage)
    result = publish(storage, kept, vocals=b"stem")
    for number in range(6):
        lost = f"{number:032x}"
        storage.bucket.put(f"uploads/{lost}/source.wav", tmp_path / "lost")
        storage.bucket.put(f"results/{lost}/{JOB}/vocals.wav", tmp_path / "lost")
    # It is not the server's.
    storage.bucket.put("results/notes", tmp_path / "lost")
    asked: list[str] = []
    events = storage.bucket._client.meta.events
    events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    # Files are looked at two by two.
    monkeypatch.setattr("studio.storage.object_orphans.PART", 2)
    storage.orphans.remove(time.time() + 3000)
    assert sorted(asked) == ["GetObject", "ListMultipartUploads", "ListObjectsV2"]
    asked.clear()
    later = time.time() + 4000
    storage.orphans.remove(later)
    storage.orphans.remove_results(lambda some: [one for one in some if one != result], later)
    source, stem = f"uploads/{kept.file_id}/source.wav", f"results/{result.key}/vocals.wav"
    assert set(storage.bucket.infos("")) == {OWNER, source, stem, "results/notes"}
    assert asked.count("ListObjectsV2") == 3, "the last one is this test's"
    assert 6 <= asked.count("DeleteObjects") <= 8
    assert len(asked) <= 14


@pytest.mark.s3
def test_sending_a_file_ends_within_a_part(swift: ObjectStore, tmp_path: Path) -> None:
    storage = in_bucket(swift, tmp_path)
    (tmp_path / "large").write_bytes(LARGE)

    def go_on() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        storage.bucket.put("large", tmp_path / "large", go_on)
    assert storage.bucket.info("large") is None
    pages = storage.bucket._pages("list_multipart_uploads", Prefix=storage.bucket._full(""))
    assert not [one for page in pages for one in page.get("Uploads", [])]


@pytest.mark.s3
def test_files_go_to_the_store_and_come_back(swift: ObjectStore, tmp_path: Path) -> None:
    storage = in_bucket(swift, tmp_path)
    upload = upload_to(storage)
    result = publish(storage, upload, vocals=b"stem")
    assert read(storage, result, "vocals.wav") == b"stem"
    remote = storage.result(result).file("vocals.wav").remote
    assert b"".join(remote.read(1, 2)) == b"te"
    storage.remove(upload.file_id)
    assert set(storage.bucket.infos("")) == {OWNER}
    assert list((tmp_path / "uploads" / ".incoming").iterdir()) == []


@pytest.mark.s3
def test_a_request_fetches_only_what_it_reads(
    swift: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server has taken the uploads. A worker, and not this server, reads the sound."""
    song, prompt = upload_to(in_bucket(swift, tmp_path)), prompt_to(in_bucket(swift, tmp_path))
    storage = in_bucket(swift, tmp_path)
    fetched: list[str] = []
    fetch = storage.bucket.fetch

    def noted(key: str, path: Path) -> None:
        fetched.append(key)
        fetch(key, path)

    monkeypatch.setattr(storage.bucket, "fetch", noted)
    store = JobStore(connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}"))
    models = Models(Config.load({}, dotenv=None), storage, store)
    with storage.hold():
        for name in ("demucs", "whisper", "analysis"):
            models.request(name, song, {})
        assert fetched == []
        asked = models.request("musicgen", prompt, {})
    assert asked.options["duration"] == 3
    assert fetched == [f"uploads/{prompt.file_id}/source.txt"]
