"""Loads the configured models when the server starts, and tells when it is ready for work."""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from threading import Lock, Thread
from typing import Any

from studio.errors import StudioError

log = logging.getLogger(__name__)

LOADING, READY = "loading", "ready"

Leases = Mapping[str, Callable[[], AbstractContextManager[Any]]]
"""For each model, by name, how it is leased."""


class Readiness:
    """Which models are loaded. Ready when all are; at once where none is waited for."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._lock = Lock()

    def warm_up(self, leases: Leases) -> None:
        """Load the models one after the other, in the background."""
        self._states = dict.fromkeys(leases, LOADING)
        Thread(target=self._load, args=(leases,), name="warm-up", daemon=True).start()

    @property
    def states(self) -> dict[str, str]:
        """`loading`, `ready`, or the sentence that says why a model cannot be loaded."""
        with self._lock:
            return dict(self._states)

    @property
    def is_ready(self) -> bool:
        return all(state == READY for state in self.states.values())

    def _load(self, leases: Leases) -> None:
        # All are held until the last is loaded: an idle one would make room for the next.
        with ExitStack() as held:
            for name, lease in leases.items():
                try:
                    held.enter_context(lease())
                    state = READY
                except StudioError as error:
                    state = error.sentence
                    log.error("the model %s cannot be used: %s", name, state)
                except Exception:
                    state = "It cannot be loaded because of a defect; the log has the cause."
                    log.exception("the model %s cannot be loaded", name)
                with self._lock:
                    self._states[name] = state
