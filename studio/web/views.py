"""The base of the REST views."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from flask import Response, g, jsonify, request
from pydantic import BaseModel

from studio.storage.on_demand import Requester, requested_by
from studio.storage.uploads import Upload, unknown_file
from studio.web.answers import JobAnswers
from studio.web.services import Services
from studio.web.tcp import is_disconnected, tcp_of

POLL_AFTER_S = 2


def answer(body: BaseModel, status: int = 200, **headers: Any) -> Response:
    response = jsonify(body.model_dump(mode="json"))
    response.status_code = status
    response.headers.update({name.replace("_", "-"): str(text) for name, text in headers.items()})
    return response


def has_left() -> Callable[[], bool]:
    """A function that says whether the client of the current request has closed its connection."""
    tcp = tcp_of(request.environ)
    return lambda: tcp is not None and is_disconnected(tcp)


class Views:
    """A class of views, with the parts of the server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._storage = services.storage
        self._store = services.store
        self._models = services.models
        self._answers = JobAnswers(services.models)

    def _upload(self, file_id: str) -> Upload:
        """An upload of the caller. Raises UnknownFile, also for uploads of others."""
        upload = self._storage.upload(file_id)
        if upload.owner != g.owner:
            raise unknown_file(file_id)
        return upload

    def _request(self) -> AbstractContextManager[None]:
        """Attribute files made in this block to the current request; see `requested_by`."""
        return requested_by(Requester(self._services.access.caller(), has_left()))
