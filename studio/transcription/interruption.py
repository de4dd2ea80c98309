"""Lets long decoding be ended in its middle: the loops of an engine ask whether they may go on.

The question is asked through the thread, because faster-whisper stands between those who know and
the loops that take long.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local

Check = Callable[[], None]
"""Returns, or raises to end the work."""

ASK_EVERY_S = 1.0

_here = local()


@contextmanager
def interruptible(check: Check | None) -> Iterator[None]:
    """Within the block, `may_go_on` of this thread calls `check`, at most once a second."""
    before = current_check()
    _here.check, _here.asked_s = check, time.monotonic()
    try:
        yield
    finally:
        _here.check = before


def current_check() -> Check | None:
    """What this thread asks, to hand it to another one."""
    check: Check | None = getattr(_here, "check", None)
    return check


def may_go_on() -> None:
    """Called by a loop before a step that may take long. Raises what the check raises."""
    check = current_check()
    if check is not None and time.monotonic() - _here.asked_s >= ASK_EVERY_S:
        check()
        _here.asked_s = time.monotonic()
