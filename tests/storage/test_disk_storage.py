"""What is visible on disk is whole: it appears by rename, or not at all."""

import hashlib
import os
from pathlib import Path
from threading import Thread

import pytest

from studio.errors import UnknownFile
from studio.storage.results import ResultId
from tests.support.folders import Folders, result_in
from tests.support.storage import JOB, SOUND


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_an_upload_is_counted_hashed_and_kept(folders: Folders) -> None:
    incoming = folders.storage.receive()
    assert incoming.write(b"one ") == 4
    assert incoming.write(b"two") == 3
    assert len(folders.on_their_way) == 1
    upload = folders.storage.accept(incoming, "歌 “1”.wav", "wav", SOUND)
    assert (upload.size_bytes, upload.filename) == (7, "歌 “1”.wav")
    assert upload.sha256 == hashlib.sha256(b"one two").hexdigest()
    assert folders.storage.upload(upload.file_id) == upload
    assert folders.storage.source(upload).path.read_bytes() == b"one two"
    assert folders.on_their_way == []


def test_an_upload_without_sound(folders: Folders) -> None:
    incoming = folders.storage.receive()
    incoming.write(b"a slow song")
    upload = folders.storage.accept(incoming, "prompt.txt", "txt", None)
    assert folders.storage.upload(upload.file_id).sound is None


def test_uploads_are_found_after_a_restart(folders: Folders, tmp_path: Path) -> None:
    upload = folders.upload(b"kept")
    result = folders.publish(upload, vocals=b"stem")
    again = Folders(tmp_path)
    assert again.storage.upload(upload.file_id) == upload
    assert again.storage.source(upload).path.read_bytes() == b"kept"
    assert (result / "vocals.wav").read_bytes() == b"stem"


def test_a_discarded_upload_leaves_nothing(folders: Folders) -> None:
    incoming = folders.storage.receive()
    incoming.write(b"half a so")
    folders.storage.discard(incoming)
    folders.storage.discard(incoming)
    assert folders.on_their_way == []
    assert [path.name for path in folders.uploads.iterdir()] == [".incoming"]


@pytest.mark.parametrize(
    "file_id",
    [
        "",
        "0" * 31,
        "0" * 33,
        "0" * 5000,
        "A" * 32,
        "g" * 32,
        "../" + "0" * 29,
        "../x",
        "..",
        ".incoming",
        "/etc/passwd",
        "0" * 32 + "\n",
        "\u0660" * 32,
        "0" * 31 + "\0",
    ],
)
def test_what_is_no_id_is_unknown(folders: Folders, tmp_path: Path, file_id: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "upload.json").write_text("{}")
    with pytest.raises(UnknownFile):
        folders.storage.upload(file_id)
    with pytest.raises(UnknownFile):
        folders.storage.remove(file_id)
    with pytest.raises(UnknownFile), folders.storage.work(JOB) as work:
        folders.storage.publish(work, ResultId(file_id, JOB))
    assert (tmp_path / "x" / "upload.json").is_file()


def test_an_unknown_id_names_itself(folders: Folders) -> None:
    with pytest.raises(UnknownFile, match="The file '" + "0" * 32):
        folders.storage.upload("0" * 32)


def test_results_appear_at_once(folders: Folders) -> None:
    upload = folders.upload()
    target = folders.outputs / upload.file_id / JOB
    with folders.storage.work(JOB) as work:
        (work / "vocals.wav").write_bytes(b"stem")
        assert not target.exists()
        folders.storage.publish(work, ResultId(upload.file_id, JOB))
        assert (target / "vocals.wav").read_bytes() == b"stem"
    assert folders.on_their_way == []
    assert (target / "vocals.wav").read_bytes() == b"stem"


def test_a_job_that_fails_leaves_no_work(folders: Folders) -> None:
    with pytest.raises(ZeroDivisionError), folders.storage.work(JOB) as work:
        (work / "vocals.wav").write_bytes(b"half")
        raise ZeroDivisionError
    assert folders.on_their_way == []


