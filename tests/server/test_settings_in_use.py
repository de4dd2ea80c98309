"""Settings reach the parts of the server that they are for."""

import logging
import socket
from pathlib import Path
from typing import Any

import pytest

import core
from config import Config
from studio.jobs.database import connect
from studio.jobs.store import JobStore
from studio.storage.folders import Folders
from studio.storage.space import DiskSpace
from tests.support.in_process import application


def test_settings_reach_the_parts_of_the_server(tmp_path: Path) -> None:
    used: dict[str, Any] = {
        "WORKERS": 2,
        "MODEL_IDLE_S": 7,
        "MAX_CLIENT_WEBHOOKS": 3,
        "LIVE_SILENCE_S": 4,
        "SEPARATION_PRECISION": "bf16",
        "MUSICGEN_PRECISION": "int4",
        "WYOMING_HOST": "127.0.0.2",
    }
    # On 127.0.0.1, the port is taken.
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        application(tmp_path, **used, WYOMING_PORT=taken.getsockname()[1]) as app,
    ):
        parts: Any = app.extensions["parts"]
        services = parts.socketio.server.namespace_handlers["/jobs"].feed._services
        assert len(parts.runner._threads) == 2
        assert services.models.registry._idle_s == 7
        assert services.webhooks._settings.max_per_client == 3
        assert parts.wyoming._speech.limits.silence_s == 4
        assert services.models.get("demucs").family._settings.precision == "bf16"
        assert services.models.get("musicgen").family._settings.precision == "int4"
        address = "127.0.0.2", taken.getsockname()[1]
        socket.create_connection(address, timeout=30).close()


def test_settings_reach_the_bucket(tmp_path: Path) -> None:
    pytest.importorskip("boto3", reason="the extra `scale` is missing; `make setup` installs it")
    config = Config(
        STORAGE_URL="s3://songs/studio", STORAGE_REGION="eu-central-1", STORAGE_CACHE_BYTES=5000
    )
    engine = connect("sqlite://")
    space = DiskSpace(tmp_path, tmp_path, 0)
    storage: Any = core._bucket(
        config, engine, JobStore(engine), Folders(tmp_path / "in", tmp_path / "out"), space
    )
    assert storage.bucket._client.meta.region_name == "eu-central-1"
    assert storage._cache._max_bytes == 5000
    engine.dispose()


@pytest.mark.parametrize("debug", [False, True])
def test_what_machines_poll_is_logged_with_debug_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    level = logging.root.level
    try:
        with monkeypatch.context() as as_a_program:
            as_a_program.setattr(logging.root, "handlers", [])
            with application(tmp_path, DEBUG=debug) as app:
                for path in ("/ready", "/metrics", "/models"):
                    app.test_client().get(path)
                logging.getLogger("studio.test").debug("a detail")
    finally:
        logging.root.setLevel(level)
    lines = capsys.readouterr().err
    for words in ("GET /ready ", "GET /metrics ", "a detail"):
        assert (words in lines) is debug
    assert "GET /models " in lines
