"""Turn-taking between clients, and pauses for failing hosts."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

FIRST_PAUSE_S = 5.0
MAX_PAUSE_S = 600.0


class Turns:
    """The next turn goes to the client whose last turn is longest ago.

    A client that was not waiting is placed just before the client of the latest turn. So each
    waiting client is overtaken by each other one at most once. Clients are given in the order of
    their arrival.
    """

    def __init__(self) -> None:
        self._last: dict[str | None, float] = {}
        self._count = 0

    def order(self, waiting: Iterable[str | None]) -> list[str | None]:
        """The waiting clients, the next one first."""
        return sorted(dict.fromkeys(waiting), key=self._last_turn)

    def take(self, client: str | None, waiting: Iterable[str | None]) -> None:
        """Give a waiting client its turn. Forgets clients that do not wait."""
        last = {other: self._last_turn(other) for other in waiting}
        self._count += 1
        self._last = {**last, client: self._count}

    def _last_turn(self, client: str | None) -> float:
        return self._last.get(client, self._count - 0.5)


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
