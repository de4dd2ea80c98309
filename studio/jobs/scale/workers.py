"""The table of living workers: what they can run, for web servers that load no models."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from studio.inference.shared_call import SharedCall
from studio.inference.variants import Where
from studio.jobs import faults
from studio.jobs.database import Sessions
from studio.jobs.jobs import route
from studio.jobs.tables import WorkerRow

log = logging.getLogger(__name__)

# How long an answer about the living workers is used again.
KNOWN_FOR_S = 2.0
# How long to wait for the database.
WAIT_S = 2.0
# Of several workers, the one whose weights need no download.
PREFERRED = tuple(Where)


@dataclass(frozen=True)
class Capabilities:
    """What a worker can run: its queues (none: all), its device, and its models.

    The models are described as in `GET /models`.
    """

    queues: Sequence[str]
    device: str
    models: dict[str, Any]

    def variant(self, model: str, variant: str, queue: str) -> dict[str, Any] | None:
        """What the worker says about a variant; None if it does not run its jobs."""
        if self.queues and queue not in self.queues:
            return None
        description: dict[str, Any] | None = (
            self.models.get(model, {}).get("variants", {}).get(variant)
        )
        return description


class Workers:
    """The workers whose last heartbeat is less than `stalled_s` ago. Thread-safe.

    `routes` are the patterns and queues of `studio.jobs.jobs.route`.
    """

    def __init__(self, engine: Engine, routes: Sequence[tuple[str, str]], stalled_s: float) -> None:
        self._sessions = Sessions(engine)
        self._routes = routes
        self._stalled = timedelta(seconds=stalled_s)
        self._reading = SharedCall(self._read_living, "workers")
        self._living: list[Capabilities] | None = None
        self._looked_s = float("-inf")

    def announce(self, worker_id: str, capabilities: Capabilities) -> None:
        """Record a heartbeat, and what a worker can run; forget the workers that are dead."""
        row = WorkerRow(
            worker_id=worker_id,
            seen_at=func.now(),
            queues=list(capabilities.queues),
            device=capabilities.device,
            models=capabilities.models,
        )
        with self._sessions.begin() as session:
            session.execute(
                delete(WorkerRow).where(
                    WorkerRow.seen_at < func.now() - self._stalled,
                    WorkerRow.worker_id != worker_id,
                )
            )
            session.merge(row)

    def leave(self, worker_id: str) -> None:
        """Forget a worker that stops."""
        with self._sessions.begin() as session:
            session.execute(delete(WorkerRow).where(WorkerRow.worker_id == worker_id))

    def living(self) -> list[Capabilities]:
        """The living workers, as they were KNOWN_FOR_S ago or when the database last responded.

        Raises StorageUnavailable if it never has.
        """
        if time.monotonic() - self._looked_s > KNOWN_FOR_S:
            try:
                self._living = self._reading.start().result(WAIT_S)
            except TimeoutError:
                log.warning("cannot read the workers: the database does not respond")
            self._looked_s = time.monotonic()
        if self._living is None:
            raise faults.no_response()
        return self._living

    def _read_living(self) -> list[Capabilities]:
        alive = select(WorkerRow).where(WorkerRow.seen_at >= func.now() - self._stalled)
        with self._sessions.reading() as session:
            return [
                Capabilities(row.queues, row.device, row.models) for row in session.scalars(alive)
            ]

    def queue(self, model: str, variant: str) -> str:
        """The queue of the jobs of a variant."""
        return route(self._routes, model, variant)

    def can_run(self, model: str, variant: str) -> bool:
        """Whether a living worker takes the jobs of a variant."""
        queue = self.queue(model, variant)
        return any(one.variant(model, variant, queue) for one in self.living())

    def describe(self, model: str, variants: dict[str, Any]) -> dict[str, Any]:
        """Variants of a model, described as the workers that run them do.

        Each gets `workers`: their number by device. A variant that no worker runs is described as
        in `variants`.
        """
        return {name: self._described(model, name, own) for name, own in variants.items()}

    def _described(self, model: str, name: str, own: dict[str, Any]) -> dict[str, Any]:
        queue = self.queue(model, name)
        descriptions = [
            (one.device, described)
            for one in self.living()
            if (described := one.variant(model, name, queue))
        ]
        best = min(
            (described for _, described in descriptions),
            key=lambda described: PREFERRED.index(described["weights"]),
            default=own,
        )
        return {**best, "workers": dict(Counter(device for device, _ in descriptions))}


class Heartbeat:
    """Announces a worker every `every_s` on its own thread. `capabilities` is called each time."""

    def __init__(
        self, workers: Workers, capabilities: Callable[[], Capabilities], every_s: float
    ) -> None:
        self._workers = workers
        self._capabilities = capabilities
        self._every_s = every_s
        self._worker_id = uuid4().hex
        self._stopping = Event()
        self._thread = Thread(target=self._loop, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, and forget the worker."""
        self._stopping.set()
        self._thread.join(10)
        try:
            self._workers.leave(self._worker_id)
        except SQLAlchemyError:
            log.warning("could not unregister; web servers count this worker for a while longer")

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self._workers.announce(self._worker_id, self._capabilities())
            except Exception:
                log.warning("could not announce this worker; retrying", exc_info=True)
            self._stopping.wait(self._every_s)
