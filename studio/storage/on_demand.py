"""Files that are made when a request needs them.

A file is made once, on the thread of the first request, however many requests wait for it. Waiting
requests are limited in total and per client, because each occupies a server thread. If no request
waits for a file any more, making it is canceled.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Condition

from studio.concurrency import ConcurrencyLimit, LimitReached
from studio.errors import StudioError, TooManyConversions

MAX_REQUESTS, MAX_REQUESTS_PER_CLIENT = 32, 8
MAX_RUNNING, MAX_RUNNING_PER_CLIENT = 4, 2
LOOK_EVERY_S = 0.25
RETRY_AFTER_S = 5


class Abandoned(Exception):
    """No request waits for the file any more."""


@dataclass(frozen=True, eq=False)
class Requester:
    """A request that needs a file: its client, and whether the client has disconnected."""

    client: str
    has_left: Callable[[], bool]


@dataclass(eq=False)
class _PendingFile:
    """A file that is being made, and the requests that wait for it."""

    requesters: list[Requester | None] = field(default_factory=list)
    error: StudioError | None = None
    is_over: bool = False
    looked_s: float = 0.0

    def is_wanted(self) -> bool:
        return any(one is None or not one.has_left() for one in self.requesters)


_requester: ContextVar[Requester | None] = ContextVar("requester", default=None)
_current_file: ContextVar[_PendingFile | None] = ContextVar("current_file", default=None)


@contextmanager
def requested_by(requester: Requester) -> Iterator[None]:
    """Attribute the files made in this block to a request."""
    token = _requester.set(requester)
    try:
        yield
    finally:
        _requester.reset(token)


def check_wanted() -> None:
    """Raise Abandoned if no request waits for the file that this thread is making.

    Call this between the steps of making a file.
    """
    pending = _current_file.get()
    now_s = time.monotonic()
    if pending is None or now_s - pending.looked_s < LOOK_EVERY_S:
        return
    pending.looked_s = now_s
    if not pending.is_wanted():
        raise Abandoned


class OnDemand:
    """Makes each file only once. Thread-safe."""

    def __init__(self) -> None:
        self._requests = ConcurrencyLimit(MAX_REQUESTS, MAX_REQUESTS_PER_CLIENT)
        self._running = ConcurrencyLimit(MAX_RUNNING, MAX_RUNNING_PER_CLIENT)
        self._pending: dict[str, _PendingFile] = {}
        self._changed = Condition()

    def make(self, target: str, exists: Callable[[], bool], make: Callable[[], None]) -> None:
        """Return once the file exists, made by `make` on this or another thread.

        `target` identifies the file.

        Raises TooManyConversions, Abandoned if the client has disconnected, or any error of `make`.
        """
        requester = _requester.get()
        with self._request_slot(requester):
            while not exists():
                pending, is_mine = self._join(target, requester)
                try:
                    if is_mine:
                        self._run(pending, requester, make)
                    else:
                        self._wait_for(pending, requester)
                finally:
                    self._leave(target, pending, requester, is_mine)
                if pending.error is not None:
                    raise pending.error
                if is_mine:
                    return

    def _join(self, target: str, requester: Requester | None) -> tuple[_PendingFile, bool]:
        """The pending file, and whether this thread has to make it."""
        with self._changed:
            is_mine = target not in self._pending
            pending = self._pending.setdefault(target, _PendingFile())
            pending.requesters.append(requester)
            return pending, is_mine

    def _leave(
        self, target: str, pending: _PendingFile, requester: Requester | None, is_mine: bool
    ) -> None:
        with self._changed:
            pending.requesters.remove(requester)
            if is_mine:
                del self._pending[target]
                pending.is_over = True
                self._changed.notify_all()

    def _run(
        self, pending: _PendingFile, requester: Requester | None, make: Callable[[], None]
    ) -> None:
        with self._running_slot(pending, requester):
            token = _current_file.set(pending)
            try:
                make()
            except StudioError as error:
                pending.error = error
            finally:
                _current_file.reset(token)

    def _wait_for(self, pending: _PendingFile, requester: Requester | None) -> None:
        with self._changed:
            while not pending.is_over:
                self._changed.wait(LOOK_EVERY_S)
                if requester is not None and requester.has_left():
                    raise Abandoned

    def _request_slot(self, requester: Requester | None) -> AbstractContextManager[None]:
        """Reserve a slot for a waiting request. Raises TooManyConversions."""
        if requester is None:
            return nullcontext()
        return self._requests.slot(requester.client, _refusal)

    @contextmanager
    def _running_slot(self, pending: _PendingFile, requester: Requester | None) -> Iterator[None]:
        """Wait for a slot to make a file. Raises Abandoned."""
        if requester is None:
            yield
            return
        with self._changed:
            while True:
                if not pending.is_wanted():
                    raise Abandoned
                if self._running.acquire(requester.client) is None:
                    break
                self._changed.wait(LOOK_EVERY_S)
        try:
            yield
        finally:
            self._running.release(requester.client)
            with self._changed:
                self._changed.notify_all()


def _refusal(reached: LimitReached) -> TooManyConversions:
    count = reached.count("of your downloads", "downloads")
    return TooManyConversions(
        f"{count} are waiting for a conversion. Retry after {RETRY_AFTER_S} s.",
        retry_after_s=RETRY_AFTER_S,
    )
