"""The Flask application: builds the parts of the server and puts them together."""

import atexit
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from flask import Flask
from flask_socketio import SocketIO
from sqlalchemy import Engine

from config import Config, ConfigError
from core import ALL, LIVE, SHUTDOWN_S, Core, make_executor, make_quota, make_webhooks, open_core
from models import FAMILIES, AnyFamily, MakeFamily, Models
from studio import __version__
from studio.concurrency import ConcurrencyLimit
from studio.inference.warm_up import Readiness, StorageCheck
from studio.jobs import faults
from studio.jobs.housekeeping import Housekeeper
from studio.jobs.intake import Intake
from studio.jobs.job import Job
from studio.jobs.jobs import Jobs
from studio.jobs.outbox import Outbox
from studio.jobs.quota import Quota
from studio.jobs.runner import JobRunner
from studio.jobs.scale.changes import Changes
from studio.jobs.scale.jobs import SharedJobs
from studio.jobs.scale.shared_limits import SharedConcurrencyLimit, SharedSlots
from studio.jobs.scale.store import SharedJobStore
from studio.jobs.store import JobStore
from studio.jobs.webhooks import Webhooks
from studio.settings.folders import install_command
from studio.storage.storage import Storage
from studio.transcription.live.scheduler import Scheduler
from studio.transcription.live.settings import Limits
from studio.web import application, compat, problems, rates
from studio.web.access import Access
from studio.web.bounds import UploadBounds
from studio.web.live import jobs as live_jobs
from studio.web.live import server as live_server
from studio.web.live import transcription as live_transcription
from studio.web.live.namespaces import notify_shutdown
from studio.web.metrics import CurrentValues, Metrics
from studio.web.pace import Pace
from studio.web.services import Services

if TYPE_CHECKING:
    from studio.web.compat.wyoming.server import WyomingServer

# The roles that serve requests.
SERVING = (*LIVE, "web")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """The running parts of a server. `stop` ends them, in the reverse order of their start.

    `socketio` is None if the server has no live connections.
    """

    runner: Jobs
    scheduler: Scheduler
    store: JobStore
    socketio: SocketIO | None
    wyoming: "WyomingServer | None"
    started: ExitStack

    def drain(self) -> None:
        """Accept no more work: close live connections, and return running jobs to the queue."""
        if self.socketio is not None:
            for path in (live_transcription.PATH, live_jobs.PATH):
                notify_shutdown(self.socketio, path)
        if self.wyoming is not None:
            self.wyoming.stop()
        self.scheduler.stop()
        self.runner.stop(SHUTDOWN_S)

    def stop(self) -> None:
        self.started.close()


def create_app(
    config: Config | None = None,
    warm_up: bool = False,
    *,
    families: Mapping[type[AnyFamily], MakeFamily] = FAMILIES,
    store_type: type[JobStore] = JobStore,
    upload_pace: Pace | None = None,
) -> Flask:
    """The application, with its job threads running. Ends them when the process exits.

    With `warm_up` the models of its role are loaded at once, in the background. `families`,
    `store_type` and `upload_pace` replace parts of the server. Raises ConfigError when a setting
    cannot be used; whatever was started by then is stopped.
    """
    config = config or Config.load()
    if config.ROLE not in SERVING:
        raise ConfigError(
            f"ROLE={config.ROLE!r} serves no requests. Start it with production.py, or with "
            "background.py."
        )
    with ExitStack() as started:
        core = open_core(config, started, families, store_type)
        store, models = core.store, core.models
        changes = Changes(store.url) if isinstance(store, SharedJobStore) else None
        concurrency = _concurrency(config, changes, started)
        scheduler = Scheduler(models.speech().lease, concurrency.live)
        metrics = _metrics(core.storage, store, scheduler)
        models.registry.on_load = metrics.model_loaded
        jobs = _jobs(config, core, changes, scheduler.give_way)
        uploads = _upload_bounds(config, concurrency.uploads)
        services = _services(config, core, jobs, uploads, upload_pace or Pace())
        live_speech = _live_speech(config, scheduler, models)
        app, socketio = _web(config, services, metrics, live_speech, started)
        _start(started, config, jobs, scheduler, services.readiness)
        wyoming = _wyoming(config, scheduler, models, started) if live_speech else None
        if live_speech:
            own = models.all() if config.ROLE == ALL else [models.speech()]
            at_start = models.at_start(own) if warm_up else {}
            services.readiness.warm_up(at_start, models.device_notes(own, at_start))
        parts = Parts(jobs.runner, scheduler, store, socketio, wyoming, started.pop_all())
    app.extensions["parts"] = parts
    atexit.register(parts.stop)
    return app


