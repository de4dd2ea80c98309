"""The application, on whose sockets clients may take two minutes until they join a namespace."""

from flask import Flask

import app
from studio.web.live import connection

JOIN_WITHIN_S = 120.0
# Pings begin later than that.
PING_EVERY_S = 180


def create_app() -> Flask:
    connection.JOIN_WITHIN_S = JOIN_WITHIN_S
    made = app.create_app()
    made.extensions["parts"].socketio.server.eio.ping_interval = PING_EVERY_S
    return made
