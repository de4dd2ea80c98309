"""Threads that models run on."""

import threading

import pytest

from studio import threads
from studio.threads import WorkerThreads


def test_threads_that_started_end_where_the_system_gives_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[threading.Thread] = []

    class Scarce(threading.Thread):
        def start(self) -> None:
            if len(started) == 3:
                raise RuntimeError("can't start new thread")
            super().start()
            started.append(self)

    monkeypatch.setattr(threads, "Thread", Scarce)
    with pytest.raises(RuntimeError, match="new thread"), WorkerThreads(5):
        raise AssertionError("the block is not entered")
    assert len(started) == 3
    assert not any(thread.is_alive() for thread in started)