@dataclass(frozen=True)
class _Jobs:
    """The job runner and its helpers."""

    runner: Jobs
    intake: Intake
    quota: Quota
    webhooks: Webhooks
    housekeeper: Housekeeper


def _jobs(
    config: Config, core: Core, changes: Changes | None, give_way: Callable[[], None]
) -> _Jobs:
    storage, store = core.storage, core.store
    outbox = Outbox(core.engine)
    webhooks = make_webhooks(config, outbox, core.models)
    quota = make_quota(config, core)

    def on_end(job: Job) -> None:
        quota.charge(job)
        webhooks.wake()

    runner: Jobs
    if isinstance(store, SharedJobStore) and changes is not None:
        runner = SharedJobs(store, changes, on_end)
    else:
        runner = JobRunner(
            store,
            make_executor(core, give_way=give_way, on_end=on_end),
            workers=config.WORKERS,
            max_queued=config.MAX_QUEUED_JOBS,
            max_per_client=config.MAX_CLIENT_JOBS,
        )
    intake = Intake(storage, store, runner, quota=quota, webhooks=webhooks)
    housekeeper = Housekeeper(storage, store, runner, outbox, config.RETENTION_HOURS)
    return _Jobs(runner, intake, quota, webhooks, housekeeper)


def _services(
    config: Config, core: Core, jobs: _Jobs, uploads: UploadBounds, upload_pace: Pace
) -> Services:
    """What the views use."""
    return Services(
        storage=core.storage,
        store=core.store,
        runner=jobs.runner,
        intake=jobs.intake,
        models=core.models,
        uploads=uploads,
        upload_pace=upload_pace,
        version=__version__,
        readiness=Readiness(),
        storage_check=_storage_check(core.storage, core.engine),
        workers=core.workers,
        access=Access(config.API_KEYS, config.cors_origins, config.METRICS_KEY),
        webhooks=jobs.webhooks,
        quota=jobs.quota,
        partials=core.models.partials,
        fonts=config.fonts_dir,
        secret=config.SECRET_KEY,
    )


def _start(
    started: ExitStack, config: Config, jobs: _Jobs, scheduler: Scheduler, readiness: Readiness
) -> None:
    """Start the threads, which end in the reverse order."""
    started.callback(jobs.runner.stop, SHUTDOWN_S)
    started.callback(scheduler.stop)
    started.callback(jobs.housekeeper.stop)
    started.callback(jobs.webhooks.stop)
    started.callback(readiness.stop)
    jobs.runner.start()
    if config.ROLE == ALL:
        jobs.webhooks.start()
        jobs.housekeeper.start()


def _live_speech(config: Config, scheduler: Scheduler, models: Models) -> live_server.Live | None:
    """Where live speech is transcribed; None if other servers do it."""
    if config.ROLE not in LIVE:
        return None
    speech = models.speech()
    return live_server.Live(
        scheduler,
        _live_limits(config),
        speech.default,
        speech.family.catalogue,
        node="" if config.ROLE == ALL else config.node,
    )


def _wyoming(
    config: Config, scheduler: Scheduler, models: Models, started: ExitStack
) -> "WyomingServer | None":
    """The started server for Wyoming clients, if there is to be one."""
    if config.WYOMING_PORT == 0:
        return None
    from studio.web.compat.wyoming.info import Speech
    from studio.web.compat.wyoming.server import WyomingServer

    speech = models.speech()
    catalogue = speech.family.catalogue
    server = WyomingServer(
        Speech(scheduler, _live_limits(config), catalogue, speech.default, __version__)
    )
    started.callback(server.stop)
    try:
        server.start(config.WYOMING_HOST, config.WYOMING_PORT)
    except OSError as error:
        address = f"WYOMING_HOST={config.WYOMING_HOST}, WYOMING_PORT={config.WYOMING_PORT}"
        raise ConfigError(f"{address} cannot be used: {error.strerror or error}.") from None
    return server


