"""The application, with patience for a busy machine.

Clients of its sockets may take two minutes until they join a namespace, and Redis to answer.
"""

from flask import Flask

import app
from studio.web import rates
from studio.web.live import connection

PATIENCE_S = 120.0
# Pings begin later than that.
PING_EVERY_S = 180


def create_app() -> Flask:
    connection.JOIN_WITHIN_S = PATIENCE_S
    rates.REDIS_TIMEOUT_S = PATIENCE_S
    made = app.create_app()
    made.extensions["parts"].socketio.server.eio.ping_interval = PING_EVERY_S
    return made
