"""Limits on what clients do at the same time, which all servers count together in PostgreSQL."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from studio.concurrency import ConcurrencyLimit, LimitReached
from studio.jobs.scale.changes import Changes

log = logging.getLogger(__name__)

# How long a request waits for PostgreSQL, and when one that did not respond is tried again.
WAIT_S = 1.0
AGAIN_S = 5.0
# Each end notices within seconds that the other machine is gone.
TIMEOUTS: dict[str, Any] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 5000,
    "options": "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 "
    "-c idle_session_timeout=0",
}
# LIMIT ends the scan once it has taken enough locks, because nothing sorts or joins the rows.
LOCK = "SELECT key FROM unnest(%s::bigint[]) AS key WHERE pg_try_advisory_lock(key) LIMIT %s"
UNLOCK = "SELECT pg_advisory_unlock(key) FROM unnest(%s::bigint[]) AS key"


@dataclass
class _Group:
    """The slots of a group: how many this process uses, and the keys that it holds."""

    name: str
    limit: int
    used: int = 0
    keys: list[int] = field(default_factory=list)

    def settle(self, connection: Any) -> None:
        """Hold as many slots as are used, if there are enough."""
        missing = self.used - len(self.keys)
        if missing > 0:
            # A connection that asks for a lock that it holds gets it once more.
            others = sorted(self._all_keys() - set(self.keys))
            self.keys += [key for (key,) in connection.execute(LOCK, (others, missing))]
        else:
            connection.execute(UNLOCK, (self.keys[self.used :],))
            del self.keys[self.used :]

    def _all_keys(self) -> set[int]:
        return {_key(f"{self.name}/{number}") for number in range(self.limit)}


class SharedSlots:
    """Groups of slots, each of which one process holds at a time, as an advisory lock.

    One connection holds all of them, so the slots of a process that dies are free at once. While
    PostgreSQL does not respond, this process only counts; when it is back, it takes as many of its
    slots again as are free. One thread does all of this, so nobody waits longer than `WAIT_S`.
    """

    def __init__(self, changes: Changes) -> None:
        self._conninfo = changes.conninfo
        self._groups: dict[str, _Group] = {}
        self._connection: Any = None
        self._away_until_s = float("-inf")
        self._thread = ThreadPoolExecutor(1, "slots")
        changes.add_listener(self._heard)

    def acquire(self, group: str, limit: int) -> bool:
        """Use another slot of a group, which has `limit`. Returns False if all are held."""
        taking = self._thread.submit(self._acquire, group, limit)
        try:
            return taking.result(WAIT_S)
        except TimeoutError:
            taking.cancel()
            self._thread.submit(self._grant_unconfirmed, group, limit, taking)
            return True

    def release(self, group: str) -> None:
        self._begin(self._release, group)

    def stop(self) -> None:
        """Free all slots, and count only in this process from now on."""
        self._begin(self._stop)

    def _heard(self, job_id: str | None) -> None:
        if job_id is None:
            self._begin(self._recover)

    def _begin(self, task: Callable[..., None], *arguments: Any) -> None:
        # A process that exits accepts no more tasks, and its slots end with it.
        with suppress(RuntimeError):
            self._thread.submit(task, *arguments)

    def _acquire(self, name: str, limit: int) -> bool:
        group = self._use(name, limit)
        self._settle([group])
        if self._connection is None or len(group.keys) >= group.used:
            return True
        self._release(name)
        return False

    def _grant_unconfirmed(self, name: str, limit: int, taking: Future[bool]) -> None:
        """Count a slot that was granted because PostgreSQL did not answer in time."""
        if taking.cancelled() or not taking.result():
            self._use(name, limit)

    def _use(self, name: str, limit: int) -> _Group:
        group = self._groups.setdefault(name, _Group(name, limit))
        group.used += 1
        return group

    def _release(self, name: str) -> None:
        group = self._groups[name]
        group.used -= 1
        self._settle([group])
        if group.used == 0:
            del self._groups[name]

    def _recover(self) -> None:
        """Take lost slots again after an interruption."""
        if self._groups and self._away_until_s < float("inf"):
            self._away_until_s = float("-inf")
            self._settle(self._groups.values())

    def _settle(self, groups: Iterable[_Group]) -> None:
        if time.monotonic() < self._away_until_s:
            return
        may_have_restarted = self._connection is not None
        if not self._try_to_settle(groups) and may_have_restarted:
            self._try_to_settle(groups)

    def _try_to_settle(self, groups: Iterable[_Group]) -> bool:
        """Returns False if PostgreSQL does not respond."""
        import psycopg

        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._conninfo, autocommit=True, **TIMEOUTS)
                groups = self._groups.values()
            for group in groups:
                group.settle(self._connection)
        except psycopg.Error as error:
            log.warning("cannot count clients in PostgreSQL, counting here: %s", error)
            self._close()
            self._away_until_s = time.monotonic() + AGAIN_S
            return False
        self._away_until_s = float("-inf")
        return True

    def _close(self) -> None:
        """The slots end with the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for group in self._groups.values():
            group.keys.clear()

    def _stop(self) -> None:
        self._close()
        self._away_until_s = float("inf")


class SharedConcurrencyLimit(ConcurrencyLimit):
    """`ConcurrencyLimit` with one limit per client for all servers together.

    With `shares_total`, the limit of all clients is shared too; otherwise it applies to each
    server. `name` distinguishes this limit from others.
    """

    def __init__(
        self,
        name: str,
        slots: SharedSlots,
        max_total: int,
        max_per_client: int,
        *,
        shares_total: bool,
    ) -> None:
        super().__init__(max_total, max_per_client)
        self._name = name
        self._slots = slots
        self._shares_total = shares_total

    def acquire(self, client: str) -> LimitReached | None:
        reached = super().acquire(client)
        if reached is not None:
            return reached
        taken: list[str] = []
        for group, limit in self._groups(client):
            if not self._slots.acquire(group, limit.limit):
                super().release(client)
                for other in taken:
                    self._slots.release(other)
                return limit
            taken.append(group)
        return None

    def release(self, client: str) -> None:
        super().release(client)
        for group, _ in self._groups(client):
            self._slots.release(group)

    def _groups(self, client: str) -> list[tuple[str, LimitReached]]:
        """The names of the groups in which a client takes slots, and their limits."""
        groups = []
        if self.max_per_client > 0:
            limit = LimitReached(self.max_per_client, of_client=True)
            groups.append((f"{self._name}/{client}", limit))
        if self._shares_total:
            groups.append((self._name, LimitReached(self.max_total, of_client=False)))
        return groups


def _key(name: str) -> int:
    """The advisory lock of a slot."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
