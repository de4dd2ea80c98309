"""Settings and types for tests of the command line."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.server import ROOT

Call = Callable[..., list[dict[str, Any]]]
Show = Callable[..., str]


def environment(weights: Path) -> dict[str, str]:
    return {
        **os.environ,
        "MODEL_DIR": str(weights),
        "DEMUCS_MODEL": "swift",
        "WHISPER_MODEL": "mini",
        "MUSICGEN_MODEL": "mini",
        "SEPARATION_ENGINE": "torch",
        "PYTHONPATH": str(ROOT),
    }


def unused() -> None:
    raise AssertionError
