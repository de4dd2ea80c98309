"""The Flask application: builds the parts of the server and puts them together."""

import atexit
import logging
import re
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from flask import Flask
from flask_socketio import SocketIO
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from config import Config, ConfigError
from models import FAMILIES, AnyFamily, MakeFamily, Models
from studio import __version__, logs
from studio.errors import UnknownVariant
from studio.inference.devices import MPS, missing_device
from studio.inference.process import prepare_process
from studio.inference.warm_up import Readiness, StorageCheck
from studio.jobs import faults, integrity, migration
from studio.jobs.execution import Executor
from studio.jobs.housekeeping import Housekeeper
from studio.jobs.intake import Intake
from studio.jobs.job import Job
from studio.jobs.jobs import Jobs, route
from studio.jobs.outbox import Outbox
from studio.jobs.presence import DatabaseInUse, presence
from studio.jobs.quota import Quota
from studio.jobs.runner import JobRunner
from studio.jobs.scale.changes import Changes
from studio.jobs.scale.jobs import SharedJobs
from studio.jobs.scale.store import SharedJobStore
from studio.jobs.store import JobStore, connect
from studio.jobs.uploads import UploadTable
from studio.jobs.usage import Usage
from studio.jobs.webhooks import Webhooks, WebhookSettings
from studio.storage.disk import DiskStorage
from studio.storage.files import Storage
from studio.storage.folders import Folders
from studio.storage.space import DiskSpace
from studio.transcription.live.scheduler import Scheduler
from studio.transcription.live.settings import Limits
from studio.web import application, compat, jobs_live, live, live_server, problems
from studio.web.access import Access
from studio.web.answers import JobAnswers
from studio.web.bounds import UploadBounds
from studio.web.metrics import Metrics, Present
from studio.web.namespaces import say_goodbye
from studio.web.pace import Pace
from studio.web.services import Services

if TYPE_CHECKING:
    from studio.web.compat.wyoming.server import WyomingServer

SHUTDOWN_S = 20.0
# Roles: a server on one machine, and those that serve requests.
ALL = "all"
SERVING = (ALL, "web")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """The running parts of a server. `stop` ends them, in the reverse order of their start."""

    runner: Jobs
    scheduler: Scheduler
    store: JobStore
    socketio: SocketIO
    wyoming: "WyomingServer | None"
    started: ExitStack

    def drain(self) -> None:
        """Accept no more work: close live connections, and return running jobs to the queue."""
        for path in (live.PATH, jobs_live.PATH):
            say_goodbye(self.socketio, path)
        if self.wyoming is not None:
            self.wyoming.stop()
        self.scheduler.stop()
        self.runner.stop(SHUTDOWN_S)

    def stop(self) -> None:
        self.started.close()


@dataclass(frozen=True)
class Core:
    """What every role has."""

    storage: Storage
    engine: Engine
    store: JobStore
    models: Models


def open_core(
    config: Config,
    started: ExitStack,
    families: Mapping[type[AnyFamily], MakeFamily] = FAMILIES,
    store_type: type[JobStore] = JobStore,
) -> Core:
    prepare_process()
    logs.configure(config.LOG_FORMAT, logging.DEBUG if config.DEBUG else logging.INFO)
    if config.ROLE in (ALL, "worker"):
        _check_device(config)
    _make_folders(config)
    if config.ROLE == ALL:
        started.callback(_own_folders(config).release)
    engine, store = _job_store(config, started, store_type)
    storage = _storage(config, engine, store)
    started.callback(storage.close)
    models = Models(config, storage, store, families)
    _check_defaults(models)
    return Core(storage, engine, store, models)


