"""Shared loaded models: leased with `with`, kept while in use, unloaded after an idle time."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, RLock, Timer
from typing import Any

from studio.inference.devices import release_memory
from studio.inference.process import release_free_memory

log = logging.getLogger(__name__)


class _Slot:
    """A loaded model, its number of users, and since when it has been idle."""

    def __init__(self) -> None:
        self.loading = Lock()
        self.model: Any = None
        self.users = 0
        self.idle_since_s = time.monotonic()
        self.timer: Timer | None = None

    def start_timer(self, after_s: float, unload: Callable[[float], None], idle_s: float) -> None:
        self.stop_timer()
        self.timer = Timer(after_s, unload, [idle_s])
        self.timer.daemon = True
        try:
            self.timer.start()
        except RuntimeError as error:
            # Results of the user may have been published, so this is no error for it.
            log.warning("a model stays loaded until the next one is used: %s", error)

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Registry:
    """Loaded models by name. Thread-safe; concurrent requests load a model only once."""

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        # Called with the name and the loading time of every loaded model.
        self.on_load: Callable[[str, float], None] = lambda _name, _took_s: None
        self._slots: dict[str, _Slot] = {}
        self._lock = RLock()

    @contextmanager
    def lease(self, name: str, load: Callable[[], Any]) -> Iterator[Any]:
        """The model `name`, loaded with `load` if necessary, and kept while the block runs.

        Unused models are unloaded before another one is loaded.
        """
        with self._lock:
            slot = self._slots.setdefault(name, _Slot())
            slot.users += 1
        try:
            with slot.loading:
                if slot.model is None:
                    self._unload_idle(0.0)
                    began_s = time.monotonic()
                    slot.model = load()
                    release_free_memory()
                    took_s = time.monotonic() - began_s
                    log.info("loaded %s in %.1f s", name, took_s)
                    self.on_load(name, took_s)
            yield slot.model
        finally:
            self._release(slot)

    def loaded(self) -> list[str]:
        with self._lock:
            return sorted(name for name, slot in self._slots.items() if slot.model is not None)

    def _release(self, slot: _Slot) -> None:
        with self._lock:
            slot.users -= 1
            slot.idle_since_s = time.monotonic()
            slot.start_timer(self._idle_s + 0.05, self._unload_idle, self._idle_s)

    def _unload_idle(self, idle_s: float) -> None:
        now_s = time.monotonic()
        with self._lock:
            unloaded = [
                name
                for name, slot in self._slots.items()
                if slot.users == 0 and now_s - slot.idle_since_s >= idle_s
            ]
            for name in unloaded:
                self._slots.pop(name).stop_timer()
                log.info("unloaded %s", name)
        if unloaded:
            release_memory()
