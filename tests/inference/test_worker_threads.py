"""Threads that models run on."""

import threading
import weakref
from collections.abc import Generator

import pytest

from studio.inference import worker_threads
from studio.inference.worker_threads import WorkerThreads, read_ahead
from tests.support.server import until


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

    monkeypatch.setattr(worker_threads, "Thread", Scarce)
    with pytest.raises(RuntimeError, match="new thread"), WorkerThreads(5):
        raise AssertionError("the block is not entered")
    assert len(started) == 3
    assert not any(thread.is_alive() for thread in started)


def test_a_waiting_thread_keeps_nothing_of_its_last_call() -> None:
    class Block:
        pass

    def given_and_made() -> list[weakref.ref[Block]]:
        block = Block()
        made = threads.submit(lambda _: Block(), block).result()
        return [weakref.ref(block), weakref.ref(made)]

    with WorkerThreads(1) as threads:
        kept = given_and_made()
        until(lambda: not any(one() for one in kept))


def counted(stop: int, made: list[int], closed: list[bool]) -> Generator[int, None, None]:
    try:
        for number in range(stop):
            made.append(number)
            yield number
    finally:
        closed.append(True)


def test_items_read_ahead_come_in_order_and_not_too_many_at_once() -> None:
    made: list[int] = []
    closed: list[bool] = []
    for taken in read_ahead(counted(50, made, closed), 2):
        # Those that wait, and the one that is being made.
        assert len(made) <= taken + 1 + 2 + 1
    assert made == list(range(50))
    assert closed == [True]


def test_an_error_comes_where_the_item_would_have_come() -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        raise OSError("the disk is slow today")

    found = []
    with pytest.raises(OSError, match="slow today"):
        for number in read_ahead(failing(), 4):
            found.append(number)
    assert found == [1]


def test_closing_ends_the_thread_and_its_source() -> None:
    made: list[int] = []
    closed: list[bool] = []
    numbers = read_ahead(counted(10**9, made, closed), 3)
    assert next(numbers) == 0
    numbers.close()
    assert closed == [True]
    assert len(made) <= 6
    assert "read-ahead" not in [thread.name for thread in threading.enumerate()]
