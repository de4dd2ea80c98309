"""Allows long decoding to be interrupted: the loops of an engine ask whether to continue.

The check is stored per thread, because faster-whisper is between the caller and these loops.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local

Check = Callable[[], None]
"""Returns, or raises to stop the work."""

ASK_EVERY_S = 1.0

_here = local()


@contextmanager
def interruptible(check: Check | None) -> Iterator[None]:
    """In this block, `may_go_on` calls `check` at most once per second on this thread."""
    before = current_check()
    _here.check, _here.asked_s = check, time.monotonic()
    try:
        yield
    finally:
        _here.check = before


def current_check() -> Check | None:
    """The check of this thread, to pass to another thread."""
    check: Check | None = getattr(_here, "check", None)
    return check


def may_go_on() -> None:
    """Call this before a long step. Raises the errors of the check."""
    check = current_check()
    if check is not None and time.monotonic() - _here.asked_s >= ASK_EVERY_S:
        check()
        _here.asked_s = time.monotonic()
