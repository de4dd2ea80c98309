"""Options that ask for more than makes sense: each text, list and number has a bound."""

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from studio.errors import InvalidOption, UnknownOption
from studio.jobs.body import parse_body
from studio.transcription.editing import EditedTranscript
from studio.transcription.live.settings import LiveSettings
from tests.support.problems import assert_problem
from tests.support.server import Server

Schema = dict[str, Any]

# Of each type, the keywords of which at least one of every group must be there.
NUMBER = [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")]
BOUNDS: dict[str, Sequence[tuple[str, ...]]] = {
    "boolean": [],
    "null": [],
    "string": [("maxLength",)],
    "integer": NUMBER,
    "number": NUMBER,
    "array": [("maxItems",), ("items",)],
    "object": [("additionalProperties",)],
}


def unbounded(schema: Schema, known: Schema, name: str = "") -> list[str]:
    """The places of a JSON schema that take a text, list, number or object of any size."""
    if "$ref" in schema:
        return unbounded(known[schema["$ref"].rpartition("/")[2]], known, name)
    inner = [(one, name) for kind in ("anyOf", "oneOf", "allOf") for one in schema.get(kind, [])]
    inner += [(schema[key], f"{name}[]") for key in ("items",) if key in schema]
    inner += [(one, f"{name}.{key}") for key, one in schema.get("properties", {}).items()]
    places = [place for one, where in inner for place in unbounded(one, known, where)]
    return places if is_bounded(schema) else [name, *places]


def is_bounded(schema: Schema) -> bool:
    """Whether the outermost level of a schema bounds what it takes."""
    if schema.keys() & {"enum", "const", "anyOf", "oneOf", "allOf"}:
        return True
    kinds = schema.get("type")
    return all(
        kind in BOUNDS
        and all(any(key in schema for key in keys) for keys in BOUNDS[kind])
        and (kind != "object" or schema["additionalProperties"] is False)
        for kind in (kinds if isinstance(kinds, list) else [kinds])
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "pattern": "^a*$"},
        {"type": "integer", "minimum": 0},
        {"type": "number", "exclusiveMaximum": 1},
        {"type": "array", "items": {"type": "boolean"}},
        {"type": "array", "maxItems": 3, "items": {"type": "string"}},
        {"type": "array", "maxItems": 3},
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        {"type": "object", "properties": {}},
        {"type": "object", "additionalProperties": False, "properties": {"a": {"type": "string"}}},
        {},
    ],
)
def test_the_walker_finds_what_has_no_bound(schema: Schema) -> None:
    assert unbounded(schema, {}) != []


def test_every_option_of_every_model_is_bounded(server: Server) -> None:
    document = server.get("/openapi.json").json()
    known = document["components"]["schemas"]
    bodies = {
        path: operation["requestBody"]["content"]["application/json"]["schema"]
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    # An edited transcript is bounded as a whole.
    del bodies["/files/{file_id}/{track}"]
    assert bodies
    for path, schema in bodies.items():
        assert unbounded(schema, known, path) == []


def test_every_query_parameter_is_bounded(server: Server) -> None:
    for path, methods in server.get("/openapi.json").json()["paths"].items():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "query":
                    name = f"{path}?{parameter['name']}"
                    assert unbounded(parameter["schema"], {}, name) == []


def test_every_setting_of_a_live_session_is_bounded() -> None:
    schema = LiveSettings.model_json_schema()
    assert unbounded(schema, schema.get("$defs", {})) == []


def test_a_long_list_of_temperatures_is_refused(server: Server, short_wav: Path) -> None:
    """Each is one more decoding of a window, which /cancel would have to wait for."""
    file_id = server.upload(short_wav)
    answer = server.process(file_id, "whisper", model_variant="mini", temperature=[0.5] * 3000)
    body = assert_problem(answer, "invalid_option", "temperature")
    assert "at most 10" in body["error"]
    assert len(body["error"]) < 1000
    answer = server.process(file_id, "whisper", **{"x" * 50_000: 1})
    assert len(assert_problem(answer, "unknown_option")["error"]) < 1000


MANY = 100_000
VALID = {"start_s": 0, "end_s": 1, "text": "", "words": []}


@pytest.mark.parametrize(
    "body",
    [
        {"segments": [{}] * MANY},
        {"segments": [{**VALID, "words": [{}] * 1000}] * (MANY // 1000)},
        {"segments": [{**VALID, "tokens": ["x"] * 10_000}] * 10},
        {"segments": [{**VALID, **{f"x{number}": 0 for number in range(MANY)}}]},
        {f"x{number}": 0 for number in range(MANY)},
    ],
    ids=["segments", "words", "tokens", "fields of a segment", "fields"],
)
def test_a_body_with_many_errors_takes_no_memory(body: dict[str, Any]) -> None:
    """Only the first error is told, so the others are not collected: each takes about 1 kB."""
    tracemalloc.start()
    try:
        with pytest.raises((InvalidOption, UnknownOption)) as caught:
            parse_body(EditedTranscript, body)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20
    assert len(caught.value.sentence) < 500
