"""What does not fit on the disk is refused, and a full disk has a name."""

import errno
import os
import shutil
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import pytest

from studio.errors import DiskFull, StorageUnavailable
from studio.storage import measured_size
from studio.storage.cache import Cache
from studio.storage.incoming import IncomingFile
from studio.storage.measured_size import MeasuredSize, size_bytes
from studio.storage.results import ResultId
from studio.storage.space import DiskSpace, disk_errors
from tests.support.folders import Folders, result_in
from tests.support.server import WAIT_S, until
from tests.support.storage import OTHER, disk_storage, publish, upload_to


def test_a_file_that_does_not_fit_is_not_made(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folder = folders.publish(folders.upload(), vocals=b"stem")
    made: list[Path] = []
    for min_free_bytes, max_bytes in ((2**62, 0), (0, 10_000)):
        storage = disk_storage(folders.uploads, folders.outputs, min_free_bytes, max_bytes)
        with pytest.raises(DiskFull, match="DELETE /cleanup"):
            result_in(storage, folder).add("vocals.mp3", lambda: 10_000, made.append)
        assert (
            result_in(storage, folder)
            .add("vocals.wav", lambda: 10_000, made.append)
            .path.read_bytes()
            == b"stem"
        )
    assert made == []
    assert [path.name for path in folder.iterdir()] == ["vocals.wav"]


def test_files_that_are_made_in_the_same_second_all_count(tmp_path: Path) -> None:
    """Also those that are still being made; what is on disk is measured once a second only."""
    folders = Folders(tmp_path)
    folder = folders.publish(folders.upload(), vocals=b"stem")
    storage = disk_storage(folders.uploads, folders.outputs, max_bytes=10_000)

    def make_another(path: Path) -> None:
        with pytest.raises(DiskFull):
            result_in(storage, folder).add("vocals.flac", lambda: 5_000, make_small)
        path.write_bytes(bytes(3_000))

    def make_small(path: Path) -> None:
        path.write_bytes(bytes(3_000))

    result_in(storage, folder).add("vocals.mp3", lambda: 5_000, make_another)
    result_in(storage, folder).add("vocals.flac", lambda: 5_000, make_small)
    with pytest.raises(DiskFull):
        result_in(storage, folder).add("vocals.ogg", lambda: 5_000, make_small)
    assert not (folder / "vocals.ogg").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_has_a_name(code: int) -> None:
    with pytest.raises(DiskFull), disk_errors():
        raise OSError(code, os.strerror(code))
    with pytest.raises(StorageUnavailable, match="cannot be used"), disk_errors():
        raise PermissionError(errno.EACCES, "no")
    with pytest.raises(FileNotFoundError), disk_errors():
        raise FileNotFoundError(errno.ENOENT, "no")


@pytest.mark.parametrize("code", [errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ETIMEDOUT])
def test_a_disk_that_is_away_is_unavailable(code: int) -> None:
    with pytest.raises(StorageUnavailable, match=os.strerror(code)), disk_errors():
        raise OSError(code, os.strerror(code))


def test_folders_that_are_gone_are_unavailable(tmp_path: Path) -> None:
    """As when their disk is not mounted; the server made them when it started."""
    storage = disk_storage(tmp_path / "uploads", tmp_path / "outputs")
    storage.open()
    storage.check_writable()
    assert storage.free_bytes() and storage.file_ids() == []
    for folder in (tmp_path / "uploads", tmp_path / "outputs"):
        shutil.rmtree(folder)
        with pytest.raises(StorageUnavailable):
            storage.check_writable()
        with pytest.raises(StorageUnavailable):
            storage.check_space()
        storage.open()
    shutil.rmtree(tmp_path / "uploads")
    for read in (storage.receive, storage.file_ids):
        with pytest.raises(StorageUnavailable):
            read()


def test_a_really_full_disk_is_reported() -> None:
    """/dev/full takes no byte, as a disk without room."""
    incoming = IncomingFile(Path("/dev/full"), lambda: None)
    with pytest.raises(DiskFull):
        incoming.write(bytes(1 << 20))
    with pytest.raises(DiskFull):
        incoming.write(b"a little that stays in the buffer")
        incoming.close()


def test_uploads_leave_the_space_that_is_to_stay_free(tmp_path: Path) -> None:
    folders = Folders(tmp_path, min_free_bytes=2**62)
    incoming = folders.storage.receive()
    with pytest.raises(DiskFull, match="DELETE /cleanup"):
        incoming.write(b"x")
    folders.storage.discard(incoming)
    assert folders.on_their_way == []
    with pytest.raises(DiskFull):
        folders.storage.check_space()


def test_space_is_checked_again_while_a_long_upload_arrives(tmp_path: Path) -> None:
    checks: list[int] = []
    incoming = IncomingFile(tmp_path / "upload", lambda: checks.append(incoming.size_bytes))
    for _ in range(40):
        incoming.write(bytes(1 << 20))
    incoming.close()
    assert checks == [0, 16 << 20, 32 << 20]


def test_local_copies_are_deleted_before_anything_is_refused(tmp_path: Path) -> None:
    """Those of an object store, unless they are in use."""
    uploads, outputs = tmp_path / "uploads", tmp_path / "outputs"
    uploads.mkdir()
    outputs.mkdir()
    space = DiskSpace(uploads, outputs, max_bytes=10_000)
    cache = Cache(uploads, max_bytes=1 << 30)
    space.reclaim_with(cache.evict)
    for name in ("older", "newer"):
        cache.path(name, lambda path: path.write_bytes(bytes(4_000)))
    with cache.hold():
        cache.path("newer", Path.touch)
        with pytest.raises(DiskFull, match="take 0 MB"):
            space.check(7_000)
        assert len(list(uploads.iterdir())) == 2
        space.check(5_000)
        assert space.used_bytes() == 4_000
        with pytest.raises(DiskFull, match="take 0 MB"):
            space.check(9_000)
    space.check(9_000)
    assert list(uploads.iterdir()) == []


def test_nobody_waits_while_the_used_space_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier size serves meanwhile, with the files that were counted since."""
    (tmp_path / "first").write_bytes(bytes(100))
    size = MeasuredSize((tmp_path,), lambda: 0.0)
    assert size.read() == 100
    has_begun, may_end = Event(), Event()

    def slow(*folders: Path) -> int:
        measured_bytes = size_bytes(*folders)
        has_begun.set()
        may_end.wait(WAIT_S)
        return measured_bytes

    monkeypatch.setattr(measured_size, "size_bytes", slow)
    (tmp_path / "second").write_bytes(bytes(10))
    measuring = Thread(target=size.read)
    measuring.start()
    assert has_begun.wait(WAIT_S)
    size.count(1_000)
    assert size.read() == 1_100
    may_end.set()
    measuring.join(WAIT_S)
    monkeypatch.undo()
    assert size.read() == 110


def test_deletions_count_at_once_and_shared_files_do_not(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    storage = disk_storage(folders.uploads, folders.outputs)
    uploads = [upload_to(storage, bytes(1_000)) for _ in range(2)]
    before_bytes = storage.used_bytes()
    result = publish(storage, uploads[0], vocals=bytes(5_000))
    storage.share(result, ResultId(uploads[1].file_id, OTHER), with_edits=False)
    with_result_bytes = storage.used_bytes()
    assert with_result_bytes >= before_bytes + 5_000
    storage.hide(uploads[0].file_id)()
    assert with_result_bytes - storage.used_bytes() < 5_000
    storage.hide(uploads[1].file_id)()
    assert storage.used_bytes() < before_bytes


def test_a_costly_measurement_is_used_for_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock_s = [0.0]
    monkeypatch.setattr(measured_size, "time", SimpleNamespace(monotonic=lambda: clock_s[0]))

    def slow(*folders: Path) -> int:
        clock_s[0] += 30.0
        return size_bytes(*folders)

    monkeypatch.setattr(measured_size, "size_bytes", slow)
    size = MeasuredSize((tmp_path,), lambda: 1.0)
    assert size.read() == 0
    (tmp_path / "file").write_bytes(bytes(10))
    clock_s[0] += 500.0
    assert size.read() == 0
    size.expire()
    size.read()
    until(lambda: size.read() == 10)
    (tmp_path / "file").write_bytes(bytes(20))
    size.expire()
    assert size.read() == 10
    clock_s[0] += 130.0
    until(lambda: size.read() == 20)
