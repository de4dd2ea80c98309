"""Worker threads for models.

The executors of `concurrent.futures` reject work as soon as the interpreter shuts down, before the
server has ended its jobs; these threads work until they are stopped.
"""

from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import closing
from contextvars import copy_context
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_Task = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...]]


class WorkerThreads:
    """A pool of `count` threads; leaving the block waits for running calls."""

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._threads = [
            Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(count)
        ]

    def submit(self, call: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Run `call(*arguments)` on one of the threads, in this context; calls start in order."""
        future: Future[Any] = Future()
        self._tasks.put((future, copy_context().run, (call, *arguments)))
        return future

    def __enter__(self) -> "WorkerThreads":
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError:
            # The system has no more threads; stop those that have started.
            self._threads = [thread for thread in self._threads if thread.ident is not None]
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for _thread in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            _run(*task)
            # While a thread waits, it would keep what the last call was given and what it returned.
            del task


def _run(future: Future[Any], call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call(*arguments))
    except BaseException as error:
        future.set_exception(error)


def read_ahead(items: Generator[_Item, None, None], count: int) -> Generator[_Item, None, None]:
    """Yield the same items, produced by a thread up to `count` items ahead.

    Closing the generator waits for the item in progress and closes `items`.
    """
    made: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
    room = Semaphore(count)
    is_wanted = True

    def make() -> None:
        with closing(items):
            for item in items:
                made.put((True, item))
                room.acquire()
                if not is_wanted:
                    return

    def work() -> None:
        try:
            make()
        except BaseException as error:
            made.put((False, error))
        else:
            made.put((False, None))

    thread = Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            is_item, value = made.get()
            if is_item:
                yield value
                room.release()
            elif value is None:
                return
            else:
                raise value
    finally:
        is_wanted = False
        room.release()
        thread.join()
