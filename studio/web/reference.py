"""The API reference: `/openapi.json`, and the page `/docs`."""

from functools import cache, lru_cache
from typing import Any

from flask import Flask, Response, jsonify, render_template, request

from studio.errors import all_errors
from studio.web.assets import Assets
from studio.web.openapi import described, document
from studio.web.policies import DOCS_POLICY, POLICY_HEADER
from studio.web.remedies import REMEDIES
from studio.web.samples import call_of, samples
from studio.web.services import Services

# The page shows the address of the server, which may have several.
MAX_PAGES = 8


def register(app: Flask, services: Services, assets: Assets) -> None:
    """Add both. They are built once, because that takes a tenth of a second of processor time."""
    needs_key = services.access.needs_key

    @cache
    def openapi() -> dict[str, Any]:
        return document(app, services.version, services.models, needs_key)

    @cache
    def openapi_body() -> bytes:
        return jsonify(openapi()).get_data()

    @lru_cache(MAX_PAGES)
    def page(address: str) -> str:
        api = openapi()
        operations = {each.operation_id: each for _, _, each in described(app, services.models)}
        return render_template(
            "docs.html",
            api=api,
            address=address,
            needs_key=needs_key,
            codes=lambda path, method: samples(
                call_of(method, path, api["paths"][path][method], api, address)
            ),
            operations=operations,
            errors=all_errors(),
            remedies=REMEDIES,
            path=assets.path,
        )

    @app.get("/openapi.json")
    def openapi_json() -> Response:
        return _answer(Response(openapi_body(), mimetype="application/json"))

    @app.get("/docs")
    def docs() -> Response:
        headers = {POLICY_HEADER: DOCS_POLICY}
        return _answer(Response(page(request.host_url.rstrip("/")), headers=headers))


def _answer(response: Response) -> Response:
    """The response with an ETag, or 304 if the client has it already."""
    response.add_etag()
    response.make_conditional(request)
    return response
