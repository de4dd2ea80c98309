"""Request IDs, request logs and request metrics."""

import logging
import re
import secrets
import time
from urllib.parse import quote

from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST

from studio import logs
from studio.errors import Unauthorized
from studio.web.access import Access, given_key
from studio.web.metrics import Metrics
from studio.web.operations import operation

HEADER = "X-Request-ID"
# Polled by machines; logged with DEBUG only.
QUIET = ("/health", "/ready", "/metrics")
_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger("studio.requests")


def register(app: Flask, metrics: Metrics, access: Access) -> None:
    """Add `/metrics`, and record all requests."""

    @app.before_request
    def begin() -> None:
        g.began_s = time.monotonic()
        given = request.headers.get(HEADER, "")
        logs.request_id.set(given if _GIVEN.fullmatch(given) else secrets.token_hex(16))

    @app.after_request
    def note(answer: Response) -> Response:
        took_s = time.monotonic() - g.began_s
        # Callers can make up any number of unknown routes and methods.
        is_known = request.url_rule is not None
        route = str(request.url_rule) if is_known else "unknown"
        metrics.request_answered(
            request.method if is_known else "any", route, answer.status_code, took_s
        )
        answer.headers[HEADER] = logs.request_id.get() or ""
        _write_line(answer.status_code, took_s)
        return answer

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        logs.request_id.set(None)

    @app.get("/metrics")
    @operation(
        name="get_metrics",
        tag="monitoring",
        summary="Get metrics in the Prometheus text format",
        answers={200: "text/plain"},
        errors=(Unauthorized,),
        is_open=True,
        rate="none",
    )
    def show_metrics() -> Response:
        access.check_metrics(given_key(), request.environ)
        return Response(metrics.text(), content_type=CONTENT_TYPE_LATEST)


def _write_line(status: int, took_s: float) -> None:
    fields = {
        "method": request.method,
        "path": quote(request.path),
        "status": status,
        "duration_ms": round(1000 * took_s, 1),
        "client": request.remote_addr,
    }
    log.log(
        logging.DEBUG if request.path in QUIET else logging.INFO,
        "%(method)s %(path)s %(status)d %(duration_ms).1f ms %(client)s",
        fields,
        extra={"fields": fields},
    )
