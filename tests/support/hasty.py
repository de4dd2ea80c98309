"""The application, with less patience for slow uploads: they are judged after three seconds."""

from flask import Flask

import app
from studio.web import pace

pace.JUDGED_AFTER_S, pace.JUDGE_EVERY_S = 3.0, 0.5


def create_app() -> Flask:
    return app.create_app()
