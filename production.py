"""Starts the server for production: `python production.py`.

It refuses unsafe settings and warns about questionable ones, loads the configured models before
`GET /ready` responds 200, and runs one gunicorn process with enough threads for live sessions and
requests. On SIGTERM it accepts no new work, notifies live clients, and returns running jobs to the
queue for the next start.
"""

import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

import background
from app import create_app
from config import Config, ConfigError
from studio import logs
from studio.inference import process
from studio.web.live import jobs as live_jobs

log = logging.getLogger("production")

# Threads for requests, in addition to one per live session and per page that watches jobs. Each
# slow download, upload and long poll occupies one.
REQUEST_THREADS = 120
# Keys shown in examples; some are long enough to be mistaken for real ones.
EXAMPLE_KEYS = ("your-secret-key-change-in-production", "your-secret-key-here-change-this")
MIN_SECRET_CHARACTERS = 16
GRACEFUL_S = 30
# Longer than nginx keeps a connection open, so that nginx is the one that closes it.
KEEP_ALIVE_S = 75


def refusals(config: Config) -> list[str]:
    """The reasons not to start with these settings; empty if there are none."""
    reasons = []
    known = config.SECRET_KEY in (Config().SECRET_KEY, *EXAMPLE_KEYS)
    if known or len(config.SECRET_KEY) < MIN_SECRET_CHARACTERS:
        reasons.append(
            f"SECRET_KEY is the default, an example, or shorter than {MIN_SECRET_CHARACTERS} "
            "characters. Set a long random string, for example the output of `openssl rand -hex "
            "32`."
        )
    if config.DEBUG:
        reasons.append("DEBUG is on. Set DEBUG=False.")
    for key, folder in (
        ("UPLOAD_FOLDER", config.upload_folder),
        ("OUTPUT_FOLDER", config.output_folder),
        ("MODEL_DIR", config.model_dir),
    ):
        if problem := _unwritable(folder):
            reasons.append(
                f"{key}={folder} cannot be written: {problem}. Make it writable for the user "
                f"that runs the server (uid {os.getuid()}), for example with chown."
            )
    return reasons


def warnings(config: Config) -> list[str]:
    """Warnings about these settings for the operator."""
    messages = []
    if config.cors_origins == "*":
        messages.append(
            "CORS_ORIGINS is *: any web page can call this server from the browsers of its "
            "visitors. List the allowed origins."
        )
    if not config.API_KEYS:
        messages.append("API_KEYS is empty: anyone who can reach this server can use it.")
        if config.ALLOWED_HOSTS == "auto":
            messages.append(
                "ALLOWED_HOSTS is not set: the server only answers to localhost and IP addresses. "
                "Add the host name that people use."
            )
    if config.WYOMING_PORT and config.WYOMING_HOST not in ("127.0.0.1", "::1", "localhost"):
        messages.append(
            f"WYOMING_HOST is {config.WYOMING_HOST}: the Wyoming protocol has no keys, so anyone "
            "who can reach that port can transcribe."
        )
    return messages


def _unwritable(folder: Path) -> str | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return None


class OneLog(Logger):  # type: ignore[misc]
    """Sends gunicorn's log to the log of the server, which already contains the requests."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class Launcher(BaseApplication):  # type: ignore[misc]
    """gunicorn with the settings that this server needs."""

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": self._config.address,
            "worker_class": "gthread",
            # Live sessions and the jobs live in one process.
            "workers": 1,
            "threads": self._config.LIVE_SESSIONS + live_jobs.MAX_CONNECTIONS + REQUEST_THREADS,
            "timeout": 120,
            "graceful_timeout": GRACEFUL_S,
            "keepalive": KEEP_ALIVE_S,
            "logger_class": OneLog,
            "control_socket_disable": True,
            "post_worker_init": drain_on_sigterm,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        try:
            return create_app(self._config, warm_up=True)
        except ConfigError as error:
            log.error("The server cannot start: %s", error)
            # Tells gunicorn not to retry.
            sys.exit(Arbiter.APP_LOAD_ERROR)


def drain_on_sigterm(worker: Any) -> None:
    """Let the worker's SIGTERM also end jobs and sockets in an orderly way."""
    end_worker = signal.getsignal(signal.SIGTERM)
    parts = worker.wsgi.extensions["parts"]

    def drain(number: int, frame: FrameType | None) -> None:
        Thread(target=parts.drain, name="drain", daemon=True).start()
        if callable(end_worker):
            end_worker(number, frame)

    signal.signal(signal.SIGTERM, drain)


def main() -> None:
    # gunicorn's first process has the settings too; its worker inherits this.
    process.prevent_inspection()
    try:
        config = Config.load()
    except ConfigError as error:
        sys.exit(f"The server cannot start: {error}")
    if reasons := refusals(config):
        sys.exit("The server cannot start with these settings:\n- " + "\n- ".join(reasons))
    if config.HUB_REPOSITORIES == "auto":
        config = replace(config, HUB_REPOSITORIES="")
    logs.configure(config.LOG_FORMAT, logging.INFO)
    for warning in [*Config.misspelled(), *warnings(config)]:
        log.warning(warning)
    if config.ROLE not in background.ROLES:
        Launcher(config).run()
        return
    try:
        background.run(config)
    except ConfigError as error:
        sys.exit(f"The {config.ROLE} cannot start: {error}")


if __name__ == "__main__":
    main()
