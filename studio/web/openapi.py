"""Generates the OpenAPI 3.1 document from the routes, their operations and the schemas."""

import re
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Literal

from flask import Flask
from pydantic import BaseModel, create_model
from pydantic.json_schema import models_json_schema

from studio import audio
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
from studio.processors import Processors
from studio.web import problems, schemas
from studio.web.access import CHANGES_NOTHING
from studio.web.operations import ANY_MODEL, TAGS, TRACK, Operation, Parameter

REF = "#/components/schemas/{model}"
WEBHOOK_SCHEMA = {
    "type": ["string", "null"],
    "format": "uri",
    "maxLength": outgoing.MAX_URL_CHARACTERS,
    "description": "URL that receives a request when the job ends.",
    "examples": ["https://example.com/hooks/studio"],
}
KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "One of API_KEYS."},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
BINARY = {"type": "string", "format": "binary"}
# Stands for every type in front of the actual ones: client generators that know only a few types
# take the first one that they know.
ANY_BYTES = "application/octet-stream"


def described(app: Flask, models: Processors) -> Iterator[tuple[str, str, Operation]]:
    """(path, method, operation) of every described route, in registration order.

    A route for any model is followed by one for each model.
    """
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        operation = getattr(view, "operation", None)
        if operation is not None and operation.is_described:
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield path, method.lower(), operation
                if operation.options_of == ANY_MODEL:
                    for name in models.names():
                        one = replace(operation, model=name, options_of=name)
                        yield path.replace("{model}", name), method.lower(), one


def document(app: Flask, version: str, models: Processors, needs_key: bool) -> dict[str, Any]:
    """The whole document. `needs_key`: the server has API keys."""
    paths: dict[str, dict[str, Any]] = {}
    for path, method, operation in described(app, models):
        paths.setdefault(path, {})[method] = {
            **_operation(path, method, operation, models),
            "security": [{name: []} for name in KEYS]
            if needs_key and not operation.is_open
            else [],
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Audio Studio",
            "version": version,
            "description": "Stem separation, transcription and music generation.",
        },
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "paths": paths,
        "components": {"schemas": _components(models), "securitySchemes": KEYS},
    }


def _components(models: Processors) -> dict[str, Any]:
    """The schemas of answers, options and results, by name."""
    answers = [
        kind
        for kind in vars(schemas).values()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel
    ]
    options, results = models.options(), models.results()
    _, components = models_json_schema(
        [(kind, "serialization") for kind in (*answers, *results.values())]
        + [(_job_of(name, kind), "serialization") for name, kind in results.items()]
        + [(kind, "validation") for kind in options.values()],
        ref_template=REF,
    )
    schemas_by_name: dict[str, Any] = components["$defs"]
    for kind in options.values():
        schemas_by_name[kind.__name__]["properties"][WEBHOOK] = WEBHOOK_SCHEMA
    result = schemas_by_name[schemas.Job.__name__]["properties"]["result"]
    result["anyOf"] = [*_each(results), {"type": "null"}]
    return schemas_by_name


def _job_of(name: str, result: type[BaseModel]) -> type[BaseModel]:
    """The schema of a job of one model."""
    fields: dict[str, Any] = {
        "model": (Literal[name], ...),
        "result": (result | None, schemas.Job.model_fields["result"]),
    }
    return create_model(_job_name(name), __base__=schemas.Job, **fields)


def _job_name(model: str) -> str:
    return f"{model.capitalize()}{schemas.Job.__name__}"


def _each(kinds: dict[str, Any]) -> list[dict[str, str]]:
    """References to schemas that differ from model to model, each one once."""
    names = dict.fromkeys(kind.__name__ for kind in kinds.values())
    return [{"$ref": REF.format(model=name)} for name in names]


def _path_parameters(path: str, models: Processors) -> list[dict[str, Any]]:
    descriptions = {
        "model": f"Name of a model: {', '.join(models.names())}.",
        "file_id": "ID of an upload, from the response of POST /upload.",
        "track": f"Name of a track. {models.tracks_help()}.",
        "file_format": f"Format of the file: {', '.join(audio.CONTENT_TYPES)}. Stems are available "
        "as flac (up to 8 channels, so 4 stems) and wav.",
    }
    examples = {"model": models.names()[0], "file_id": schemas.FILE_ID}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": descriptions[name],
            "schema": {"type": "string"},
            **({"example": examples[name]} if name in examples else {}),
        }
        for name in re.findall(r"{(\w+)}", path)
    ]


