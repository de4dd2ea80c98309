"""The OpenAPI 3.1 document, made from the routes, their operations and the schemas."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from studio.errors import (
    InvalidOption,
    OriginRefused,
    StudioError,
    TooManyRequests,
    Unauthorized,
    UnknownOption,
)
from studio.jobs import outgoing
from studio.jobs.body import WEBHOOK
from studio.web import problems, schemas
from studio.web.access import CHANGES_NOTHING
from studio.web.operations import Operation

REF = "#/components/schemas/{model}"
PARAMETERS = {
    "model": "Name of a model: demucs, whisper or musicgen.",
    "file_id": "Id of an upload, from the answer of POST /upload.",
    "track": "A stem, no_<stem>, instrumental, transcription, or music.",
}
WEBHOOK_SCHEMA = {
    "type": ["string", "null"],
    "format": "uri",
    "maxLength": outgoing.MOST_CHARACTERS,
    "description": "Address that is told of the end of the job.",
}
KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "One of API_KEYS."},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def described(app: Flask) -> Iterator[tuple[str, str, Operation]]:
    """(path, method, operation) of every described route, in the order of their registration."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if found := getattr(view, "operation", None):
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield path, method.lower(), found


def document(
    app: Flask, version: str, options: list[type[BaseModel]], needs_key: bool
) -> dict[str, Any]:
    """The whole document. `options` are the bodies that the models take; `needs_key` tells whether
    the server has API keys."""
    paths: dict[str, dict[str, Any]] = {}
    for path, method, found in described(app):
        paths.setdefault(path, {})[method] = {
            **_operation(path, method, found),
            "security": [{name: []} for name in KEYS] if needs_key and not found.is_open else [],
        }
    answers = [
        kind
        for kind in vars(schemas).values()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel
    ]
    _, components = models_json_schema(
        [(kind, "serialization") for kind in answers if kind is not schemas.Answer]
        + [(kind, "validation") for kind in options],
        ref_template=REF,
    )
    for kind in options:
        components["$defs"][kind.__name__]["properties"][WEBHOOK] = WEBHOOK_SCHEMA
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Audio studio",
            "version": version,
            "description": "Stem separation, transcription and music generation.",
        },
        "paths": paths,
        "components": {"schemas": components["$defs"], "securitySchemes": KEYS},
    }


def _operation(path: str, method: str, found: Operation) -> dict[str, Any]:
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PARAMETERS[name],
            "schema": {"type": "string"},
        }
        for name in re.findall(r"{(\w+)}", path)
    ] + [
        {"name": one.name, "in": one.place, "description": one.description, "schema": one.schema}
        for one in found.parameters
    ]
    described: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method}{path}").strip("_"),
        "summary": found.summary,
        "parameters": parameters,
        "responses": _responses(
            found, tuple(dict.fromkeys((*found.errors, *_errors_at_the_door(method, found))))
        ),
    }
    if found.body:
        described["requestBody"] = {"required": found.body_required, "content": found.body}
    if found.deprecated:
        described["deprecated"] = True
    return described


def _errors_at_the_door(method: str, found: Operation) -> list[type[StudioError]]:
    """What a request meets before its view does."""
    errors: list[type[StudioError]] = []
    if not found.is_open:
        errors += [Unauthorized, UnknownOption]
        if any(parameter.place == "query" for parameter in found.parameters):
            errors.append(InvalidOption)
    if method.upper() not in CHANGES_NOTHING:
        errors.append(OriginRefused)
    if found.rate != "none":
        errors.append(TooManyRequests)
    return errors


def _responses(found: Operation, errors: tuple[type[StudioError], ...]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, answer in found.answers.items():
        responses[str(status)] = {"description": HTTPStatus(status).phrase}
        if isinstance(answer, str):
            responses[str(status)]["content"] = {answer: {}}
        elif answer is not None:
            schema = {"$ref": REF.format(model=answer.__name__)}
            responses[str(status)]["content"] = {"application/json": {"schema": schema}}
    by_status: dict[int, list[type[StudioError]]] = {}
    for error in errors:
        by_status.setdefault(error.status, []).append(error)
    for status, same in sorted(by_status.items()):
        responses[str(status)] = {
            "description": "; ".join(f"{e.title} (`{e.code}`)" for e in same),
            "content": {
                problems.MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}},
            },
        }
    return responses
