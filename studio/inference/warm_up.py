"""Loads the configured models when the server starts, and reports readiness.

Failed models are retried with increasing delays: a download may succeed later, and an operator may
add missing weights.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain, repeat
from threading import Event, Lock, Thread
from types import MappingProxyType
from typing import TypeVar

from studio.errors import StudioError
from studio.inference.shared_call import SharedCall

log = logging.getLogger(__name__)

LOADING, READY = "loading", "ready"
# Delays between attempts; the last one is repeated.
DELAYS_S = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
# The check writes to the disk and the database.
CHECK_STORAGE_EVERY_S = 5.0
# How long a busy disk may take.
STORAGE_WAIT_S = 4.0
AGAIN = "The server retries automatically."

Model = TypeVar("Model")
Leases = Mapping[str, Callable[[], AbstractContextManager[str | None]]]
"""For each model name, a function that leases the model and returns its remark."""
Remarks = Mapping[str, Callable[[], str | None]]
"""For each model name, a function that returns why the model will not run on the best device."""


@contextmanager
def warmed_up(
    lease: Callable[[], AbstractContextManager[Model]],
    use: Callable[[Model], None],
    remark: Callable[[Model], str | None],
) -> Iterator[str | None]:
    """Lease a model and use it once, so that its first job has no start-up cost.

    Returns the remark of the model: why it does not run on the best device or engine.
    """
    with lease() as model:
        use(model)
        yield remark(model)


class StorageCheck:
    """Whether each kind of storage can be written; checked at most every few seconds.

    A storage that blocks, such as a stalled database, keeps no caller longer than a few seconds.
    """

    def __init__(self, checks: Mapping[str, Callable[[], None]]) -> None:
        """Each check raises a StudioError if its storage cannot be written."""
        self._checks = {name: SharedCall(check, f"check-{name}") for name, check in checks.items()}
        self._states: dict[str, str] = {}
        self._checked_s = float("-inf")

    def states(self) -> dict[str, str]:
        """For each kind of storage, `ready`, or why it cannot be written."""
        if time.monotonic() - self._checked_s > CHECK_STORAGE_EVERY_S:
            ends_s = time.monotonic() + STORAGE_WAIT_S
            running = {name: check.start() for name, check in self._checks.items()}
            self._states = {name: _state(check, ends_s) for name, check in running.items()}
            self._checked_s = time.monotonic()
        return dict(self._states)


def _state(check: Future[None], ends_s: float) -> str:
    try:
        check.result(max(0.0, ends_s - time.monotonic()))
    except StudioError as error:
        return error.sentence
    except TimeoutError:
        return f"It has not responded for {STORAGE_WAIT_S:.0f} s."
    return READY


class Readiness:
    """Which startup models are loaded. Ready once all are."""

    def __init__(self, delays_s: Sequence[float] = DELAYS_S) -> None:
        self._delays_s = delays_s
        self._states: dict[str, str] = {}
        self._notes: dict[str, str] = {}
        self._lock = Lock()
        self._stopping = Event()

    def warm_up(self, leases: Leases, later: Remarks = MappingProxyType({})) -> None:
        """Load the models in sequence, in the background.

        Models in `later` are not loaded; only their device notes are recorded.
        """
        self._states = dict.fromkeys(leases, LOADING)
        Thread(target=self._run, args=(leases, later), name="warm-up", daemon=True).start()

    def stop(self) -> None:
        """Stop retrying."""
        self._stopping.set()

    @property
    def states(self) -> dict[str, str]:
        """For each model, `loading`, `ready`, or why it cannot be loaded."""
        with self._lock:
            return dict(self._states)

    @property
    def notes(self) -> dict[str, str]:
        """For each model that does not or will not run on the best device, the reason."""
        with self._lock:
            return dict(self._notes)

    @property
    def is_ready(self) -> bool:
        return all(state == READY for state in self.states.values())

    def _run(self, leases: Leases, later: Remarks) -> None:
        for name, remark in later.items():
            if note := remark():
                with self._lock:
                    self._notes[name] = note
        missing = self._load(leases)
        for delay_s in chain(self._delays_s, repeat(self._delays_s[-1])):
            if not missing or self._stopping.wait(delay_s):
                return
            missing = self._load(missing)

    def _load(self, leases: Leases) -> Leases:
        """Load the given models. Returns those to retry."""
        missing = {}
        # Hold all leases until the last model is loaded: idle models are unloaded for others.
        with ExitStack() as held:
            for name, lease in leases.items():
                note = None
                try:
                    note = held.enter_context(lease())
                    state = READY
                except StudioError as error:
                    missing[name] = lease
                    state = f"{error.sentence} {AGAIN}"
                    log.error("cannot load the model %s: %s", name, state)
                except Exception:
                    state = "It cannot be loaded because of a bug; the log has the cause."
                    log.exception("cannot load the model %s", name)
                with self._lock:
                    self._states[name] = state
                    if note:
                        self._notes[name] = note
        return missing