def _parameter(parameter: Parameter, models: Processors) -> dict[str, Any]:
    formats = {"type": "string", "enum": list(models.formats())}
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": formats if parameter.is_format else parameter.schema,
    }


def _body(operation: Operation, models: Processors) -> dict[str, Any]:
    """The content of a request body."""
    if isinstance(operation.body, type):
        return {"application/json": {"schema": operation.body.model_json_schema()}}
    if operation.options_of is None:
        return operation.body
    kinds = models.options()
    if operation.options_of == ANY_MODEL:
        return {"application/json": {"schema": {"anyOf": _each(kinds)}}}
    [schema] = _each({operation.options_of: kinds[operation.options_of]})
    return {"application/json": {"schema": schema}}


def _operation(path: str, method: str, operation: Operation, models: Processors) -> dict[str, Any]:
    parameters = _path_parameters(path, models)
    for parameter in operation.parameters:
        names = [parameter.name]
        if parameter.of_stem:
            names = [parameter.of_stem.format(stem=stem) for stem in models.mixed()]
        parameters += [_parameter(replace(parameter, name=name), models) for name in names]
    described: dict[str, Any] = {
        "operationId": operation.operation_id,
        "tags": [operation.tag],
        "summary": operation.summary + (f" ({operation.model})" if operation.model else ""),
        "parameters": parameters,
        "responses": {
            **_answers(operation, models),
            **_error_answers((*operation.errors, *_pre_view_errors(method, operation))),
        },
    }
    if body := _body(operation, models):
        described["requestBody"] = {"required": operation.body_required, "content": body}
    if operation.deprecated:
        described["deprecated"] = True
    return described


def _pre_view_errors(method: str, operation: Operation) -> list[type[StudioError]]:
    """Errors that are raised before the view is called."""
    errors: list[type[StudioError]] = []
    if not operation.is_open:
        errors += [Unauthorized, UnknownOption]
        if any(parameter.place == "query" for parameter in operation.parameters):
            errors.append(InvalidOption)
    if method.upper() not in CHANGES_NOTHING:
        errors.append(OriginRefused)
    # Operations without a rate are limited only for requests without a valid key.
    if operation.rate != "none" or not operation.is_open:
        errors.append(TooManyRequests)
    return errors


def _answers(operation: Operation, models: Processors) -> dict[str, Any]:
    return {
        str(status): {
            "description": HTTPStatus(status).phrase,
            **({} if answer is None else {"content": _content(answer, operation, models)}),
        }
        for status, answer in operation.answers.items()
    }


def _content(
    answer: type[BaseModel] | str, operation: Operation, models: Processors
) -> dict[str, dict[str, Any]]:
    """The content of an answer by media type."""
    if not isinstance(answer, str):
        is_of_model = answer is schemas.Job and operation.options_of in models.names()
        name = _job_name(operation.options_of or "") if is_of_model else answer.__name__
        return {"application/json": {"schema": {"$ref": REF.format(model=name)}}}
    kinds = models.formats().values() if answer == TRACK else answer.split(", ")
    content = {kind.partition(";")[0]: {"schema": _schema_of(kind)} for kind in kinds}
    has_bytes = any(one["schema"] == BINARY for one in content.values())
    return {ANY_BYTES: {"schema": BINARY}, **content} if has_bytes else content


def _schema_of(media_type: str) -> dict[str, Any]:
    """The schema of a file; that of JSON is unknown."""
    if media_type.startswith("text/"):
        return {"type": "string"}
    return {} if media_type == "application/json" else BINARY


def _error_answers(errors: tuple[type[StudioError], ...]) -> dict[str, Any]:
    by_status: dict[int, list[type[StudioError]]] = {}
    for error in dict.fromkeys(errors):
        by_status.setdefault(error.status, []).append(error)
    return {
        str(status): {
            "description": "; ".join(f"{e.title} (`{e.code}`)" for e in same),
            "content": {
                problems.MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}},
            },
        }
        for status, same in sorted(by_status.items())
    }
