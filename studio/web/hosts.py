"""Rejects requests for unknown host names.

If a page makes its own name resolve to this server's address (DNS rebinding), the browser treats
both as one origin; only the Host header differs. Flask's hooks do not run for Socket.IO, so this is
WSGI middleware.
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from studio.errors import UnknownHost
from studio.web import problems

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def only_for(
    application: Application, hosts: frozenset[str], error_formats: problems.ErrorFormats
) -> Application:
    """Restrict an application to `hosts`, localhost and IP addresses, which nobody can rebind."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        host = _without_port(environ.get("HTTP_HOST", ""))
        if host in hosts or host == "localhost" or _is_address(host):
            return application(environ, start_response)
        error = UnknownHost(
            f"This server is not configured for the host {host[:100]!r}. Use its IP address, or "
            "ask the operator to add the name to ALLOWED_HOSTS."
        )
        return error_formats.response(error, environ.get("PATH_INFO", ""))(environ, start_response)

    return answer


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() and not name.endswith(":") else host.lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
