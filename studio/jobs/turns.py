"""Turn-taking between clients."""

from collections.abc import Iterable


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
