"""Pauses for hosts that cannot be reached."""

from collections.abc import Hashable
from dataclasses import dataclass

FIRST_PAUSE_S = 5.0
MAX_PAUSE_S = 600.0


@dataclass(frozen=True)
class _Pause:
    failures: int
    until_s: float


class Pauses:
    """Increasing pauses for hosts that fail repeatedly."""

    def __init__(self) -> None:
        self._pauses: dict[Hashable, _Pause] = {}

    def until_s(self, host: Hashable, now_s: float) -> float:
        """When the host may be tried again; 0: now."""
        pause = self._pauses.get(host)
        # Pauses are never that long, so the clock was set back.
        if pause is None or pause.until_s > now_s + MAX_PAUSE_S:
            return 0.0
        return pause.until_s

    def failed(self, host: Hashable, now_s: float) -> None:
        self._pauses = {
            other: pause
            for other, pause in self._pauses.items()
            if now_s < pause.until_s + MAX_PAUSE_S
        }
        earlier = self._pauses.get(host)
        failures = earlier.failures if earlier else 0
        pause_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 30))
        self._pauses[host] = _Pause(failures + 1, now_s + pause_s)

    def succeeded(self, host: Hashable) -> None:
        self._pauses.pop(host, None)
