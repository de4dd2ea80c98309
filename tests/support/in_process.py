"""The application in the process of the test, for what a server in another process hides."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask

from config import Config


@contextmanager
def application(folder: Path, *, warm_up: bool = False, **settings: Any) -> Iterator[Flask]:
    """An application with its folders in `folder`; stopped at the end."""
    from app import create_app

    used: dict[str, Any] = {
        "UPLOAD_FOLDER": str(folder / "uploads"),
        "OUTPUT_FOLDER": str(folder / "outputs"),
        "MODEL_DIR": str(folder / "weights"),
        "MIN_FREE_BYTES": 0,
    }
    app = create_app(Config(**used | settings), warm_up=warm_up)
    try:
        yield app
    finally:
        app.extensions["parts"].stop()