def _web(
    config: Config,
    services: Services,
    metrics: Metrics,
    live_speech: live_server.Live | None,
    started: ExitStack,
) -> tuple[Flask, SocketIO | None]:
    """The Flask application with its routes, and its Socket.IO server if it has live speech."""
    error_formats = problems.ErrorFormats()
    app = _flask(config, services, metrics, error_formats)
    compat.register(app, services, error_formats, live_speech)
    socketio = live_server.add(app, live_speech, services.access) if live_speech else None
    if socketio is not None:
        started.callback(live_jobs.add(socketio, services).stop)
    application.guard(
        app,
        error_formats,
        allowed_hosts=config.allowed_hosts,
        trusted_proxies=config.TRUSTED_PROXIES,
    )
    return app, socketio


def _flask(
    config: Config, services: Services, metrics: Metrics, error_formats: problems.ErrorFormats
) -> Flask:
    app = Flask(__name__, static_folder=None, template_folder="studio/web/templates")
    application.make(
        app,
        services,
        metrics,
        error_formats,
        max_content_length=config.MAX_CONTENT_LENGTH,
        cors_origins=config.cors_origins,
        limits=_limits(config),
    )
    return app


def _limits(config: Config) -> dict[str, rates.Limit]:
    """The limits on requests. Raises ConfigError if RATE_STORAGE cannot be used."""
    if config.RATE_STORAGE and not (find_spec("limits") and find_spec("redis")):
        raise ConfigError(
            "RATE_STORAGE cannot be used: limits or redis is missing. "
            + install_command("requirements-scale.txt")
        )
    try:
        return rates.make_limits(config.RATE_LIMIT, config.RATE_LIMIT_WORK, config.RATE_STORAGE)
    except ValueError as error:
        raise ConfigError(f"RATE_STORAGE cannot be used: {error}.") from None


@dataclass(frozen=True)
class _Concurrency:
    """How many uploads and live sessions there may be at the same time."""

    uploads: ConcurrencyLimit
    live: ConcurrencyLimit


def _concurrency(config: Config, changes: Changes | None, started: ExitStack) -> _Concurrency:
    """Servers that share the jobs count together."""
    uploads = config.MAX_UPLOADS, config.MAX_CLIENT_UPLOADS
    live = config.LIVE_SESSIONS, config.LIVE_CLIENT_SESSIONS
    if changes is None:
        return _Concurrency(ConcurrencyLimit(*uploads), ConcurrencyLimit(*live))
    slots = SharedSlots(changes)
    started.callback(slots.stop)
    return _Concurrency(
        SharedConcurrencyLimit("uploads", slots, *uploads, shares_total=True),
        # Each session has a thread of its node.
        SharedConcurrencyLimit("live", slots, *live, shares_total=False),
    )


def _upload_bounds(config: Config, limit: ConcurrencyLimit) -> UploadBounds:
    return UploadBounds(
        allowed_extensions=config.ALLOWED_EXTENSIONS,
        max_bytes=config.MAX_CONTENT_LENGTH,
        limit=limit,
        max_duration_s=config.MAX_DURATION_S,
        max_decoded_bytes=config.MAX_DECODED_BYTES,
    )


def _live_limits(config: Config) -> Limits:
    return Limits(
        sessions=config.LIVE_SESSIONS,
        sessions_of_a_client=config.LIVE_CLIENT_SESSIONS,
        waiting_s=config.LIVE_WAITING_S,
        silence_s=config.LIVE_SILENCE_S,
        length_s=config.LIVE_LENGTH_S,
        idle_s=config.LIVE_IDLE_S,
        chunk_bytes=config.LIVE_CHUNK_BYTES,
    )


def _storage_check(storage: Storage, engine: Engine) -> StorageCheck:
    return StorageCheck(
        {"disk": storage.check_writable, "database": partial(faults.check_writable, engine)}
    )


def _metrics(storage: Storage, store: JobStore, scheduler: Scheduler) -> Metrics:
    return Metrics(
        CurrentValues(
            jobs=store.count_by_model,
            totals=store.totals,
            live_sessions=scheduler.count,
            live_lag_s=scheduler.lag_s,
            used_bytes=storage.used_bytes,
            free_bytes=storage.free_bytes,
        )
    )


def main() -> None:
    """The development server."""
    try:
        config = Config.load()
        for warning in Config.misspelled():
            log.warning(warning)
        app = create_app(config)
    except ConfigError as error:
        raise SystemExit(f"The server cannot start: {error}") from None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"Listening on http://{config.address} (documentation: /docs)", flush=True)
    app.run(host=config.HOST, port=config.PORT, threaded=True, use_reloader=False)


if __name__ == "__main__":
    main()
