"""The Flask application: builds the parts of the server and puts them together."""

import atexit
import logging
import re
import signal
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

from engineio.payload import Payload
from filelock import FileLock, Timeout
from flask import Flask
from flask_cors import CORS
from flask_socketio import SocketIO
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.middleware.proxy_fix import ProxyFix

from config import Config, ConfigError
from models import Models
from studio import logs
from studio.errors import UnknownVariant
from studio.inference.devices import has_driver
from studio.inference.process import prepare_process
from studio.inference.warm_up import Readiness, StorageCheck
from studio.jobs import faults, integrity
from studio.jobs.housekeeping import Housekeeper
from studio.jobs.job import Job
from studio.jobs.outbox import Outbox
from studio.jobs.quota import Quota
from studio.jobs.runner import JobRunner
from studio.jobs.store import JobStore, connect
from studio.jobs.usage import Usage
from studio.jobs.webhooks import Webhooks, WebhookSettings
from studio.storage.files import Storage
from studio.transcription.live.scheduler import Scheduler
from studio.transcription.live.settings import Limits
from studio.web import answers, hosts, live, pages, problems, rates, rest, watch
from studio.web.access import Access
from studio.web.access import register as check_access
from studio.web.bounds import UploadBounds
from studio.web.messages import REQUEST_TIMES, Messages
from studio.web.metrics import Metrics, Present
from studio.web.services import Services
from studio.web.sockets import Sockets

