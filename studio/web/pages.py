"""The pages for people: `/docs`, which shows the OpenAPI document, and the live test page."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, redirect, render_template, send_file
from werkzeug.wrappers import Response as AnyResponse

from studio.errors import UnknownRoute, all_errors
from studio.web.openapi import document
from studio.web.services import Services

ROOT = Path(__file__).resolve().parents[2]
TEST_PAGE = "websocket-test.html"
# The folder of the test page: the top of a checkout, or in a wheel beside this module.
_PAGE_FOLDERS = (ROOT, Path(__file__).resolve().parent)
# What an answer may load or do in a browser: nothing, but for the pages below.
POLICY_HEADER = "Content-Security-Policy"
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
DOCS_POLICY = f"{POLICY}; style-src 'unsafe-inline'"
# The page connects to the server that its user names, and may take its client from a CDN.
TEST_PAGE_POLICY = (
    f"{POLICY}; style-src 'unsafe-inline'; connect-src * ws: wss:; media-src blob:; "
    "worker-src data: blob:; script-src 'self' data: https://cdn.socket.io {hashes}"
)
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
# Put there by `make page`.
SOCKETIO_CLIENT = ROOT / "node_modules" / "socket.io-client" / "dist" / "socket.io.min.js"


def register(app: Flask, services: Services) -> None:
    """Add `/`, `/docs` and `/openapi.json`."""

    def openapi() -> dict[str, Any]:
        return document(app, services.version, services.models, services.access.needs_key)

    page_file = next(path for folder in _PAGE_FOLDERS if (path := folder / TEST_PAGE).is_file())
    hashes = map(_hash, _SCRIPT.findall(page_file.read_text("utf-8")))
    test_page_policy = TEST_PAGE_POLICY.format(hashes=" ".join(hashes))

    @app.after_request
    def restrict(answer: Response) -> Response:
        answer.headers.setdefault(POLICY_HEADER, POLICY)
        return answer

    @app.get("/openapi.json")
    def openapi_json() -> Response:
        return jsonify(openapi())

    @app.get("/docs")
    def docs() -> Response:
        page = render_template("docs.html", api=openapi(), errors=all_errors())
        return Response(page, headers={POLICY_HEADER: DOCS_POLICY})

    @app.get(f"/{TEST_PAGE}")
    def test_page() -> Response:
        answer = send_file(page_file)
        answer.headers[POLICY_HEADER] = test_page_policy
        return answer

    @app.get("/socket.io-client.js")
    def socketio_client() -> Response:
        if not SOCKETIO_CLIENT.is_file():
            raise UnknownRoute(
                "This server has no copy of the Socket.IO client. Run `make page`, or load the "
                "client from a CDN."
            )
        return send_file(SOCKETIO_CLIENT, mimetype="text/javascript")

    @app.get("/")
    def index() -> AnyResponse:
        return redirect("/docs")


def _hash(script: str) -> str:
    """How a policy names a script that stands in its page."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
