"""Starts the server for production: `python production.py`.

It refuses settings that are not safe, warns of doubtful ones, loads the configured models before
`GET /ready` says yes, and runs one gunicorn process with as many threads as live sessions and
requests need. On SIGTERM it takes no new work, tells open sockets, and puts running jobs back into
the queue, from which the next start takes them.
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

from app import create_app
from config import Config, ConfigError
from studio import logs
from studio.inference import process

log = logging.getLogger("production")

# Threads for requests, besides one for each live session. A slow download, an upload and an answer
# that is waited for hold one each.
REQUEST_THREADS = 120
# What examples show in the place of a key; the longer ones would pass for real.
EXAMPLE_KEYS = ("your-secret-key-change-in-production", "your-secret-key-here-change-this")
LEAST_SECRET_CHARACTERS = 16
GRACEFUL_S = 30
# Longer than nginx keeps a connection open, so that nginx is the one that closes it.
KEEP_ALIVE_S = 75


def refusals(config: Config) -> list[str]:
    """Why the server must not start with these settings; empty if it may."""
    found = []
    known = config.SECRET_KEY in (Config().SECRET_KEY, *EXAMPLE_KEYS)
    if known or len(config.SECRET_KEY) < LEAST_SECRET_CHARACTERS:
        found.append(
            f"SECRET_KEY is the default, an example, or shorter than {LEAST_SECRET_CHARACTERS} "
            "characters. Set a long random text, for example the output of `openssl rand -hex 32`."
        )
    if config.DEBUG:
        found.append("DEBUG is on. Set DEBUG=False.")
    for key, folder in (
        ("UPLOAD_FOLDER", config.upload_folder),
        ("OUTPUT_FOLDER", config.output_folder),
        ("MODEL_DIR", config.model_dir),
    ):
        if problem := _unwritable(folder):
            found.append(
                f"{key}={folder} cannot be written: {problem}. Give it to the user who runs the "
                f"server (uid {os.getuid()}), for example with chown."
            )
    return found


def warnings(config: Config) -> list[str]:
    """What an operator should know of these settings."""
    found = []
    if config.cors_origins == "*":
        found.append(
            "CORS_ORIGINS is *: every web page may call this server from its visitors' browsers. "
            "Name the origins that should."
        )
    if not config.API_KEYS:
        found.append("API_KEYS is empty: everybody who reaches this server may use it.")
        if config.ALLOWED_HOSTS == "auto":
            found.append(
                "ALLOWED_HOSTS is not set: the server answers for localhost and IP addresses only. "
                "Name the host that people use."
            )
    return found


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
    """Lets gunicorn write into the log of the program, in its format. Requests stand there too."""

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
            "bind": f"{self._config.HOST}:{self._config.PORT}",
            "worker_class": "gthread",
            # Live sessions and the jobs live in one process.
            "workers": 1,
            "threads": self._config.LIVE_SESSIONS + REQUEST_THREADS,
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
        process.hide()
        try:
            return create_app(self._config, warm_up=True)
        except ConfigError as error:
            log.error("The server cannot start: %s", error)
            # Tells gunicorn not to try again.
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
    try:
        config = Config.load()
    except ConfigError as error:
        sys.exit(f"The server cannot start: {error}")
    if found := refusals(config):
        sys.exit("The server does not start with these settings:\n- " + "\n- ".join(found))
    if config.HUB_REPOSITORIES == "auto":
        config = replace(config, HUB_REPOSITORIES="")
    logs.configure(config.LOG_FORMAT, logging.INFO)
    for warning in warnings(config):
        log.warning(warning)
    Launcher(config).run()


if __name__ == "__main__":
    main()
