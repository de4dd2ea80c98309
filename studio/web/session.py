"""`/session`: a cookie with which the server's own pages need no key.

The cookie is accepted only in requests that the browser attributes to a page of this server.
Otherwise pages of other origins could use it: SameSite does not keep out other ports and
subdomains.
"""

from flask import Response, request

from studio.errors import OriginRefused
from studio.web import schemas
from studio.web.access import CHANGES_NOTHING, Access, given_key, is_own_origin
from studio.web.answers import time_of
from studio.web.operations import operation
from studio.web.services import Services
from studio.web.tickets import Tickets
from studio.web.views import Views, answer

# The prefix makes browsers refuse a cookie that another subdomain or a page without TLS sets.
SECURE_COOKIE, COOKIE = "__Host-studio_session", "studio_session"
PURPOSE = "session"
LIFETIME_S = 12 * 3600


class CookieSessions:
    """Recognises the owner of the current request by the session cookie."""

    def __init__(self, tickets: Tickets, access: Access) -> None:
        self._tickets = tickets
        self._access = access

    def owner(self) -> str | None:
        """The owner, or None without a valid cookie; a key in the request takes precedence."""
        ticket = request.cookies.get(_cookie())
        if ticket is None or given_key() is not None or not is_from_own_page():
            return None
        for owner in self._access.owners:
            if self._tickets.is_valid(ticket, PURPOSE, owner):
                return owner
        return None


class SessionViews(Views):
    """Signing in and out."""

    def __init__(self, services: Services, tickets: Tickets) -> None:
        super().__init__(services)
        self._tickets = tickets

    @operation(
        name="sign_in",
        tag="access",
        summary="Exchange an API key for a session cookie, for the server's own pages",
        answers={200: schemas.Session},
    )
    def sign_in(self) -> Response:
        if is_from_another_origin():
            raise OriginRefused("Only pages of this server can sign in. Use an API key instead.")
        owner = self._services.access.owner_of(given_key())
        if owner is None:
            return answer(schemas.Session(expires_at=None))
        ticket, expires_at = self._tickets.issue(PURPOSE, owner, lifetime_s=LIFETIME_S)
        response = answer(schemas.Session(expires_at=time_of(expires_at)))
        response.set_cookie(
            _cookie(),
            ticket,
            max_age=LIFETIME_S,
            secure=request.is_secure,
            httponly=True,
            samesite="Strict",
        )
        return response

    @operation(
        name="sign_out",
        tag="access",
        summary="Delete the session cookie",
        answers={200: schemas.Session},
    )
    def sign_out(self) -> Response:
        response = answer(schemas.Session(expires_at=None))
        response.delete_cookie(
            _cookie(), secure=request.is_secure, httponly=True, samesite="Strict"
        )
        return response


def is_from_another_origin() -> bool:
    """Whether a browser says that a page of another origin sent the current request."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    origin = request.headers.get("Origin")
    is_own = origin is None or is_own_origin(origin, request.host)
    return site not in ("same-origin", "none") or not is_own


def is_from_own_page() -> bool:
    """Whether the current request may use the cookie.

    Browsers say where a request that changes something comes from; one without this is refused.
    """
    says_where = "Origin" in request.headers or "Sec-Fetch-Site" in request.headers
    is_known = says_where or request.method in CHANGES_NOTHING
    return is_known and not is_from_another_origin()


def _cookie() -> str:
    return SECURE_COOKIE if request.is_secure else COOKIE
