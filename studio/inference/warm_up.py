"""Loads the configured models when the server starts, and tells when it is ready for work.

A model that cannot be loaded is tried again, ever more rarely: a download that failed may succeed
later, and weights may be put into their place.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain, repeat
from threading import Event, Lock, Thread
from typing import Any, TypeVar

from studio.errors import StudioError

log = logging.getLogger(__name__)

LOADING, READY = "loading", "ready"
# Seconds between one attempt and the next; the last is repeated.
DELAYS_S = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
# Checking writes a little.
CHECK_STORAGE_EVERY_S = 5.0
AGAIN = "The server tries again by itself."

Model = TypeVar("Model")
Leases = Mapping[str, Callable[[], AbstractContextManager[Any]]]
"""For each model, by name, how it is leased."""


@contextmanager
def used(
    lease: Callable[[], AbstractContextManager[Model]], use: Callable[[Model], None]
) -> Iterator[Model]:
    """A lease whose model was used once, so that nothing is left for its first job to make."""
    with lease() as model:
        use(model)
        yield model


class StorageCheck:
    """Whether what the server stores can be written, by name; looked at every few seconds."""

    def __init__(self, checks: Mapping[str, Callable[[], None]]) -> None:
        """Each check raises a StudioError that says why not."""
        self._checks = checks
        self._states: dict[str, str] = {}
        self._checked_s = float("-inf")
        self._lock = Lock()

    def states(self) -> dict[str, str]:
        """`ready`, or the sentence that says why it cannot be written."""
        with self._lock:
            if time.monotonic() - self._checked_s > CHECK_STORAGE_EVERY_S:
                self._states = {name: _state(check) for name, check in self._checks.items()}
                self._checked_s = time.monotonic()
            return dict(self._states)


def _state(check: Callable[[], None]) -> str:
    try:
        check()
    except StudioError as error:
        return error.sentence
    return READY


class Readiness:
    """Which models are loaded. Ready when all are; at once where none is waited for."""

    def __init__(self, delays_s: Sequence[float] = DELAYS_S) -> None:
        self._delays_s = delays_s
        self._states: dict[str, str] = {}
        self._lock = Lock()
        self._stopping = Event()

    def warm_up(self, leases: Leases) -> None:
        """Load the models one after the other, in the background."""
        self._states = dict.fromkeys(leases, LOADING)
        Thread(target=self._run, args=(leases,), name="warm-up", daemon=True).start()

    def stop(self) -> None:
        """Try no more."""
        self._stopping.set()

    @property
    def states(self) -> dict[str, str]:
        """`loading`, `ready`, or the sentence that says why a model cannot be loaded."""
        with self._lock:
            return dict(self._states)

    @property
    def is_ready(self) -> bool:
        return all(state == READY for state in self.states.values())

    def _run(self, leases: Leases) -> None:
        missing = self._load(leases)
        for delay_s in chain(self._delays_s, repeat(self._delays_s[-1])):
            if not missing or self._stopping.wait(delay_s):
                return
            missing = self._load(missing)

    def _load(self, leases: Leases) -> Leases:
        """Load some models; those that may be tried again."""
        missing = {}
        # All are held until the last is loaded: an idle one would make room for the next.
        with ExitStack() as held:
            for name, lease in leases.items():
                try:
                    held.enter_context(lease())
                    state = READY
                except StudioError as error:
                    missing[name] = lease
                    state = f"{error.sentence} {AGAIN}"
                    log.error("the model %s cannot be used: %s", name, state)
                except Exception:
                    state = "It cannot be loaded because of a defect; the log has the cause."
                    log.exception("the model %s cannot be loaded", name)
                with self._lock:
                    self._states[name] = state
        return missing
