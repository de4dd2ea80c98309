"""The application, whose namespace /jobs lets clients in when the file `go` is in its outputs.

Until then, each of them has a file `joining-*` there.
"""

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from flask import Flask

from studio.web.live.jobs import JobsNamespace
from tests.support import unhurried
from tests.support.server import until


def create_app() -> Flask:
    outputs, on_connect = Path(os.environ["OUTPUT_FOLDER"]), JobsNamespace.on_connect

    def join_later(namespace: JobsNamespace, auth: Any = None) -> None:
        (outputs / f"joining-{uuid4().hex}").touch()
        until((outputs / "go").exists)
        on_connect(namespace, auth)

    patch.object(JobsNamespace, "on_connect", join_later).start()
    return unhurried.create_app()
