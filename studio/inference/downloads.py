"""Downloads in progress: all jobs that need the same weights wait for one download."""

import logging
import time
from collections.abc import Callable
from threading import Event, Lock, Thread

from studio.inference.transfer import OnTransfer, Transfer

log = logging.getLogger(__name__)

REPORT_EVERY_S = 0.2


class _Abandoned(Exception):
    """Ends a download that no thread waits for any more."""


class _Download:
    """A download in its own thread, and the number of threads that wait for it."""

    def __init__(self, name: str, work: Callable[[OnTransfer], None]) -> None:
        self.name = name
        self.waiting = 0
        self.transfer = Transfer(0, 0)
        self.error: BaseException | None = None
        self.ended = Event()
        self.abandoned = Event()
        self._work = work

    def start(self) -> None:
        Thread(target=self._run, name=f"download {self.name}", daemon=True).start()

    def _run(self) -> None:
        began_s = time.monotonic()
        try:
            self._work(self._report)
            total_mb, took_s = self.transfer.total_bytes / 1e6, time.monotonic() - began_s
            log.info("downloaded %s, %.0f MB, in %.1f s", self.name, total_mb, took_s)
        except BaseException as error:
            self.error = error
        finally:
            self.ended.set()

    def _report(self, transfer: Transfer) -> None:
        self.transfer = transfer
        if self.abandoned.is_set():
            raise _Abandoned


class Downloads:
    """Runs downloads by name. A download continues as long as a thread waits for it."""

    def __init__(self) -> None:
        self._running: dict[str, _Download] = {}
        self._lock = Lock()

    def run(self, name: str, work: Callable[[OnTransfer], None], on_transfer: OnTransfer) -> None:
        """Do `work`, or wait while another thread does it. Raises what `work` raises.

        `on_transfer` is called in this thread, and may raise to stop waiting.
        """
        download = self._join(name, work)
        try:
            while not download.ended.wait(REPORT_EVERY_S):
                on_transfer(download.transfer)
        finally:
            self._leave(download)
        if download.error is not None:
            raise download.error
        on_transfer(download.transfer)

    def _join(self, name: str, work: Callable[[OnTransfer], None]) -> _Download:
        with self._lock:
            download = self._running.get(name)
            if download is None:
                download = _Download(name, work)
                # If it cannot start, the next call tries again.
                download.start()
                self._running[name] = download
            download.waiting += 1
            return download

    def _leave(self, download: _Download) -> None:
        with self._lock:
            download.waiting -= 1
            if download.ended.is_set() or download.waiting == 0:
                download.abandoned.set()
                if self._running.get(download.name) is download:
                    del self._running[download.name]
