"""Ends uploads that are too slow, because each occupies a slot and a server thread."""

import io
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import IO, Any, cast

from studio.errors import UploadTooSlow
from studio.web.tcp import stop_reading, tcp_of


@dataclass(frozen=True)
class Pace:
    """How slow an upload may be, and when it is measured: first after a while, then regularly."""

    min_bytes_per_s: int = 10_000
    first_check_s: float = 60.0
    check_every_s: float = 5.0


class _Counted(io.RawIOBase):
    """The body of a request, with a count of the bytes read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        # Includes the size of a read in progress, part of which may have arrived.
        self.max_read_bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = 1 << 16
        before = self.max_read_bytes
        self.max_read_bytes += size
        data = self._stream.read(size)
        self.max_read_bytes = before + len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def watched(environ: MutableMapping[str, Any], pace: Pace) -> Iterator[None]:
    """Watch the reading of a request body. Raises UploadTooSlow instead of the error that reading
    raises after the connection was cut for that reason."""
    body = _Counted(environ["wsgi.input"])
    environ["wsgi.input"] = cast(IO[bytes], body)
    tcp = tcp_of(environ)
    ended, too_slow = Event(), Event()
    began_s = time.monotonic()

    def watch() -> None:
        wait_s = pace.first_check_s
        while not ended.wait(wait_s):
            wait_s = pace.check_every_s
            if body.max_read_bytes < pace.min_bytes_per_s * (time.monotonic() - began_s):
                too_slow.set()
                if tcp is not None:
                    stop_reading(tcp)
                return

    watcher = Thread(target=watch, name="pace", daemon=True)
    watcher.start()
    try:
        yield
    except Exception:
        if not too_slow.is_set():
            raise
    finally:
        ended.set()
        watcher.join()
    if too_slow.is_set():
        raise UploadTooSlow(
            f"The upload averaged less than {pace.min_bytes_per_s / 1000:.0f} kB/s over "
            f"{time.monotonic() - began_s:.0f} s. Use a faster connection, or compress the file."
        )
