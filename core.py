"""Builds what every role needs: storage, database and models."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from config import Config, ConfigError
from models import FAMILIES, AnyFamily, MakeFamily, Models
from studio import logs
from studio.errors import UnknownVariant
from studio.inference.devices import MPS, missing_device
from studio.inference.process import prepare_process
from studio.jobs import integrity, migration
from studio.jobs.database import connect
from studio.jobs.execution import Executor
from studio.jobs.jobs import route
from studio.jobs.outbox import Outbox
from studio.jobs.presence import DatabaseInUse, presence
from studio.jobs.quota import Quota
from studio.jobs.scale.partials import SharedPartials
from studio.jobs.scale.store import SharedJobStore
from studio.jobs.scale.workers import Workers
from studio.jobs.store import JobStore
from studio.jobs.uploads import UploadTable
from studio.jobs.usage import Usage
from studio.jobs.webhooks import Webhooks, WebhookSettings
from studio.settings.folders import install_command
from studio.storage.disk_storage import DiskStorage
from studio.storage.folders import Folders
from studio.storage.space import DiskSpace
from studio.storage.storage import Storage
from studio.web.answers import JobAnswers

SHUTDOWN_S = 20.0
# How long a server that stops may keep its folders.
LOCK_TIMEOUT_S = 5.0
# The role of a server that does everything on one machine.
ALL = "all"
# The roles that transcribe live speech.
LIVE = (ALL, "live")


@dataclass(frozen=True)
class Core:
    """What every role has."""

    storage: Storage
    engine: Engine
    store: JobStore
    models: Models
    # The workers that run the jobs of other roles.
    workers: Workers | None


def open_core(
    config: Config,
    started: ExitStack,
    families: Mapping[type[AnyFamily], MakeFamily] = FAMILIES,
    store_type: type[JobStore] = JobStore,
) -> Core:
    prepare_process()
    logs.configure(config.LOG_FORMAT, logging.DEBUG if config.DEBUG else logging.INFO)
    if config.ROLE in (*LIVE, "worker"):
        _check_device(config)
    _make_folders(config)
    with _file_errors(config):
        if config.ROLE == ALL:
            started.callback(_own_folders(config).release)
        engine, store = _job_store(config, started, store_type)
        storage = _storage(config, engine, store)
        started.callback(storage.close)
    workers = partials = None
    if config.ROLE != ALL:
        workers = Workers(engine, config.ROUTES, config.WORKER_STALLED_S)
        partials = SharedPartials(engine)
    models = Models(config, storage, store, families, workers=workers, partials=partials)
    _check_defaults(models)
    return Core(storage, engine, store, models, workers)


def make_executor(core: Core, **more: Any) -> Executor:
    return Executor(
        core.store,
        {name: core.models.get(name).run for name in core.models.names()},
        lambda job: core.storage.discard_result(job.result_id),
        **more,
    )


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


def _check_device(config: Config) -> None:
    """Raise ConfigError if DEVICE names a GPU that this machine lacks."""
    if missing := missing_device(config.DEVICE):
        remedy = "Set" if config.DEVICE == MPS else "Install the NVIDIA driver, or set"
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


@contextmanager
def _file_errors(config: Config) -> Iterator[None]:
    """Raise ConfigError for a file that cannot be opened, such as a lock created by root."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            # Locking failed, not opening: some mounts of NFS, SMB and FUSE have no locks.
            raise ConfigError(
                f"OUTPUT_FOLDER={config.output_folder} cannot be used: {error.strerror or error}. "
                "If its file system has no locks, use a local disk, or mount it with locks."
            ) from None
        user = f" (uid {os.getuid()})" if hasattr(os, "getuid") else ""
        raise ConfigError(
            f"{error.filename} cannot be opened: {error.strerror or error}. Make its folder, with "
            f"all files in it, writable for the user that runs the server{user}, for example with "
            "chown -R."
        ) from None


def _own_folders(config: Config) -> FileLock:
    """Make the folders this server's own: a second one would run its jobs again."""
    lock = FileLock(config.output_folder / ".lock")
    try:
        lock.acquire(timeout=LOCK_TIMEOUT_S)
    except Timeout:
        raise ConfigError(
            f"OUTPUT_FOLDER={config.output_folder} is in use by another server. Stop it, or give "
            "this one folders of its own (UPLOAD_FOLDER, OUTPUT_FOLDER)."
        ) from None
    return lock


def _storage(config: Config, engine: Engine, store: JobStore) -> Storage:
    """The opened storage. Raises ConfigError if it needs what is not installed."""
    folders = Folders(config.upload_folder, config.output_folder)
    space = DiskSpace(
        folders.uploads,
        folders.outputs,
        config.MIN_FREE_BYTES,
        config.MAX_STORED_BYTES,
        (config.hub_folder,),
    )
    storage: Storage
    if config.STORAGE_URL:
        storage = _bucket(config, engine, store, folders, space)
    else:
        storage = DiskStorage(folders, space)
    storage.open()
    return storage


def _bucket(
    config: Config, engine: Engine, store: JobStore, folders: Folders, space: DiskSpace
) -> Storage:
    if find_spec("boto3") is None:
        raise ConfigError(
            "STORAGE_URL cannot be used: boto3 is missing. "
            + install_command("requirements-scale.txt")
        )
    from studio.storage.bucket import Bucket, BucketSettings
    from studio.storage.object_storage import ObjectSettings, ObjectStorage

    settings = BucketSettings.of(config.STORAGE_URL, config.STORAGE_ENDPOINT, config.STORAGE_REGION)
    return ObjectStorage(
        Bucket(settings),
        UploadTable(engine),
        folders,
        space,
        settings=ObjectSettings(config.STORAGE_CACHE_BYTES, config.DOWNLOADS == "nginx"),
        is_shared=store.is_shared,
    )


def _check_defaults(models: Models) -> None:
    """Raise ConfigError if a default variant does not exist."""
    for processor in models.all():
        try:
            processor.check_default()
        except UnknownVariant as error:
            setting = f"{processor.name.upper()}_MODEL={processor.default!r}"
            raise ConfigError(f"{setting} cannot be used: {error.sentence}") from None


def _job_store(
    config: Config, started: ExitStack, store_type: type[JobStore]
) -> tuple[Engine, JobStore]:
    shown = _without_password(config.database_url)
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
        cause = str(getattr(error, "orig", None) or error).rstrip(".")
        raise ConfigError(f"DATABASE_URL={shown!r} cannot be used: {cause}.") from None
    return engine, store


def _without_password(database_url: str) -> str:
    """The URL as the log may show it. Raises ConfigError if it is none."""
    try:
        url = make_url(database_url)
        # An @ here means that the password has an unescaped @.
        if "@" in (url.host or ""):
            raise ValueError
    except (ArgumentError, ValueError):
        raise ConfigError(
            "DATABASE_URL cannot be used: it is not a URL such as "
            "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE. In the password, write @ as %40, / "
            "as %2F, : as %3A and % as %25."
        ) from None
    return url.difference_update_query(["password"]).render_as_string(hide_password=True)


def _shared_store(config: Config, engine: Engine) -> SharedJobStore:
    return SharedJobStore(
        engine,
        partial(route, config.ROUTES),
        max_queued=config.MAX_QUEUED_JOBS,
        max_per_client=config.MAX_CLIENT_JOBS,
        is_last=config.ROLE == "keeper",
    )
