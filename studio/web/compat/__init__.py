"""The protocols of other programs, each a module that translates and holds no logic.

A module adds its routes and its error format with `register(app, services, error_formats)`.
Routes that wait for a job do so with `studio.web.compat.blocking_jobs`.
"""

from flask import Flask

from studio.web.compat import asr, separator
from studio.web.compat.openai import views as openai_views
from studio.web.live.server import Live
from studio.web.problems import ErrorFormats
from studio.web.services import Services


def register(
    app: Flask, services: Services, error_formats: ErrorFormats, live: Live | None
) -> None:
    """Add the routes of all protocols; those of live speech only if `live` is given."""
    openai_views.register(app, services, error_formats, live)
    asr.register(app, services, error_formats)
    separator.register(app, services, error_formats)
