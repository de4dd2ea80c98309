"""The pages for people: the studio, the API reference at `/docs`, and the live test page."""

import json
import re
from pathlib import Path

from flask import Flask, Response, render_template, send_file

from studio.errors import UnknownRoute
from studio.settings.folders import ROOT
from studio.web import reference
from studio.web.assets import STATIC, Assets
from studio.web.operations import own_file
from studio.web.policies import (
    NO_PAGE_POLICY,
    POLICY,
    POLICY_HEADER,
    STUDIO_POLICY,
    TEST_PAGE_POLICY,
    script_source,
)
from studio.web.services import Services

TEST_PAGE = "websocket-test.html"
# The folder of the test page: the top of a checkout, or in a wheel beside this module.
_PAGE_FOLDERS = (ROOT, Path(__file__).resolve().parent)
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
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
# Put there by `make page`.
SOCKETIO_CLIENT = STATIC / "vendor" / "socket.io.min.js"


def register(app: Flask, services: Services) -> None:
    """Add the pages, the API reference among them."""
    assets = Assets()
    _add_studio(app, assets, lists_files=services.access.needs_key)
    reference.register(app, services, assets)
    page_file = next(path for folder in _PAGE_FOLDERS if (path := folder / TEST_PAGE).is_file())
    hashes = map(script_source, _SCRIPT.findall(page_file.read_text("utf-8")))
    test_page_policy = TEST_PAGE_POLICY.format(hashes=" ".join(hashes))

    @app.after_request
    def restrict(answer: Response) -> Response:
        answer.headers.setdefault(POLICY_HEADER, POLICY)
        return answer

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
    policy = STUDIO_POLICY.format(import_map=script_source(import_map))

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
