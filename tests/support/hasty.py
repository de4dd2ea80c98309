"""The application, with less patience for slow uploads: they are measured after three seconds."""

from flask import Flask

import app
from studio.web.pace import Pace


def create_app() -> Flask:
    return app.create_app(upload_pace=Pace(first_check_s=3.0, check_every_s=0.5))
