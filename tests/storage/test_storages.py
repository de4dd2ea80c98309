"""What every storage does, on the disk and in a real object store."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.services.object_store import ObjectStore
from studio.errors import UnknownFile
from studio.storage.results import ResultId
from studio.storage.storage import Storage
from tests.support.storage import (
    JOB,
    LARGE,
    OTHER,
    SOUND,
    disk_storage,
    in_bucket,
    publish,
    read,
    results_in,
    upload_to,
)

Open = Callable[[], Storage]


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
