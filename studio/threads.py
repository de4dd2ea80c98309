"""Threads that models run on, beside or ahead of the caller.

Those of `concurrent.futures` refuse work as soon as the interpreter begins to end, before the
server could bring its jobs to their ends in order; these go on until they are told.
"""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any

_Task = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...]]


class WorkerThreads:
    """`count` threads; leaving the block waits for the calls that run."""

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._threads = [
            Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(count)
        ]

    def submit(self, call: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Run `call(*arguments)` on one of the threads; calls begin in their order."""
        future: Future[Any] = Future()
        self._tasks.put((future, call, arguments))
        return future

    def __enter__(self) -> "WorkerThreads":
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError:
            # The system gives no more threads: those that it gave have to end.
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
            future, call, arguments = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call(*arguments))
            except BaseException as error:
                future.set_exception(error)
