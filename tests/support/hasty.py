"""The application, with less patience for slow uploads.

They are judged after three seconds, and must be five times as fast: a read of 256 KiB that is under
way counts as if it had arrived.
"""

from flask import Flask

import app
from studio.web.pace import Pace


def create_app() -> Flask:
    return app.create_app(
        upload_pace=Pace(min_bytes_per_s=50_000, first_check_s=3.0, check_every_s=0.5)
    )