def test_a_job_that_runs_again_replaces_its_results(folders: Folders) -> None:
    upload = folders.upload()
    folders.publish(upload, vocals=b"old", drums=b"old")
    result = folders.publish(upload, vocals=b"new")
    assert {path.name: path.read_bytes() for path in result.iterdir()} == {"vocals.wav": b"new"}


def test_files_are_deleted_while_results_are_flushed(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, other = folders.upload(), folders.upload()
    removed: list[bool] = []

    def flush(_: Path) -> None:
        removing = Thread(target=folders.storage.remove, args=(other.file_id,), daemon=True)
        removing.start()
        removing.join(30)
        removed.append(not removing.is_alive())

    monkeypatch.setattr("studio.storage.disk_storage.sync", flush)
    folders.publish(upload, vocals=b"stem")
    assert removed == [True]


def test_results_of_a_removed_upload_are_not_published(folders: Folders) -> None:
    upload = folders.upload()
    with folders.storage.work(JOB) as work:
        (work / "vocals.wav").write_bytes(b"stem")
        folders.storage.remove(upload.file_id)
        with pytest.raises(UnknownFile):
            folders.storage.publish(work, ResultId(upload.file_id, JOB))
    assert folders.on_their_way == []
    assert not (folders.outputs / upload.file_id).exists()


def test_shared_results_are_the_same_files(folders: Folders) -> None:
    one, two = folders.upload(), folders.upload()
    first = folders.publish(one, vocals=b"stem")
    folders.storage.share(
        ResultId(one.file_id, JOB), ResultId(two.file_id, "b" * 32), with_edits=False
    )
    second = folders.outputs / two.file_id / ("b" * 32)
    assert [path.name for path in second.iterdir()] == ["vocals.wav"]
    assert (first / "vocals.wav").samefile(second / "vocals.wav")
    folders.storage.remove(one.file_id)
    assert (second / "vocals.wav").read_bytes() == b"stem"


def test_sharing_what_was_removed_meanwhile(folders: Folders) -> None:
    upload = folders.upload()
    other = folders.upload()
    folders.publish(upload, vocals=b"stem")
    folders.storage.remove(upload.file_id)
    source, target = ResultId(upload.file_id, JOB), ResultId(other.file_id, "b" * 32)
    with pytest.raises(FileNotFoundError):
        folders.storage.share(source, target, with_edits=True)
    assert not folders.storage.result(target).exists()
    assert folders.on_their_way == []


def test_a_file_that_is_there_is_not_made_again(folders: Folders) -> None:
    folder = folders.publish(folders.upload(), vocals=b"stem")

    made: list[Path] = []
    assert (
        result_in(folders.storage, folder)
        .add("vocals.wav", lambda: 9, made.append)
        .path.read_bytes()
        == b"stem"
    )
    assert made == []


def test_a_file_that_cannot_be_made_leaves_nothing(folders: Folders) -> None:
    folder = folders.publish(folders.upload(), vocals=b"stem")

    def make(path: Path) -> None:
        path.write_bytes(b"half")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        result_in(folders.storage, folder).add("vocals.mp3", lambda: 9, make)
    assert [path.name for path in folder.iterdir()] == ["vocals.wav"]


def test_a_file_of_results_that_are_removed_meanwhile_is_unknown(folders: Folders) -> None:
    upload = folders.upload()
    folder = folders.publish(upload, vocals=b"stem")

    def make(path: Path) -> None:
        path.write_bytes(b"whole")
        folders.storage.remove(upload.file_id)

    with pytest.raises(UnknownFile):
        result_in(folders.storage, folder).add("vocals.mp3", lambda: 9, make)
    assert folders.on_their_way == []


def test_remove_takes_the_upload_and_all_its_results(folders: Folders) -> None:
    kept, gone = folders.upload(b"kept"), folders.upload(b"gone")
    folders.publish(kept, vocals=b"kept")
    folders.publish(gone, vocals=b"gone")
    folders.publish(gone, "b" * 32, drums=b"gone")
    folders.storage.remove(gone.file_id)
    with pytest.raises(UnknownFile):
        folders.storage.upload(gone.file_id)
    with pytest.raises(UnknownFile):
        folders.storage.remove(gone.file_id)
    assert folders.on_their_way == []
    assert not (folders.outputs / gone.file_id).exists()
    assert folders.storage.source(kept).path.read_bytes() == b"kept"
    assert (folders.outputs / kept.file_id / JOB / "vocals.wav").read_bytes() == b"kept"


def test_opening_clears_what_dead_servers_left(folders: Folders, tmp_path: Path) -> None:
    upload = folders.upload()
    incoming = folders.storage.receive()
    incoming.write(b"half an upload")
    incoming.close()
    work = folders.outputs / ".work" / "0123-job"
    work.mkdir()
    (work / "vocals.wav").write_bytes(b"half a stem")
    # The lock is released when the process ends, however it ends.
    folders.storage.close()
    again = Folders(tmp_path)
    assert again.on_their_way == []
    assert again.storage.upload(upload.file_id) == upload
    assert len(list((again.outputs / ".locks").iterdir())) == 1


def test_opening_keeps_what_a_living_server_works_on(folders: Folders, tmp_path: Path) -> None:
    incoming = folders.storage.receive()
    incoming.write(b"half an ")
    with folders.storage.work(JOB) as work:
        (work / "vocals.wav").write_bytes(b"half a stem")
        again = Folders(tmp_path)
        assert sorted(again.on_their_way) == sorted([incoming.path, work])
        incoming.write(b"upload")
        upload = folders.storage.accept(incoming, "song.wav", "wav", SOUND)
        folders.storage.publish(work, ResultId(upload.file_id, JOB))
    assert again.storage.source(upload).path.read_bytes() == b"half an upload"
    assert (again.outputs / upload.file_id / JOB / "vocals.wav").is_file()


class Disk:
    """Notes what is brought to the disk and what is renamed, in their order, as paths."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, Path]] = []
        fsync, rename = os.fsync, Path.rename

        def noted_fsync(descriptor: int) -> None:
            fsync(descriptor)
            self.events.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink()))

        def noted_rename(path: Path, target: Path) -> Path:
            self.events.append(("rename", target))
            return rename(path, target)

        patch.setattr("studio.storage.fsync.os.fsync", noted_fsync)
        patch.setattr(Path, "rename", noted_rename)

    def around(self, target: Path) -> tuple[list[str], list[Path]]:
        """Names that were brought to the disk before `target` appeared, and paths after it."""
        place = self.events.index(("rename", target))
        before = [path.name for kind, path in self.events[:place] if kind == "sync"]
        return before, [path for kind, path in self.events[place:] if kind == "sync"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads /proc")
def test_what_appears_is_on_the_disk_before_and_its_name_after(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    upload = folders.upload()
    before, after = disk.around(folders.uploads / upload.file_id)
    [folder] = [name for name in before if name not in ("source.wav", "upload.json")]
    assert len(before) == 3 and not (folders.uploads / folder).exists()
    assert after == [folders.uploads]

    disk.events.clear()
    result = folders.publish(upload, vocals=b"stem")
    before, after = disk.around(result)
    assert before[0] == "vocals.wav"
    assert before[1].endswith(JOB)
    assert after == [result.parent, folders.outputs]

    disk.events.clear()
    file = result_in(folders.storage, result).add(
        "vocals.mp3", lambda: 9, lambda path: path.touch()
    )
    made = file.path
    before, after = disk.around(made)
    assert before[0].endswith("-vocals.mp3")
    assert after == [result]
