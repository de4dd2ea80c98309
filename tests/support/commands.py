"""Settings and types for tests of the command line."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.server import ROOT

Call = Callable[..., list[dict[str, Any]]]
Show = Callable[..., str]
# Variables with the names of settings that only servers have, and one that resembles such a name.
OF_OTHERS = {"DEBUG": "app:*", "ROLE": "admin", "PORT": "http", "MCP_KEY": "short", "API_KEY": "x"}
PIPE_BYTES = 4096


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
