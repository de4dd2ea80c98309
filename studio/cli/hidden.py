"""The hidden folder with the files of a command, inside its output folder."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from studio.errors import DiskFull, InvalidOption, StorageUnavailable, StudioError
from studio.storage.space import FULL

PREFIX = ".audio-studio-"
_LOCK = ".lock"


@contextmanager
def hidden_folder(folder: Path) -> Iterator[Path]:
    """A new hidden folder inside `folder`, which is made if it does not exist; removed at the end.

    Those of commands that were killed are removed, too. Raises InvalidOption, StorageUnavailable or
    DiskFull.
    """
    own = folder / f"{PREFIX}{secrets.token_hex(4)}"
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder)
            # A folder without a lock is abandoned, so the lock comes first. Some file systems have
            # none.
            with suppress(OSError):
                held.enter_context(locked(own.with_suffix(_LOCK)))
            held.callback(shutil.rmtree, own, ignore_errors=True)
            own.mkdir()
        except OSError as error:
            raise _unusable(folder.absolute(), error) from error
        yield own


def check_writable(folder: Path) -> None:
    """Raise InvalidOption, StorageUnavailable or DiskFull if a folder cannot be made or written.

    It is not made: that is tried in the nearest folder that exists.
    """
    # What a killed command leaves of it is removed as an abandoned lock.
    name = f"{PREFIX}{secrets.token_hex(4)}{_LOCK}"
    try:
        parents = folder.absolute().parents
        # A link into nothing exists here: no folder can be made in its place.
        existing = next(filter(os.path.lexists, (folder, *parents)))
        (existing / name).touch(exist_ok=False)
        # Another command may have removed it as an abandoned lock.
        (existing / name).unlink(missing_ok=True)
    except OSError as error:
        raise _unusable(folder.absolute(), error) from error


@contextmanager
def locked(path: Path, timeout_s: float = 0) -> Iterator[None]:
    """Hold a lock file, which is removed; the system releases the lock when the process dies.

    Raises OSError if another command holds it, or if the file system has no locks.
    """
    from filelock import FileLock

    with FileLock(path).acquire(timeout=timeout_s):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    for hidden in {path.with_suffix("") for path in folder.glob(f"{PREFIX}*")}:
        with suppress(OSError), locked(hidden.with_suffix(_LOCK)):
            shutil.rmtree(hidden, ignore_errors=True)


def _unusable(folder: Path, error: OSError) -> StudioError:
    """Why a folder cannot be written, and what to do."""
    if error.errno in FULL:
        return DiskFull(
            f"The disk of the folder {str(folder)!r} is full. Free some space and try again."
        )
    if file := next(filter(os.path.isfile, (folder, *folder.parents)), None):
        return InvalidOption(
            f"The folder {str(folder)!r} cannot be used, because {str(file)!r} is a file. Choose "
            "another output folder (`--output` on the command line)."
        )
    return StorageUnavailable(
        f"The folder {str(folder)!r} cannot be written ({error.strerror}). Choose an output folder "
        "that you can write (`--output` on the command line)."
    )
