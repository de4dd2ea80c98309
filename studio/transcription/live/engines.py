"""The speech engines of live sessions, each loaded in its own thread.

Loading may include a download and take minutes; sessions with other variants do not wait for it.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from threading import Lock, Thread

from studio.transcription.engine import SpeechEngine

log = logging.getLogger(__name__)

Lease = Callable[[str], AbstractContextManager[SpeechEngine]]
"""Lends the engine of a variant."""


class _Slot:
    """The engine of a variant once it is loaded, or the loading error."""

    def __init__(self) -> None:
        self.engine: SpeechEngine | None = None
        self.error: Exception | None = None
        self.held = ExitStack()
        self.is_wanted = True


class Engines:
    """Holds each engine from its first use until it is released.

    `on_change` is called when an engine has been loaded or has failed to load.
    """

    def __init__(self, lease: Lease, on_change: Callable[[], None]) -> None:
        self._lease = lease
        self._on_change = on_change
        self._slots: dict[str, _Slot] = {}
        self._lock = Lock()

    def is_ready(self, variant: str) -> bool:
        """Whether `get` would return or raise at once; starts loading if necessary."""
        with self._lock:
            slot = self._slots.get(variant)
            if slot is None:
                slot = _Slot()
                name = f"load-{variant}"
                try:
                    Thread(target=self._load, args=(variant, slot), name=name, daemon=True).start()
                except RuntimeError as error:
                    log.warning("cannot load %s yet: %s", variant, error)
                    return False
                self._slots[variant] = slot
            return slot.engine is not None or slot.error is not None

    def get(self, variant: str) -> SpeechEngine:
        """The engine of a variant that is ready. Raises a loading error once, then loading is
        retried."""
        with self._lock:
            slot = self._slots[variant]
            if slot.error is not None:
                del self._slots[variant]
                raise slot.error
            assert slot.engine is not None
            return slot.engine

    def keep_only(self, variants: set[str]) -> None:
        """Release all other engines."""
        with self._lock:
            unused = [self._slots.pop(name) for name in set(self._slots) - variants]
            for slot in unused:
                slot.is_wanted = False
        for slot in unused:
            if slot.engine is not None:
                slot.held.close()

    def _load(self, variant: str, slot: _Slot) -> None:
        try:
            engine = slot.held.enter_context(self._lease(variant))
        except Exception as error:
            with self._lock:
                slot.error = error
        else:
            with self._lock:
                slot.engine = engine if slot.is_wanted else None
            if slot.engine is None:
                slot.held.close()
        self._on_change()
