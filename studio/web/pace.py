"""Ends uploads that are too slow, because each occupies a slot and a server thread."""

import io
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import IO, Any, cast

from studio.errors import UploadTooSlow
from studio.web.sockets import stop_reading, tcp_of


@dataclass(frozen=True)
class Pace:
    """How slow an upload may be, and when it is measured: first after a while, then regularly."""

    min_bytes_per_s: int = 10_000
    first_check_s: float = 60.0
    check_every_s: float = 5.0


class _Counted(io.RawIOBase):
    """What a request sends, and how many bytes of it were read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        # With what the read that goes on has asked for, of which some may have arrived.
        self.most_bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = 1 << 16
        before = self.most_bytes
        self.most_bytes += size
        data = self._stream.read(size)
        self.most_bytes = before + len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def watched(environ: MutableMapping[str, Any], pace: Pace) -> Iterator[None]:
    """Read the body of a request inside. Raises UploadTooSlow in the place of what reading raises
    when the connection was cut for that."""
    body = _Counted(environ["wsgi.input"])
    environ["wsgi.input"] = cast(IO[bytes], body)
    tcp = tcp_of(environ)
    ended, too_slow = Event(), Event()
    began_s = time.monotonic()

    def watch() -> None:
        wait_s = pace.first_check_s
        while not ended.wait(wait_s):
            wait_s = pace.check_every_s
            if body.most_bytes < pace.min_bytes_per_s * (time.monotonic() - began_s):
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
