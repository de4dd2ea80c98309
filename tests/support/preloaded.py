"""gunicorn's configuration for tests that kill its worker: the next one has its imports already."""

from typing import Any


def on_starting(_server: Any) -> None:
    import demucs.demucs
    import scipy.signal
    import torch

    import app

    assert app and demucs and scipy and torch