VERSION = "0.1.0"
SHUTDOWN_S = 20.0
POLLED_PACKETS = 10_000
# 16-bit samples at 16 kHz.
LIVE_BYTES_PER_S = 32_000
# A message may be so many times as large as a chunk: base64 makes a third more of it.
BASE64_AND_MORE = 2
# Connections beside the live sessions: those that are about to join, or to be refused in words.
SPARE_SOCKETS = 12
# What a web page of another origin may read besides the usual.
EXPOSED_HEADERS = [
    "Location",
    "Retry-After",
    "Content-Disposition",
    "Content-Range",
    "Accept-Ranges",
    "ETag",
    "WWW-Authenticate",
    watch.HEADER,
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What `create_app` started; `stop` ends it."""

    runner: JobRunner
    scheduler: Scheduler
    store: JobStore
    socketio: SocketIO
    lock: FileLock
    webhooks: Webhooks
    housekeeper: Housekeeper
    readiness: Readiness

    def drain(self) -> None:
        """Take no more work: sockets are told and closed, running jobs go back to the queue."""
        live.say_goodbye(self.socketio)
        self.scheduler.stop()
        self.runner.stop(SHUTDOWN_S)

    def stop(self) -> None:
        self.readiness.stop()
        self.webhooks.stop()
        self.housekeeper.stop()
        self.scheduler.stop()
        self.runner.stop(SHUTDOWN_S)
        self.store.close()
        self.lock.release()


def create_app(config: Config | None = None, warm_up: bool = False) -> Flask:
    """The application, with its job threads running. Ends them when the process exits.

    With `warm_up` the configured models are loaded at once, in the background. Raises ConfigError
    when a setting cannot be used.
    """
    config = config or Config.load()
    prepare_process()
    logs.configure(config.LOG_FORMAT, logging.DEBUG if config.DEBUG else logging.INFO)
    _check_device(config)
    lock = _own_folders(config)
    storage = Storage(
        config.upload_folder,
        config.output_folder,
        config.MIN_FREE_BYTES,
        config.MAX_STORED_BYTES,
        (config.hub_folder,),
    )
    storage.open()
    engine, store = _job_store(config, lock)
    outbox = Outbox(engine)
    outbox.open()
    webhooks = _webhooks(config, outbox)
    models = Models(config, storage, store)
    _check_defaults(models, lock)
    work = {name: models.get(name).run for name in models.names()}
    scheduler = Scheduler(models.whisper.lease)
    metrics = Metrics(
        Present(
            store.count_by_model,
            scheduler.count,
            scheduler.lag_s,
            storage.used_bytes,
            storage.free_bytes,
        )
    )
    models.registry.on_load = metrics.model_loaded

    quota = _quota(config, storage, engine)

    def on_end(job: Job) -> None:
        metrics.job_ended(job)
        quota.charge(job)
        webhooks.wake()

    runner = JobRunner(
        store,
        work,
        lambda job: storage.discard_result(job.request.file_id, job.job_id),
        config.WORKERS,
        config.MAX_QUEUED_JOBS,
        scheduler.give_way,
        config.MAX_CLIENT_JOBS,
        on_end,
    )
    housekeeper = Housekeeper(storage, store, runner, outbox, config.RETENTION_HOURS)
    readiness = Readiness()
    access = Access(config.API_KEYS, config.cors_origins, config.METRICS_KEY)
    services = Services(
        storage,
        store,
        runner,
        models,
        _upload_bounds(config),
        VERSION,
        readiness,
        StorageCheck(
            {"disk": storage.check_writable, "database": partial(faults.check_writable, engine)}
        ),
        access,
        webhooks,
        quota,
    )
    app = _flask(config)
    CORS(app, origins=_cors_patterns(config), expose_headers=EXPOSED_HEADERS)
    watch.register(app, metrics, access)
    rates.register(app, access, config.RATE_LIMIT, config.RATE_LIMIT_WORK)
    check_access(app, access)
    rest.register(app, services)
    pages.register(app, services)
    problems.register(app)
    socketio = _socketio(app, config, models, scheduler, access)
    _guard(app, config)
    parts = Parts(runner, scheduler, store, socketio, lock, webhooks, housekeeper, readiness)
    app.extensions["parts"] = parts
    runner.start()
    webhooks.start()
    housekeeper.start()
    if warm_up:
        readiness.warm_up(models.defaults())
    atexit.register(parts.stop)
    return app


def _flask(config: Config) -> Flask:
    app = Flask(__name__, static_folder=None, template_folder="studio/web/templates")
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.config.update(SECRET_KEY=config.SECRET_KEY, MAX_CONTENT_LENGTH=config.MAX_CONTENT_LENGTH)
    return app


def _guard(app: Flask, config: Config) -> None:
    """Check hosts and believe trusted proxies before any request, those of Socket.IO included."""
    outer: Any = app.wsgi_app
    if config.allowed_hosts is not None:
        outer = hosts.only_for(outer, config.allowed_hosts)
    if trusted := config.TRUSTED_PROXIES:
        outer = ProxyFix(outer, x_for=trusted, x_proto=trusted)
    app.wsgi_app = outer  # type: ignore[method-assign]


def _cors_patterns(config: Config) -> str | list[re.Pattern[str]]:
    """The origins for Flask-CORS, which takes a text with brackets, as of IPv6, for a pattern."""
    if config.cors_origins == "*":
        return "*"
    return [re.compile(rf"{re.escape(one)}\Z", re.IGNORECASE) for one in config.cors_origins]


def _upload_bounds(config: Config) -> UploadBounds:
    return UploadBounds(
        config.ALLOWED_EXTENSIONS,
        config.MAX_CONTENT_LENGTH,
        config.MAX_UPLOADS,
        config.MAX_CLIENT_UPLOADS,
        config.MAX_DURATION_S,
        config.MAX_DECODED_BYTES,
    )


def _socketio(
    app: Flask, config: Config, models: Models, scheduler: Scheduler, access: Access
) -> SocketIO:
    """The Socket.IO server with live transcription. Events of a client are handled in order."""
    limits = Limits(
        config.LIVE_SESSIONS,
        config.LIVE_CLIENT_SESSIONS,
        config.LIVE_WAITING_S,
        config.LIVE_SILENCE_S,
        config.LIVE_LENGTH_S,
        config.LIVE_IDLE_S,
        config.LIVE_CHUNK_BYTES,
    )
    # A client that polls sends what has gathered at once; more packets than this are refused, which
    # would end its connection. Their size is bounded below.
    Payload.max_decode_packets = POLLED_PACKETS
    message_bytes = max(
        config.LIVE_WAITING_S * LIVE_BYTES_PER_S, BASE64_AND_MORE * config.LIVE_CHUNK_BYTES
    )
    socketio = SocketIO(
        app,
        async_mode="threading",
        async_handlers=False,
        cors_allowed_origins=access.origins_for_sockets,
        # Their own loggers print each error a second time.
        logger=logging.getLogger("socketio"),
        engineio_logger=logging.getLogger("engineio"),
        max_http_buffer_size=REQUEST_TIMES * message_bytes,
    )
    Messages(
        socketio.server, message_bytes, partial(live.report_too_large, socketio, message_bytes)
    )
    whisper = models.whisper
    socketio.on_namespace(
        live.Transcribe(socketio, scheduler, limits, whisper.default, whisper.variants, access)
    )
    socketio.on_error_default(live.on_defect)
    Sockets(socketio.server, live.PATH, SPARE_SOCKETS)
    return socketio


def _check_device(config: Config) -> None:
    """Raise ConfigError where a CUDA device is demanded of a machine that cannot have one."""
    if config.DEVICE.startswith("cuda") and not has_driver():
        raise ConfigError(
            f"DEVICE={config.DEVICE!r} cannot be used: this machine has no driver for a CUDA "
            "device. Install the driver of NVIDIA, or set DEVICE=auto or DEVICE=cpu."
        )


def _own_folders(config: Config) -> FileLock:
    """Make the folders this server's own: two servers would clear each other's work."""
    for key in ("UPLOAD_FOLDER", "OUTPUT_FOLDER"):
        folder = getattr(config, key.lower())
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{key}={folder} cannot be created: {error.strerror}.") from None
    lock = FileLock(config.output_folder / ".lock")
    try:
        lock.acquire(timeout=5)
    except Timeout:
        raise ConfigError(
            f"OUTPUT_FOLDER={config.output_folder} is in use by another server. Stop it, or give "
            "this one folders of its own (UPLOAD_FOLDER, OUTPUT_FOLDER)."
        ) from None
    return lock


def _check_defaults(models: Models, lock: FileLock) -> None:
    """Raise ConfigError where the variant that is used by default does not exist."""
    for name in models.names():
        processor = models.get(name)
        try:
            processor.check_variant(processor.default)
        except UnknownVariant as error:
            lock.release()
            setting = f"{name.upper()}_MODEL={processor.default!r}"
            raise ConfigError(f"{setting} cannot be used: {error.sentence}") from None


def _webhooks(config: Config, outbox: Outbox) -> Webhooks:
    settings = WebhookSettings(
        config.WEBHOOK_SECRET,
        config.WEBHOOK_URL,
        config.WEBHOOK_ALLOW_PRIVATE,
        config.MAX_CLIENT_WEBHOOKS,
    )
    return Webhooks(outbox, settings, lambda job: answers.job(job).model_dump(mode="json"))


def _quota(config: Config, storage: Storage, engine: Engine) -> Quota:
    usage = Usage(engine)
    usage.open()
    return Quota(storage, usage, config.MAX_CLIENT_BYTES, config.MAX_CLIENT_MINUTES)


def _job_store(config: Config, lock: FileLock) -> tuple[Engine, JobStore]:
    try:
        engine = connect(config.database_url)
        integrity.check(engine)
        store = JobStore(engine)
        store.open()
    except integrity.DamagedDatabase as error:
        lock.release()
        raise ConfigError(str(error)) from None
    except (SQLAlchemyError, ImportError) as error:
        lock.release()
        shown = re.sub("://[^/@]*@", "://***@", config.database_url)
        cause = str(getattr(error, "orig", None) or error).rstrip(".")
        raise ConfigError(f"DATABASE_URL={shown!r} cannot be used: {cause}.") from None
    return engine, store


def main() -> None:
    """The development server."""
    try:
        config = Config.load()
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
