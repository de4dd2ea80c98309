"""The routes of the REST API, and the limits of its requests."""

from collections.abc import Callable

from flask import Blueprint, Flask, Response, request

from studio.web import editing, receiving
from studio.web.access import asked_operation
from studio.web.editing import EditViews
from studio.web.jobs import JobViews
from studio.web.links import Links, LinkViews
from studio.web.listing import ListViews
from studio.web.mixes import MixViews
from studio.web.originals import OriginalViews
from studio.web.server import ServerViews
from studio.web.services import Services
from studio.web.session import CookieSessions, SessionViews
from studio.web.tickets import Tickets
from studio.web.tracks import TrackViews
from studio.web.uploads import UploadViews
from studio.web.videos import VideoViews

# The longest useful options are a few kB.
MAX_JSON_BYTES = 1 << 16


def register(app: Flask, services: Services) -> None:
    """Add all REST routes to the application."""
    tickets = Tickets(services.secret)
    services.access.accept(Links(tickets, services.access, services.storage).owner)
    services.access.accept(CookieSessions(tickets, services.access).owner)
    blueprint = Blueprint("rest", __name__)
    for rule, method, view in _routes(services, tickets):
        blueprint.add_url_rule(rule, view.__name__, view, methods=[method])

    # Other bodies are small.
    sizes = {
        f"{blueprint.name}.{UploadViews.upload.__name__}": services.uploads.max_bytes,
        f"{blueprint.name}.{EditViews.edit.__name__}": editing.MAX_BYTES,
    }

    @blueprint.before_request
    def limit_body() -> None:
        max_bytes = sizes.get(request.endpoint or "", MAX_JSON_BYTES)
        request.max_content_length = min(max_bytes, services.uploads.max_bytes)

    @blueprint.before_request
    def check_query() -> None:
        asked = asked_operation()
        is_checked = asked and not asked.is_open and not asked.query_is_options
        if asked and is_checked and request.method != "OPTIONS":
            receiving.check_query(asked)

    app.register_blueprint(blueprint)


def _routes(
    services: Services, tickets: Tickets
) -> tuple[tuple[str, str, Callable[..., Response]], ...]:
    """(rule, method, view) of every route."""
    server, uploads, jobs = ServerViews(services), UploadViews(services), JobViews(services)
    tracks, mixes, videos = TrackViews(services), MixViews(services), VideoViews(services)
    originals, edits, listed = OriginalViews(services), EditViews(services), ListViews(services)
    links, sessions = LinkViews(services, tickets), SessionViews(services, tickets)
    return (
        ("/health", "GET", server.health),
        ("/ready", "GET", server.ready),
        ("/models", "GET", server.models),
        ("/upload", "POST", uploads.upload),
        ("/process/<model>/<file_id>", "POST", jobs.process),
        ("/separate/<file_id>", "POST", jobs.separate),
        ("/status/<file_id>", "GET", jobs.status),
        ("/cancel/<file_id>", "POST", jobs.cancel),
        ("/download/<file_id>/all.zip", "GET", tracks.archive),
        ("/download/<file_id>/stems.<file_format>", "GET", tracks.stems),
        ("/download/<file_id>/mix.<file_format>", "GET", mixes.mix),
        ("/download/<file_id>/original", "GET", originals.original),
        ("/download/<file_id>/karaoke.mp4", "GET", videos.karaoke),
        ("/download/<file_id>/<track>", "GET", tracks.download),
        ("/files", "GET", listed.list_files),
        ("/files/<file_id>", "GET", tracks.files),
        ("/files/<file_id>/<track>", "PUT", edits.edit),
        ("/files/<file_id>/<track>", "DELETE", edits.restore),
        ("/cleanup/<file_id>", "DELETE", uploads.cleanup),
        ("/links", "POST", links.create_link),
        ("/session", "POST", sessions.sign_in),
        ("/session", "DELETE", sessions.sign_out),
    )
