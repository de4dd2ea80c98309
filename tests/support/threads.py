"""A system that has no more threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest


@contextmanager
def no_more_threads() -> Iterator[None]:
    """Until the end of the block, no thread can be started."""

    def fail(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Thread, "start", fail)
        yield