def create_app(
    config: Config | None = None,
    warm_up: bool = False,
    *,
    families: Mapping[type[AnyFamily], MakeFamily] = FAMILIES,
    store_type: type[JobStore] = JobStore,
    upload_pace: Pace | None = None,
) -> Flask:
    """The application, with its job threads running. Ends them when the process exits.

    With `warm_up` the configured models are loaded at once, in the background. `families`,
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
        storage, engine, store, models = core.storage, core.engine, core.store, core.models
        scheduler = Scheduler(models.speech().lease)
        metrics = _metrics(storage, store, scheduler)
        models.registry.on_load = metrics.model_loaded
        jobs = _jobs(config, core, give_way=scheduler.give_way, metrics=metrics)
        readiness = Readiness()
        services = Services(
            storage=storage,
            store=store,
            runner=jobs.runner,
            intake=jobs.intake,
            models=models,
            uploads=_upload_bounds(config),
            upload_pace=upload_pace or Pace(),
            version=__version__,
            readiness=readiness,
            storage_check=_storage_check(storage, engine),
            access=Access(config.API_KEYS, config.cors_origins, config.METRICS_KEY),
            webhooks=jobs.webhooks,
            quota=jobs.quota,
            partials=models.partials,
            fonts=config.fonts_dir,
            secret=config.SECRET_KEY,
        )
        shapes = problems.Shapes()
        speech = models.speech()
        live_speech = live_server.Live(
            scheduler, _live_limits(config), speech.default, speech.family.catalogue.names
        )
        app = _flask(config, services, metrics, shapes)
        compat.register(app, services, shapes, live_speech)
        socketio = live_server.add(app, live_speech, services.access)
        started.callback(jobs_live.add(socketio, services).stop)
        application.guard(
            app,
            shapes,
            allowed_hosts=config.allowed_hosts,
            trusted_proxies=config.TRUSTED_PROXIES,
        )
        _start(started, config, jobs, scheduler, readiness)
        wyoming = _wyoming(config, scheduler, models, started)
        if warm_up:
            readiness.warm_up(models.at_start())
        parts = Parts(jobs.runner, scheduler, store, socketio, wyoming, started.pop_all())
    app.extensions["parts"] = parts
    atexit.register(parts.stop)
    return app


@dataclass(frozen=True)
class _Jobs:
    """Everything about jobs that has a thread of its own or stands before one."""

    runner: Jobs
    intake: Intake
    quota: Quota
    webhooks: Webhooks
    housekeeper: Housekeeper


def _jobs(config: Config, core: Core, *, give_way: Callable[[], None], metrics: Metrics) -> _Jobs:
    storage, store, models = core.storage, core.store, core.models
    outbox = Outbox(core.engine)
    webhooks = make_webhooks(config, outbox, models)
    quota = make_quota(config, core)

    def on_end(job: Job) -> None:
        result = models.result(job)
        metrics.job_ended(job, result.duration_s if result else 0.0)
        quota.charge(job)
        webhooks.wake()

    runner: Jobs
    if isinstance(store, SharedJobStore):
        runner = SharedJobs(store, Changes(store.url), on_end)
    else:
        runner = JobRunner(
            store,
            make_executor(core, give_way=give_way, on_end=on_end),
            workers=config.WORKERS,
            most_queued=config.MAX_QUEUED_JOBS,
            max_per_client=config.MAX_CLIENT_JOBS,
        )
    intake = Intake(storage, store, runner, quota=quota, webhooks=webhooks)
    housekeeper = Housekeeper(storage, store, runner, outbox, config.RETENTION_HOURS)
    return _Jobs(runner, intake, quota, webhooks, housekeeper)


def make_executor(core: Core, **more: Any) -> Executor:
    return Executor(
        core.store,
        {name: core.models.get(name).run for name in core.models.names()},
        lambda job: core.storage.discard_result(job.result_id),
        **more,
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


def _flask(config: Config, services: Services, metrics: Metrics, shapes: problems.Shapes) -> Flask:
    app = Flask(__name__, static_folder=None, template_folder="studio/web/templates")
    application.make(
        app,
        services,
        metrics,
        shapes,
        max_content_length=config.MAX_CONTENT_LENGTH,
        cors_origins=config.cors_origins,
        rate=config.RATE_LIMIT,
        work_rate=config.RATE_LIMIT_WORK,
    )
    return app


def _upload_bounds(config: Config) -> UploadBounds:
    return UploadBounds(
        allowed_extensions=config.ALLOWED_EXTENSIONS,
        most_bytes=config.MAX_CONTENT_LENGTH,
        most_at_once=config.MAX_UPLOADS,
        most_at_once_of_a_client=config.MAX_CLIENT_UPLOADS,
        longest_s=config.MAX_DURATION_S,
        most_decoded_bytes=config.MAX_DECODED_BYTES,
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


def _check_device(config: Config) -> None:
    """Raise ConfigError where a GPU is demanded of a machine that cannot have it."""
    if missing := missing_device(config.DEVICE):
        remedy = "Set" if config.DEVICE == MPS else "Install the driver of NVIDIA, or set"
        raise ConfigError(
            f"DEVICE={config.DEVICE!r} cannot be used: {missing}. {remedy} DEVICE=auto or "
            "DEVICE=cpu."
        )


def _make_folders(config: Config) -> None:
    for key in ("UPLOAD_FOLDER", "OUTPUT_FOLDER"):
        folder = getattr(config, key.lower())
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{key}={folder} cannot be created: {error.strerror}.") from None


def _own_folders(config: Config) -> FileLock:
    """Make the folders this server's own: a second one would run its jobs again."""
    lock = FileLock(config.output_folder / ".lock")
    try:
        lock.acquire(timeout=5)
    except Timeout:
        raise ConfigError(
            f"OUTPUT_FOLDER={config.output_folder} is in use by another server. Stop it, or give "
            "this one folders of its own (UPLOAD_FOLDER, OUTPUT_FOLDER)."
        ) from None
    return lock


