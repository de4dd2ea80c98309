"""The application, with less patience for slow uploads.

They are judged after three seconds, and must be five times as fast: a read of 256 KiB that is under
way counts as if it had arrived.
"""

from flask import Flask

import app
from studio.web import pace

pace.JUDGED_AFTER_S, pace.JUDGE_EVERY_S = 3.0, 0.5
pace.LEAST_BYTES_A_SECOND = 50_000


def create_app() -> Flask:
    return app.create_app()
