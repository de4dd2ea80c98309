"""The application, which looks after an instant at what it otherwise knows for some seconds."""

from flask import Flask

import app
from studio.inference import warm_up
from studio.jobs import database
from studio.jobs.scale import workers
from studio.storage import space

KNOWN_FOR_S = 0.1


def create_app() -> Flask:
    warm_up.CHECK_STORAGE_EVERY_S = KNOWN_FOR_S
    workers.KNOWN_FOR_S = KNOWN_FOR_S
    space.MEASURE_EVERY_S = KNOWN_FOR_S
    database.POOL_TIMEOUT_S = 1.0
    return app.create_app()
