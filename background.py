"""Workers and keepers: the roles that serve no requests. `ROLE=worker python background.py`.

docs/scaling.md describes the roles.
"""

import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Event

from config import Config, ConfigError
from core import SHUTDOWN_S, Core, make_executor, make_quota, make_webhooks, open_core
from models import FAMILIES, AnyFamily, MakeFamily
from studio.inference.devices import choose_device
from studio.jobs.housekeeping import Housekeeper
from studio.jobs.outbox import Outbox
from studio.jobs.scale.changes import Changes
from studio.jobs.scale.jobs import SharedJobs
from studio.jobs.scale.keeper import Keeper
from studio.jobs.scale.store import SharedJobStore
from studio.jobs.scale.worker import Worker, WorkerSettings
from studio.jobs.scale.workers import Capabilities, Heartbeat

log = logging.getLogger(__name__)

ROLES = ("worker", "keeper")
Families = Mapping[type[AnyFamily], MakeFamily]
# Between the stored reports of a job.
REPORT_EVERY_S = 2.0


def start_worker(config: Config, families: Families = FAMILIES) -> ExitStack:
    """Start to run jobs of the queue. Close the result to stop. Raises ConfigError."""
    with ExitStack() as started:
        core = open_core(config, started, families)
        assert isinstance(core.store, SharedJobStore)
        quota = make_quota(config, core)
        worker = Worker(
            core.store,
            make_executor(core, on_end=quota.charge, report_every_s=REPORT_EVERY_S),
            Changes(core.store.url),
            WorkerSettings(
                config.WORKER_QUEUES,
                config.WORKERS,
                config.WORKER_HEARTBEAT_S,
                config.WORKER_STALLED_S,
            ),
        )
        started.callback(worker.stop, SHUTDOWN_S)
        worker.start()
        heartbeat = _heartbeat(config, core)
        started.callback(heartbeat.stop)
        heartbeat.start()
        return started.pop_all()


def _heartbeat(config: Config, core: Core) -> Heartbeat:
    """Announces a worker with what it can run."""
    assert core.workers is not None

    def capabilities() -> Capabilities:
        # Weights may be added or downloaded while it runs.
        device = choose_device(config.DEVICE).name
        return Capabilities(config.WORKER_QUEUES, device, core.models.own_description())

    return Heartbeat(core.workers, capabilities, config.WORKER_HEARTBEAT_S)


def start_keeper(config: Config, families: Families = FAMILIES) -> ExitStack:
    """Start to look after jobs, files and webhooks. Close the result to stop.

    Raises ConfigError.
    """
    with ExitStack() as started:
        core = open_core(config, started, families)
        store = core.store
        assert isinstance(store, SharedJobStore)
        quota = make_quota(config, core)
        jobs = SharedJobs(store, Changes(store.url), quota.charge)
        outbox = Outbox(core.engine)
        webhooks = make_webhooks(config, outbox, core.models)

        @contextmanager
        def duties() -> Iterator[None]:
            housekeeper = Housekeeper(core.storage, store, jobs, outbox, config.RETENTION_HOURS)
            housekeeper.start()
            try:
                yield
            finally:
                housekeeper.stop()

        keeper = Keeper(store, duties, quota.charge, stalled_s=config.WORKER_STALLED_S)
        started.callback(webhooks.stop)
        started.callback(keeper.stop, SHUTDOWN_S)
        webhooks.start()
        keeper.start()
        return started.pop_all()


def run(config: Config, families: Families = FAMILIES) -> None:
    """Run a worker or a keeper until SIGTERM or SIGINT. Raises ConfigError."""
    ended = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    start = start_worker if config.ROLE == "worker" else start_keeper
    with start(config, families):
        log.info("the %s is running", config.ROLE)
        ended.wait()
        log.info("the %s is stopping", config.ROLE)


def main() -> None:
    try:
        config = Config.load()
        if config.ROLE not in ROLES:
            raise ConfigError(f"ROLE={config.ROLE!r} serves requests: start app.py.")
        run(config)
    except ConfigError as error:
        raise SystemExit(f"The server cannot start: {error}") from None


if __name__ == "__main__":
    main()
