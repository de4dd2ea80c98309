"""A server with API keys."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.keys import ANN, BOB, METRICS_KEY, SECRET
from tests.support.server import Server


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A server with two keys, of its own for each file: the uploads of a key are counted."""
    server = Server(
        tmp_path_factory.mktemp("locked"),
        MODEL_DIR=weights,
        DEMUCS_MODEL="swift",
        WHISPER_MODEL="mini",
        API_KEYS=f"{ANN},{BOB}",
        METRICS_KEY=METRICS_KEY,
        SECRET_KEY=SECRET,
    ).start()
    yield server
    server.stop_later()
