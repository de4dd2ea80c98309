"""Fairness between clients that share a few places, and pauses for hosts that fail."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

FIRST_PAUSE_S = 5.0
MAX_PAUSE_S = 600.0


class Turns:
    """Whose turn it is: that of the client whose last turn is longest ago."""

    def __init__(self) -> None:
        self._last: dict[str | None, int] = {}
        self._count = 0

    def order(self, waiting: Iterable[str | None]) -> list[str | None]:
        """The waiting clients, next one first. Turns of clients that wait no more are forgotten."""
        clients = set(waiting)
        self._last = {client: turn for client, turn in self._last.items() if client in clients}
        return sorted(clients, key=lambda client: (self._last.get(client, 0), client or ""))

    def take(self, client: str | None) -> None:
        self._count += 1
        self._last[client] = self._count


@dataclass(frozen=True)
class _Pause:
    failures: int
    until_s: float


class Pauses:
    """Growing pauses for hosts that failed several times in a row."""

    def __init__(self) -> None:
        self._pauses: dict[Hashable, _Pause] = {}

    def until_s(self, host: Hashable, now_s: float) -> float:
        """When the host may be tried again; 0 if at once."""
        pause = self._pauses.get(host)
        # No pause is that long: the clock was set back.
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
