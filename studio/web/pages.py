"""The pages for people: `/docs`, which shows the OpenAPI document, and the live test page."""

from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, redirect, render_template, send_file
from werkzeug.wrappers import Response as AnyResponse

from studio.errors import UnknownRoute, all_errors
from studio.web.openapi import document
from studio.web.services import Services

ROOT = Path(__file__).resolve().parents[2]
TEST_PAGE = "websocket-test.html"
# Put there by `make page`.
SOCKETIO_CLIENT = ROOT / "node_modules" / "socket.io-client" / "dist" / "socket.io.min.js"


def register(app: Flask, services: Services) -> None:
    """Add `/`, `/docs` and `/openapi.json`."""

    def openapi() -> dict[str, Any]:
        options = services.models.options()
        return document(app, services.version, options, services.access.needs_key)

    @app.get("/openapi.json")
    def openapi_json() -> Response:
        return jsonify(openapi())

    @app.get("/docs")
    def docs() -> str:
        return render_template("docs.html", api=openapi(), errors=all_errors())

    @app.get(f"/{TEST_PAGE}")
    def test_page() -> Response:
        return send_file(ROOT / TEST_PAGE)

    @app.get("/socket.io-client.js")
    def socketio_client() -> Response:
        if not SOCKETIO_CLIENT.is_file():
            raise UnknownRoute(
                "This server has no copy of the Socket.IO client: run `make page`, or take it from "
                "a CDN."
            )
        return send_file(SOCKETIO_CLIENT, mimetype="text/javascript")

    @app.get("/")
    def index() -> AnyResponse:
        return redirect("/docs")
