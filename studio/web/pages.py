"""The pages for people: `/` leads to `/docs`, which shows the OpenAPI document."""

from typing import Any

from flask import Flask, Response, jsonify, redirect, render_template
from werkzeug.wrappers import Response as AnyResponse

from studio.errors import all_errors
from studio.web.openapi import document
from studio.web.services import Services


def register(app: Flask, services: Services) -> None:
    """Add `/`, `/docs` and `/openapi.json`."""

    def openapi() -> dict[str, Any]:
        return document(app, services.version, services.models.options())

    @app.get("/openapi.json")
    def openapi_json() -> Response:
        return jsonify(openapi())

    @app.get("/docs")
    def docs() -> str:
        return render_template("docs.html", api=openapi(), errors=all_errors())

    @app.get("/")
    def index() -> AnyResponse:
        return redirect("/docs")
