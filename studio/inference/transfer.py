"""Downloads files over HTTP: resumed after an interruption, verified, with measured progress."""

import errno
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from studio.errors import DiskFull

log = logging.getLogger(__name__)

UNFINISHED = ".incomplete"
BLOCK_BYTES = 1 << 20
LOCK_POLL_S = 0.5
# Consecutive attempts that receive nothing, and the time between them.
RETRIES, RETRY_S = 5, 1.0
# Hexadecimal digits of a SHA-1, with which Git names files that are not stored as LFS objects.
_SHA1_DIGITS = 40
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.EFBIG)


@dataclass(frozen=True)
class Transfer:
    """How much of the files of a variant is on this machine, in bytes.

    `total_bytes` is 0 until the sizes are known.
    """

    done_bytes: int
    total_bytes: int

    @property
    def fraction(self) -> float:
        """0 to 1."""
        return min(1.0, self.done_bytes / max(1, self.total_bytes))


OnTransfer = Callable[[Transfer], None]
"""Called while files are downloaded, several times a second. Raises to end the download."""


class DownloadFailed(Exception):
    """A download that failed. The message is a reason, without a full stop."""


class _AnswerTooShort(DownloadFailed):
    """An answer that ended before the file did, although the connection did not break."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download to `path`.

    `checksum` is the beginning of its SHA-256 or, with 40 digits, the name that Git gives it. Any
    other text is an opaque identity: then only the size is verified.
    """

    url: str
    path: Path
    size_bytes: int
    checksum: str
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def unfinished(self) -> Path:
        return self.path.with_name(self.path.name + UNFINISHED)

    def present_bytes(self) -> int:
        """How much of it is on this machine."""
        for path in (self.path, self.unfinished):
            if path.is_file():
                return min(path.stat().st_size, self.size_bytes)
        return 0


@contextmanager
def failures_named(folder: Path | None = None) -> Iterator[None]:
    """Turn errors of the network and the disk into DownloadFailed or DiskFull.

    `folder` is where this block writes.
    """
    import httpx2

    try:
        yield
    except (OSError, httpx2.HTTPError, ValueError) as error:
        raise _failure(error, folder) from error


def _failure(error: Exception, folder: Path | None) -> DownloadFailed | DiskFull:
    code, place = getattr(error, "errno", None), getattr(error, "filename", None) or folder
    if code in _FULL:
        return DiskFull(
            f"The weights cannot be downloaded, because the disk of {place} is full. Free some "
            "space, or use a smaller variant."
        )
    # Errors of opened files name no path, and those of the network none either.
    if code in _NOT_WRITABLE or (code is not None and getattr(error, "filename", None)):
        return DownloadFailed(f"{place} cannot be written ({os.strerror(code)})")
    return DownloadFailed(f"the download failed ({type(error).__name__})")


def download(files: Sequence[RemoteFile], on_transfer: OnTransfer) -> None:
    """Download files that are not there yet, one after the other, all into one folder.

    An interrupted download is resumed by the next call. Raises DownloadFailed and DiskFull.
    """
    total_bytes = sum(file.size_bytes for file in files)
    with failures_named(files[0].path.parent if files else None):
        present = {file: file.present_bytes() for file in files}
        _check_space(files)
        on_transfer(Transfer(sum(present.values()), total_bytes))
        for file in files:

            def report(done_bytes: int, file: RemoteFile = file) -> None:
                present[file] = done_bytes
                on_transfer(Transfer(sum(present.values()), total_bytes))

            _fetch(file, report)
            report(file.size_bytes)


def _check_space(files: Sequence[RemoteFile]) -> None:
    """Raise DiskFull if the files do not fit on the disk."""
    needed_bytes = sum(file.size_bytes - file.present_bytes() for file in files)
    for file in files[:1]:  # all go to the same disk
        file.path.parent.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(file.path.parent).free
        if needed_bytes > free_bytes:
            raise DiskFull(
                f"The weights need {needed_bytes / 1e6:,.0f} MB on the disk of "
                f"{file.path.parent}, where {free_bytes / 1e6:,.0f} MB are free. Free some space, "
                "or use a smaller variant."
            )