def _storage(config: Config, engine: Engine, store: JobStore) -> Storage:
    """The opened storage. Raises ConfigError if it needs what is not installed."""
    storage: Storage = _bucket(config, engine, store) if config.STORAGE_URL else _disk(config)
    storage.open()
    return storage


def _bucket(config: Config, engine: Engine, store: JobStore) -> Storage:
    if find_spec("boto3") is None:
        raise ConfigError(
            "STORAGE_URL cannot be used: boto3 is missing. Install it with pip install "
            '"audio-studio[scale]".'
        )
    from studio.storage.bucket import Bucket, BucketSettings
    from studio.storage.object_storage import ObjectSettings, ObjectStorage

    settings = BucketSettings.of(config.STORAGE_URL, config.STORAGE_ENDPOINT, config.STORAGE_REGION)
    folders = Folders(config.upload_folder, config.output_folder)
    return ObjectStorage(
        Bucket(settings),
        UploadTable(engine),
        folders,
        DiskSpace(
            folders.uploads,
            folders.outputs,
            config.MIN_FREE_BYTES,
            config.MAX_STORED_BYTES,
            (config.hub_folder,),
        ),
        settings=ObjectSettings(config.STORAGE_CACHE_BYTES, config.DOWNLOADS == "nginx"),
        is_shared=store.is_shared,
    )


def _disk(config: Config) -> Storage:
    return DiskStorage(
        config.upload_folder,
        config.output_folder,
        config.MIN_FREE_BYTES,
        config.MAX_STORED_BYTES,
        (config.hub_folder,),
    )


def _storage_check(storage: Storage, engine: Engine) -> StorageCheck:
    return StorageCheck(
        {"disk": storage.check_writable, "database": partial(faults.check_writable, engine)}
    )


def _metrics(storage: Storage, store: JobStore, scheduler: Scheduler) -> Metrics:
    return Metrics(
        Present(
            jobs=store.count_by_model,
            live_sessions=scheduler.count,
            live_lag_s=scheduler.lag_s,
            used_bytes=storage.used_bytes,
            free_bytes=storage.free_bytes,
        )
    )


def _check_defaults(models: Models) -> None:
    """Raise ConfigError where the variant that is used by default does not exist."""
    for processor in models.all():
        try:
            processor.check_default()
        except UnknownVariant as error:
            setting = f"{processor.name.upper()}_MODEL={processor.default!r}"
            raise ConfigError(f"{setting} cannot be used: {error.sentence}") from None


def make_webhooks(config: Config, outbox: Outbox, models: Models) -> Webhooks:
    settings = WebhookSettings(
        config.WEBHOOK_SECRET,
        config.WEBHOOK_URL,
        config.WEBHOOK_ALLOW_PRIVATE,
        config.MAX_CLIENT_WEBHOOKS,
    )
    answers = JobAnswers(models)
    return Webhooks(outbox, settings, lambda job: answers.job(job).model_dump(mode="json"))


def make_quota(config: Config, core: Core) -> Quota:
    return Quota(
        core.storage, Usage(core.engine), config.MAX_CLIENT_BYTES, config.MAX_CLIENT_MINUTES
    )


def _job_store(
    config: Config, started: ExitStack, store_type: type[JobStore]
) -> tuple[Engine, JobStore]:
    try:
        engine = connect(config.database_url)
        started.callback(engine.dispose)
        integrity.check(engine)
        started.enter_context(presence(engine, is_alone=config.ROLE == ALL))
        store = store_type(engine) if config.ROLE == ALL else _shared_store(config, engine)
        store.open()
    except integrity.DamagedDatabase as error:
        raise ConfigError(str(error)) from None
    except (SQLAlchemyError, ImportError, migration.NewerDatabase, DatabaseInUse) as error:
        shown = re.sub("://[^/@]*@", "://***@", config.database_url)
        cause = str(getattr(error, "orig", None) or error).rstrip(".")
        raise ConfigError(f"DATABASE_URL={shown!r} cannot be used: {cause}.") from None
    return engine, store


def _shared_store(config: Config, engine: Engine) -> SharedJobStore:
    return SharedJobStore(
        engine,
        partial(route, config.ROUTES),
        max_queued=config.MAX_QUEUED_JOBS,
        max_per_client=config.MAX_CLIENT_JOBS,
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
    print(f"Listening on http://{config.HOST}:{config.PORT} (documentation: /docs)", flush=True)
    app.extensions["parts"].socketio.run(
        app, host=config.HOST, port=config.PORT, allow_unsafe_werkzeug=True, use_reloader=False
    )


if __name__ == "__main__":
    main()
