"""What every storage does, on the disk and in a real object store."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from studio.storage.slots import Places

from config import Config
from models import Models
from scripts.services.object_store import ObjectStore
from studio.errors import StorageUnavailable, UnknownFile
from studio.jobs.database import connect
from studio.jobs.quota import Quota
from studio.jobs.store import JobStore
from studio.jobs.uploads import UploadTable
from studio.jobs.usage import Usage
from studio.storage.bucket import Bucket, BucketSettings
from studio.storage.bucket_owner import OWNER
from studio.storage.files import FileInfo, ResultId, SoundInfo, Storage, Upload
from studio.storage.folders import Folders
from studio.storage.object_storage import ObjectSettings, ObjectStorage
from studio.storage.space import DiskSpace
from studio.web.bounds import UploadBounds
from studio.web.compat.work import Work
from studio.web.services import Services
from tests.support.storage import disk_storage

SOUND = SoundInfo(3.5, 44_100, 2)
JOB, OTHER = "a" * 32, "b" * 32
# Sent in two parts.
LARGE = os.urandom(17 << 20)

Open = Callable[[], Storage]


def in_bucket(store: ObjectStore, folder: Path, cache_bytes: int = 1 << 30) -> ObjectStorage:
    """A server's storage. Servers with the same folder share a database and a prefix."""
    engine = connect(f"sqlite:///{folder / 'jobs.sqlite3'}")
    jobs = JobStore(engine)
    jobs.open()
    folders = Folders(folder / "uploads", folder / "outputs")
    space = DiskSpace(folders.uploads, folders.outputs)
    storage = ObjectStorage(
        store.bucket(folder.name),
        UploadTable(engine),
        folders,
        space,
        settings=ObjectSettings(cache_bytes, has_proxy=False),
        is_shared=jobs.is_shared,
    )
    storage.open()
    return storage


