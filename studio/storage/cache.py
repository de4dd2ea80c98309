"""Local copies of objects, for programs that read files."""

import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from studio.audio.replacing import replacing

_held: ContextVar[list[str] | None] = ContextVar("held", default=None)


@dataclass(eq=False)
class _Copy:
    """The local copy of an object. `lock` is held while it is fetched."""

    path: Path
    lock: Lock = field(default_factory=Lock)
    size_bytes: int | None = None


class Cache:
    """At most `max_bytes` of copies in a folder; the least recently used are deleted first.

    Copies that are in use are kept, even beyond the limit. Thread-safe.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._holds: Counter[str] = Counter()
        self._lock = Lock()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the copies that are used in this block until it ends."""
        before = _held.get()
        held: list[str] = []
        _held.set(held)
        try:
            yield
        finally:
            _held.set(before)
            with self._lock:
                self._holds.subtract(held)
                # Drop keys with a count of 0.
                self._holds += Counter()
            self._shrink()

    def path(self, key: str, fetch: Callable[[Path], object]) -> Path:
        """The copy of an object, written by `fetch(path)` if there is none."""
        copy = self._use(key)
        with copy.lock:
            if copy.size_bytes is None:
                with replacing(copy.path) as new:
                    fetch(new)
                    size_bytes = new.stat().st_size
                copy.size_bytes = size_bytes
        self._shrink()
        return copy.path

    def forget(self, prefix: str) -> None:
        """Delete the copies of all objects whose keys begin with `prefix`, unless in use."""
        with self._lock:
            self._delete([key for key in self._copies if key.startswith(prefix)])

    def evict(self, needed_bytes: int) -> int:
        """Delete the least recently used copies until `needed_bytes` are free, unless in use.

        Deletes none if that is not enough. Returns the bytes that became free.
        """
        freed_bytes = 0
        with self._lock:
            unused = [one for key, one in self._copies.items() if self._is_unused(key)]
            if sum(one.size_bytes or 0 for one in unused) < needed_bytes:
                return 0
            for key in list(self._copies):
                if freed_bytes >= needed_bytes:
                    break
                freed_bytes += self._delete([key])
        return freed_bytes

    def _use(self, key: str) -> _Copy:
        with self._lock:
            if key not in self._copies:
                # Some programs look at the extension.
                name = f"{secrets.token_hex(8)}-{key.rpartition('/')[2]}"
                self._copies[key] = _Copy(self._folder / name)
            self._copies.move_to_end(key)
            held = _held.get()
            if held is not None:
                held.append(key)
                self._holds[key] += 1
            return self._copies[key]

    def _shrink(self) -> None:
        with self._lock:
            total_bytes = sum(copy.size_bytes or 0 for copy in self._copies.values())
            # The one that was just used stays.
            for key in list(self._copies)[:-1]:
                if total_bytes <= self._max_bytes:
                    return
                total_bytes -= self._delete([key])

    def _is_unused(self, key: str) -> bool:
        return not self._holds[key] and not self._copies[key].lock.locked()

    def _delete(self, keys: list[str]) -> int:
        """Delete copies that are not in use. Returns the bytes that became free."""
        freed_bytes = 0
        for key in keys:
            if not self._is_unused(key):
                continue
            copy = self._copies[key]
            copy.path.unlink(missing_ok=True)
            freed_bytes += copy.size_bytes or 0
            del self._copies[key]
        return freed_bytes
