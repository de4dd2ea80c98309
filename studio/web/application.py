"""The Flask application: routes, pages, CORS, and the checks before every request."""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from flask import Flask, Response, g
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from studio.web import access, hosts, pages, problems, rates, rest, watch
from studio.web.metrics import Metrics
from studio.web.problems import ErrorFormats
from studio.web.services import Services

# What a web page of another origin may read besides the usual.
EXPOSED_HEADERS = [
    "Location",
    "Retry-After",
    "Content-Disposition",
    "Content-Range",
    "Accept-Ranges",
    "ETag",
    "WWW-Authenticate",
    "x-should-retry",
    watch.HEADER,
]


def make(
    app: Flask,
    services: Services,
    metrics: Metrics,
    error_formats: ErrorFormats,
    *,
    max_content_length: int,
    cors_origins: str | list[str],
    limits: Mapping[str, rates.Limit],
) -> None:
    """Add all routes but those of Socket.IO and of other programs' protocols."""
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.config.update(SECRET_KEY=services.secret, MAX_CONTENT_LENGTH=max_content_length)
    CORS(app, origins=_cors_patterns(cors_origins), expose_headers=EXPOSED_HEADERS)
    _hold_files(app, services)
    watch.register(app, metrics, services.access)
    rates.register(app, services.access, limits)
    access.register(app, services.access)
    rest.register(app, services)
    pages.register(app, services)
    problems.register(app, error_formats)


def _hold_files(app: Flask, services: Services) -> None:
    """Keep the local copies of files that a request reads until its answer is sent."""

    def begin() -> None:
        g.held = ExitStack()
        g.held.enter_context(services.storage.hold())

    def end(answer: Response) -> Response:
        if "held" in g:
            answer.call_on_close(g.held.close)
        return answer

    app.before_request(begin)
    app.after_request(end)


def guard(
    app: Flask,
    error_formats: ErrorFormats,
    *,
    allowed_hosts: frozenset[str] | None,
    trusted_proxies: int,
) -> None:
    """Check hosts and believe trusted proxies before any request, those of Socket.IO included.

    `allowed_hosts` None allows any. Call this last.
    """
    outer: Any = app.wsgi_app
    if allowed_hosts is not None:
        outer = hosts.only_for(outer, allowed_hosts, error_formats)
    if trusted_proxies:
        outer = _with_scheme(outer, trusted_proxies)
        outer = ProxyFix(outer, x_for=trusted_proxies, x_proto=0)
    app.wsgi_app = outer  # type: ignore[method-assign]


def _with_scheme(application: Any, trusted_proxies: int) -> Any:
    """Take the scheme that the first of the trusted proxies received, from X-Forwarded-Proto.

    Many proxies replace this header instead of appending to it, so it may have fewer values than
    there are proxies, which ProxyFix does not accept.
    """

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        schemes = environ.get("HTTP_X_FORWARDED_PROTO", "").split(",")
        if scheme := schemes[-trusted_proxies:][0].strip():
            environ["wsgi.url_scheme"] = scheme
        return application(environ, start_response)

    return answer


def _cors_patterns(origins: str | list[str]) -> str | list[re.Pattern[str]]:
    """The origins for Flask-CORS, which takes a text with brackets, as of IPv6, for a pattern."""
    if isinstance(origins, str):
        return origins
    return [re.compile(rf"{re.escape(one)}\Z", re.IGNORECASE) for one in origins]