@pytest.fixture(
    params=["disk", pytest.param("s3", marks=(pytest.mark.s3, pytest.mark.slow))], name="open_one"
)
def _open_one(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the storage of a server; all of a test share their files."""
    if request.param == "s3":
        store: ObjectStore = request.getfixturevalue("swift")
        return lambda: in_bucket(store, tmp_path)

    def on_disk() -> Storage:
        storage = disk_storage(tmp_path / "uploads", tmp_path / "outputs")
        storage.open()
        return storage

    return on_disk


@pytest.fixture
def storage(open_one: Open) -> Storage:
    return open_one()


def upload_to(storage: Storage, content: bytes = b"sound", owner: str | None = None) -> Upload:
    incoming = storage.receive()
    incoming.write(content)
    return storage.accept(incoming, "歌 1.wav", "wav", SOUND, owner)


def prompt_to(storage: Storage) -> Upload:
    incoming = storage.receive()
    incoming.write(b'{"duration": 3}\na calm piano')
    return storage.accept(incoming, "prompt.txt", "txt", None)


def publish(storage: Storage, upload: Upload, job_id: str = JOB, **files: bytes) -> ResultId:
    result = ResultId(upload.file_id, job_id)
    with storage.work(job_id) as work:
        for name, content in files.items():
            (work / f"{name}.wav").write_bytes(content)
        storage.publish(work, result)
    return result


def results_in(storage: Storage) -> list[ResultId]:
    """All results that a sweep looks at."""
    found: list[ResultId] = []

    def choose(results: Sequence[ResultId]) -> list[ResultId]:
        found.extend(results)
        return []

    storage.orphans.remove_results(choose, time.time())
    return found


def read(storage: Storage, result: ResultId, name: str) -> bytes:
    with storage.hold():
        return storage.result(result).file(name).path.read_bytes()


class TestStorage:
    def test_an_upload_is_seen_by_other_servers(self, storage: Storage, open_one: Open) -> None:
        upload = upload_to(storage, LARGE)
        other = open_one()
        assert other.upload(upload.file_id) == upload
        assert other.file_ids() == [upload.file_id]
        info = other.source(upload).info()
        assert info is not None and info.size_bytes == len(LARGE)
        with other.hold():
            assert other.source(upload).path.read_bytes() == LARGE

    def test_what_is_no_id_is_unknown(self, storage: Storage) -> None:
        for file_id in ("", "../x", "0" * 31, "0" * 32):
            with pytest.raises(UnknownFile):
                storage.upload(file_id)
            with pytest.raises(UnknownFile):
                storage.touch(file_id)
            with pytest.raises(UnknownFile):
                storage.remove(file_id)

    def test_a_temporary_upload_exists_once(self, storage: Storage) -> None:
        uploads = []
        for name in ("one.wav", "two.wav"):
            incoming = storage.receive()
            incoming.write(b"the same")
            uploads.append(storage.accept(incoming, name, "wav", SOUND, temporary_id=OTHER))
            storage.discard(incoming)
        assert uploads[0] == uploads[1]
        before = storage.used_at(OTHER)
        time.sleep(0.01)
        storage.touch(OTHER)
        assert storage.used_at(OTHER) > before

    def test_a_result_has_its_files(self, storage: Storage, open_one: Open) -> None:
        upload = upload_to(storage)
        result = publish(storage, upload, vocals=LARGE, drums=b"drums")
        folder = open_one().result(result)
        assert folder.exists()
        assert {name: info.size_bytes for name, info in folder.infos().items()} == {
            "vocals.wav": len(LARGE),
            "drums.wav": 5,
        }
        assert folder.file("bass.wav").info() is None
        assert read(storage, result, "vocals.wav") == LARGE
        assert not storage.result(ResultId(upload.file_id, OTHER)).exists()

    def test_a_result_of_a_removed_upload_is_refused(self, storage: Storage) -> None:
        upload = upload_to(storage)
        storage.remove(upload.file_id)
        with pytest.raises(UnknownFile):
            publish(storage, upload, vocals=b"stem")
        assert not storage.result(ResultId(upload.file_id, JOB)).exists()

    def test_a_format_is_made_once(self, storage: Storage, open_one: Open) -> None:
        result = publish(storage, upload_to(storage), vocals=b"stem")
        made: list[Path] = []

        def make(path: Path) -> None:
            made.append(path)
            path.write_bytes(b"mp3")

        for server in (storage, open_one(), storage):
            file = server.result(result).add("vocals.mp3", lambda: 9, make)
            assert file.path.read_bytes() == b"mp3"
        assert len(made) == 1
        assert sorted(storage.result(result).infos()) == ["vocals.mp3", "vocals.wav"]

    def test_a_format_that_cannot_be_made_leaves_nothing(self, storage: Storage) -> None:
        result = publish(storage, upload_to(storage), vocals=b"stem")

        def make(path: Path) -> None:
            path.write_bytes(b"half")
            raise ValueError("no more")

        with pytest.raises(ValueError, match="no more"):
            storage.result(result).add("vocals.mp3", lambda: 9, make)
        assert sorted(storage.result(result).infos()) == ["vocals.wav"]

    def test_versions_are_in_inner_folders(self, storage: Storage) -> None:
        folder = storage.result(publish(storage, upload_to(storage), vocals=b"stem"))
        folder.add("edited/1/text.json", lambda: 9, lambda path: path.touch())
        assert "edited/1/text.json" in folder.infos()
        folder.remove("edited/1")
        folder.remove("edited/1")
        assert sorted(folder.infos()) == ["vocals.wav"]

    def test_an_inner_folder_is_a_folder_of_its_own(self, storage: Storage) -> None:
        folder = storage.result(publish(storage, upload_to(storage), vocals=b"stem"))
        folder.add("edited/1/text.json", lambda: 9, lambda path: path.touch())
        version = folder.within("edited/1/")
        version.add("made/text.txt", lambda: 9, lambda path: path.touch())
        assert sorted(version.infos()) == ["made/text.txt", "text.json"]
        assert sorted(folder.infos()) == [
            "edited/1/made/text.txt",
            "edited/1/text.json",
            "vocals.wav",
        ]
        assert sorted(folder.within("").infos()) == sorted(folder.infos())

    def test_a_result_has_the_files_of_another(self, storage: Storage) -> None:
        one, two = upload_to(storage), upload_to(storage)
        first = publish(storage, one, vocals=b"stem")
        storage.result(first).add("edited/1/text.json", lambda: 9, lambda path: path.touch())
        second = storage.share(first, ResultId(two.file_id, OTHER), with_edits=False)
        third = storage.share(first, ResultId(one.file_id, OTHER), with_edits=True)
        assert list(storage.result(second).infos()) == ["vocals.wav"]
        assert sorted(storage.result(third).infos()) == ["edited/1/text.json", "vocals.wav"]
        assert read(storage, second, "vocals.wav") == b"stem"

    def test_what_is_made_from_an_upload_goes_with_it(
        self, storage: Storage, open_one: Open
    ) -> None:
        upload = upload_to(storage)
        for server in (storage, open_one()):
            file = server.beside(upload).add("original.peaks", lambda: 9, lambda path: path.touch())
            assert file.info() is not None
        assert results_in(storage) == []
        storage.remove(upload.file_id)
        assert storage.beside(upload).file("original.peaks").info() is None

    def test_remove_takes_the_upload_and_all_its_results(self, storage: Storage) -> None:
        kept, gone = upload_to(storage, b"kept"), upload_to(storage)
        result, *lost = (
            publish(storage, kept, vocals=b"kept"),
            publish(storage, gone, vocals=b"gone"),
            publish(storage, gone, OTHER, drums=b"gone"),
        )
        storage.remove(gone.file_id)
        assert not storage.has(gone.file_id)
        assert storage.source(gone).info() is None
        assert not any(storage.result(one).exists() for one in lost)
        assert storage.has(kept.file_id)
        assert read(storage, result, "vocals.wav") == b"kept"

    def test_a_hidden_upload_is_gone_before_its_content(self, storage: Storage) -> None:
        upload = upload_to(storage, bytes(1_000), "ann")
        result = publish(storage, upload, vocals=b"stem")
        delete = storage.hide(upload.file_id)
        for look in (storage.upload, storage.hide, storage.remove):
            with pytest.raises(UnknownFile):
                look(upload.file_id)
        assert not storage.has(upload.file_id)
        assert storage.used_bytes_of("ann") == 0
        delete()
        assert storage.source(upload).info() is None
        assert not storage.result(result).exists()

    def test_the_bytes_of_an_owner(self, storage: Storage) -> None:
        upload_to(storage, bytes(1_000), "bob")
        upload = upload_to(storage, bytes(100), "ann")
        without_results = storage.used_bytes_of("ann")
        publish(storage, upload, vocals=bytes(3_000))
        assert storage.used_bytes_of("ann") - without_results == 3_000
        assert 100 <= without_results < 1_000

    def test_orphans_are_found_and_go_after_an_hour(self, storage: Storage) -> None:
        upload = upload_to(storage)
        result = publish(storage, upload, vocals=b"stem")
        other = publish(storage, upload, OTHER, drums=b"drums")
        assert sorted(results_in(storage), key=lambda one: one.name) == [result, other]
        storage.orphans.remove_results(lambda _: [result], time.time() + 3000)
        assert storage.result(result).exists()
        storage.orphans.remove_results(lambda _: [result], time.time() + 4000)
        assert not storage.result(result).exists()
        assert storage.result(other).exists()
        storage.orphans.remove(time.time() + 4000)
        assert storage.has(upload.file_id)


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
        most_bytes=1 << 20,
        places=Places(1, 0),
        longest_s=60.0,
        most_decoded_bytes=1 << 30,
    )
    parts = SimpleNamespace(storage=storage, quota=quota, uploads=bounds, secret="secret")
    work = Work(cast(Services, parts))

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
