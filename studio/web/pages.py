"""The pages for people: the studio, the API reference at `/docs`, and the live test page."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, render_template, request, send_file

from studio.errors import UnknownRoute, all_errors
from studio.web.assets import STATIC, Assets
from studio.web.openapi import described, document
from studio.web.operations import own_file
from studio.web.remedies import REMEDIES
from studio.web.samples import call_of, samples
from studio.web.services import Services

ROOT = Path(__file__).resolve().parents[2]
TEST_PAGE = "websocket-test.html"
# The folder of the test page: the top of a checkout, or in a wheel beside this module.
_PAGE_FOLDERS = (ROOT, Path(__file__).resolve().parent)
# What an answer may load or do in a browser: nothing, but for the pages below.
POLICY_HEADER = "Content-Security-Policy"
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
NO_PAGE_POLICY = f"{POLICY}; style-src 'unsafe-inline'"
# Operations are tried in place, and what they return is shown from memory.
DOCS_POLICY = (
    f"{POLICY}; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "media-src blob:"
)
# Sound is played from the server, and recorded and mixed sound from memory.
STUDIO_POLICY = (
    f"{POLICY}; script-src 'self' 'wasm-unsafe-eval' {{import_map}}; worker-src 'self'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'"
)
# What the modules of the studio call the packages that `make page` installs.
VENDOR_MODULES = {
    "preact": "vendor/preact.js",
    "preact/hooks": "vendor/preact-hooks.js",
    "htm": "vendor/htm.js",
    "@preact/signals-core": "vendor/signals-core.js",
    "@preact/signals": "vendor/signals.js",
    "signalsmith-stretch": "vendor/signalsmith-stretch.js",
    "socket.io-client": "vendor/socket.io.js",
}
# The page connects to the server that its user names, and may take its client from a CDN.
TEST_PAGE_POLICY = (
    f"{POLICY}; style-src 'unsafe-inline'; connect-src * ws: wss:; media-src blob:; "
    "worker-src data: blob:; script-src 'self' data: https://cdn.socket.io {hashes}"
)
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
# Put there by `make page`.
SOCKETIO_CLIENT = STATIC / "vendor" / "socket.io.min.js"


def register(app: Flask, services: Services) -> None:
    """Add the pages and `/openapi.json`."""
    assets = Assets()
    _add_studio(app, assets, lists_files=services.access.needs_key)

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
        address = request.host_url.rstrip("/")
        api = openapi()
        operations = {found.operation_id: found for _, _, found in described(app, services.models)}
        page = render_template(
            "docs.html",
            api=api,
            address=address,
            needs_key=services.access.needs_key,
            codes=lambda path, method: samples(
                call_of(method, path, api["paths"][path][method], api, address)
            ),
            operations=operations,
            errors=all_errors(),
            remedies=REMEDIES,
            path=assets.path,
        )
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


def _add_studio(app: Flask, assets: Assets, *, lists_files: bool) -> None:
    """Add the studio, one page for all of its addresses, and its scripts and styles."""
    is_complete = all(name in assets for name in VENDOR_MODULES.values())
    modules = {name: assets.path(file) for name, file in VENDOR_MODULES.items() if file in assets}
    import_map = json.dumps({"imports": modules})
    policy = STUDIO_POLICY.format(import_map=_hash(import_map))

    @app.get("/")
    @app.get("/live")
    @app.get("/studio")
    @app.get("/studio/<path:_page>")
    def studio(_page: str = "") -> Response:
        if not is_complete:
            return Response(
                render_template("no_page.html"), headers={POLICY_HEADER: NO_PAGE_POLICY}
            )
        page = render_template(
            "studio.html", path=assets.path, import_map=import_map, lists_files=lists_files
        )
        return Response(page, headers={POLICY_HEADER: policy, "Cache-Control": "no-cache"})

    @app.get("/static/<version>/<path:name>")
    @own_file
    def static_file(version: str, name: str) -> Response:
        return assets.answer(version, name)


def _hash(script: str) -> str:
    """The source of a policy for an inline script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