def _fetch(file: RemoteFile, report: Callable[[int], None]) -> None:
    file.path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file, report):
        if file.path.is_file():
            return
        was_resumed = file.present_bytes() > 0
        _continue(file, report)
        if not _is_intact(file) and was_resumed:
            # The earlier part may have been damaged, for example by a power cut.
            file.unfinished.unlink()
            _continue(file, report)
        if not _is_intact(file):
            file.unfinished.unlink()
            raise DownloadFailed(
                f"the checksum of {file.url} is wrong, so the download was discarded"
            )
        file.unfinished.replace(file.path)


@contextmanager
def _locked(file: RemoteFile, report: Callable[[int], None]) -> Iterator[None]:
    """Keep other processes from downloading the same file; they wait until it is there."""
    from filelock import FileLock, Timeout

    lock = FileLock(f"{file.unfinished}.lock")
    while True:
        try:
            lock.acquire(timeout=LOCK_POLL_S)
            break
        except Timeout:
            report(file.present_bytes())
    try:
        yield
    finally:
        lock.release()


def _continue(file: RemoteFile, report: Callable[[int], None]) -> None:
    """Download the missing part; incomplete answers are retried. Raises DownloadFailed."""
    import httpx2

    failures = max_received_bytes = 0
    with open(file.unfinished, "ab") as stream:
        if stream.tell() > file.size_bytes:
            stream.truncate(0)
        while (before_bytes := stream.seek(0, os.SEEK_END)) < file.size_bytes:
            max_received_bytes = max(max_received_bytes, before_bytes)
            report(before_bytes)
            try:
                _receive(file, stream, report)
            except (httpx2.TransportError, _AnswerTooShort) as error:
                failures = failures + 1 if stream.tell() <= max_received_bytes else 0
                log.warning("the download of %s was interrupted: %r", file.url, error)
                if failures > RETRIES:
                    if isinstance(error, _AnswerTooShort):
                        raise
                    raise DownloadFailed(
                        f"the download was interrupted ({type(error).__name__}) after "
                        f"{before_bytes / 1e6:,.0f} of {file.size_bytes / 1e6:,.0f} MB, and the "
                        "next attempt resumes it"
                    ) from error
                time.sleep(RETRY_S)
        stream.flush()
        os.fsync(stream.fileno())


def _receive(file: RemoteFile, stream: BinaryIO, report: Callable[[int], None]) -> None:
    """Append the rest of the file to `stream`, over one connection.

    huggingface_hub's own function loses up to 10 MB when a connection breaks, and keeps nothing
    when it is stopped.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils._http import get_session, hf_raise_for_status

    begin_bytes = stream.tell()
    headers = {**file.headers, "Accept-Encoding": "identity"}
    if begin_bytes:
        headers["Range"] = f"bytes={begin_bytes}-"
    with get_session().stream(
        "GET",
        file.url,
        headers=headers,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        follow_redirects=True,
    ) as response:
        hf_raise_for_status(response)
        if begin_bytes and response.status_code != HTTPStatus.PARTIAL_CONTENT:
            begin_bytes = 0
            _empty(stream)
        done_bytes = begin_bytes
        for block in response.iter_bytes():
            stream.write(block)
            done_bytes = stream.tell()
            if done_bytes > file.size_bytes:
                raise DownloadFailed(f"{file.url} is larger than its declared size")
            report(done_bytes)
    if done_bytes < file.size_bytes:
        if not begin_bytes:
            _empty(stream)  # it was not the file, but for example the error page of a proxy
        raise _AnswerTooShort(
            f"the server sent {done_bytes - begin_bytes:,} of "
            f"{file.size_bytes - begin_bytes:,} bytes of {file.url}; a proxy may have "
            "replaced its answer"
        )


def _empty(stream: BinaryIO) -> None:
    stream.truncate(0)
    stream.seek(0)  # so that `tell` counts from there


def _is_intact(file: RemoteFile) -> bool:
    if file.unfinished.stat().st_size != file.size_bytes:
        return False
    digits = file.checksum.lower()
    if not digits or set(digits) - set("0123456789abcdef"):
        return True
    if len(digits) == _SHA1_DIGITS:
        checksum = hashlib.sha1(f"blob {file.size_bytes}\0".encode(), usedforsecurity=False)
    else:
        checksum = hashlib.sha256()
    with open(file.unfinished, "rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            checksum.update(block)
    return checksum.hexdigest().startswith(digits)
