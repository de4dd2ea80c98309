"""Calls that may block, such as reads from a database that stalls, for callers that must not."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Generic, TypeVar

Value = TypeVar("Value")


class SharedCall(Generic[Value]):
    """Makes a call on a thread of its own, for all callers that want it meanwhile. Thread-safe.

    However many they are, a call that blocks holds one thread; each caller decides how long it
    waits for the Future.
    """

    def __init__(self, call: Callable[[], Value], name: str) -> None:
        """`name` is that of the thread."""
        self._call = call
        self._name = name
        self._running: Future[Value] | None = None
        self._lock = Lock()

    def start(self) -> Future[Value]:
        """The call in progress, or a new one. Raises RuntimeError if no thread can be started."""
        with self._lock:
            if self._running is None or self._running.done():
                running: Future[Value] = Future()
                Thread(target=self._run, args=(running,), name=self._name, daemon=True).start()
                self._running = running
            return self._running

    def _run(self, running: Future[Value]) -> None:
        try:
            value = self._call()
        except Exception as error:
            running.set_exception(error)
        else:
            running.set_result(value)
