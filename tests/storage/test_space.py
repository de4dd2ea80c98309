"""What does not fit on the disk is refused, and a full disk has a name."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from studio.errors import DiskFull, StorageUnavailable
from studio.storage.incoming import IncomingFile
from studio.storage.space import disk_errors
from tests.support.folders import Folders, result_in
from tests.support.storage import disk_storage


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
