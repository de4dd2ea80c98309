"""Code that calls an operation of the API: for curl, Python and JavaScript."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

JSON = "application/json"
FORM = "multipart/form-data"
# Parameters of a path that have no example of their own.
PATH_EXAMPLES = {"track": "vocals", "file_format": "flac"}
FILE = "song.mp3"
KEY = "KEY"
# Longer commands are broken.
MAX_LINE = 60


@dataclass(frozen=True)
class Call:
    """A request to an operation. `body` is a JSON object; a form has one file."""

    method: str
    url: str
    needs_key: bool
    body: Mapping[str, Any] | None = None
    is_form: bool = False
    saves_as: str | None = None


def call_of(
    method: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any], address: str
) -> Call:
    """An example of a request to an operation of the OpenAPI document."""
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            name = parameter["name"]
            value = parameter.get("example") or PATH_EXAMPLES[name]
            path = path.replace(f"{{{name}}}", quote(value))
    content = operation.get("requestBody", {}).get("content", {})
    types = operation["responses"].get("200", {}).get("content", {})
    is_file = bool(types) and JSON not in types and "text/plain" not in types
    is_track = path.startswith("/download/")
    return Call(
        method=method.upper(),
        url=address + path,
        needs_key=bool(operation["security"]),
        body=_example(content[JSON]["schema"], document) if JSON in content else None,
        is_form=FORM in content,
        saves_as=_file_name(path) if is_file or is_track else None,
    )


def samples(call: Call) -> dict[str, str]:
    """The code by language."""
    return {"curl": _curl(call), "Python": _python(call), "JavaScript": _javascript(call)}


def _example(schema: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """A value that fits a schema of an object."""
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], document)
    if "$ref" in schema:
        return _example(document["components"]["schemas"][schema["$ref"].split("/")[-1]], document)
    if examples := schema.get("examples"):
        return dict(examples[0])
    properties = schema.get("properties", {})
    shown = {name: properties[name].get("examples", [f"<{name}>"])[0] for name in properties}
    return {name: shown[name] for name in schema.get("required", [])}


def _file_name(path: str) -> str:
    last = path.rsplit("/", 1)[-1]
    return last if "." in last else f"{last}.wav"


def _curl(call: Call) -> str:
    parts = ["curl"]
    if call.method != "GET":
        parts[0] += f" -X {call.method}"
    if call.needs_key:
        parts.append(f'-H "Authorization: Bearer {KEY}"')
    if call.is_form:
        parts.append(f'-F "file=@{FILE}"')
    if call.body is not None:
        parts.append(f'-H "Content-Type: {JSON}"')
        parts.append(f"-d {shlex.quote(json.dumps(call.body))}")
    parts.append(shlex.quote(call.url))
    if call.saves_as:
        parts.append(f"-o {call.saves_as}")
    line = " ".join(parts)
    return line if len(line) <= MAX_LINE else " \\\n  ".join(parts)


def _python(call: Call) -> str:
    arguments = [json.dumps(call.url)]
    if call.needs_key:
        arguments.append(f'headers={{"Authorization": "Bearer {KEY}"}}')
    if call.is_form:
        arguments.append(f'files={{"file": open("{FILE}", "rb")}}')
    if call.body is not None:
        arguments.append(f"json={call.body!r}")
    lines = [
        "import requests",
        "",
        f"response = requests.{call.method.lower()}(",
        *(f"    {argument}," for argument in arguments),
        ")",
        "response.raise_for_status()",
    ]
    if call.saves_as:
        lines.append(f'open("{call.saves_as}", "wb").write(response.content)')
    else:
        lines.append("print(response.text)")
    return "\n".join(lines)


def _javascript(call: Call) -> str:
    options = [] if call.method == "GET" else [f'method: "{call.method}"']
    headers = [f'Authorization: "Bearer {KEY}"'] if call.needs_key else []
    lines = []
    if call.is_form:
        lines = ["const form = new FormData();", 'form.append("file", fileInput.files[0]);']
        options.append("body: form")
    if call.body is not None:
        headers.append(f'"Content-Type": "{JSON}"')
        options.append(f"body: JSON.stringify({json.dumps(call.body)})")
    if headers:
        options.insert(min(1, len(options)), f"headers: {{{', '.join(headers)}}}")
    url = json.dumps(call.url)
    if options:
        inner = "".join(f"  {option},\n" for option in options)
        lines.append(f"const response = await fetch({url}, {{\n{inner}}});")
    else:
        lines.append(f"const response = await fetch({url});")
    lines.append("if (!response.ok) throw new Error((await response.json()).error);")
    lines.append(f"console.log(await response.{'blob' if call.saves_as else 'text'}());")
    return "\n".join(lines)
