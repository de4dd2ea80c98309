"""docs/protocol.md has every event, setting, limit and error code of the live code."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from config import Config
from studio.transcription.live.pcm import PCM, RATES_HZ
from studio.transcription.live.receive import CONTAINERS
from studio.transcription.live.settings import Limits, LiveSettings
from studio.web.live.jobs import (
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_CLIENT,
    MAX_FILES,
    JobsNamespace,
)
from studio.web.live.transcription import PROTOCOL, Transcribe
from tests.support.server import ROOT

DOCUMENT = (ROOT / "docs" / "protocol.md").read_text("utf-8")
SOURCES = [
    *(ROOT / "studio" / "transcription" / "live").glob("*.py"),
    *(ROOT / "studio/web/live/transcription.py", ROOT / "studio/web/live/namespaces.py"),
]


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT, re.M | re.S)
    assert found, title
    return found[1]


def first_cells(text: str) -> set[str]:
    """The names in code style in the first column of a table."""
    rows = re.findall(r"^\| (`.*?) \|", text, re.M)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def calls(path: Path, *names: str) -> list[list[ast.expr]]:
    """The arguments of calls of functions (or methods) of these names."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in names:
                found.append(list(node.args))
    return found


def texts(arguments: list[ast.expr]) -> list[str]:
    constants = [one for one in arguments if isinstance(one, ast.Constant)]
    return [one.value for one in constants if isinstance(one.value, str)]


def test_the_version_is_told() -> None:
    assert f"Version {PROTOCOL}." in DOCUMENT
    assert f"`protocol` ({PROTOCOL})" in DOCUMENT


def test_every_event_of_clients_is_described() -> None:
    handled = {name.removeprefix("on_") for name in vars(Transcribe) if name.startswith("on_")}
    rows = re.findall(r"^\| `(\w+)` \|.*\|.*\|$", section("Client events"), re.M)
    assert handled - {"connect", "disconnect"} <= set(rows)


def test_every_event_of_the_server_is_described() -> None:
    sent = {
        text for path in SOURCES for call in calls(path, "_emit", "_send") for text in texts(call)
    }
    assert len(sent) >= 6
    assert sent == first_cells(section("Server events"))


def test_every_field_of_a_transcription_is_described() -> None:
    source = (ROOT / "studio/transcription/live/events.py").read_text("utf-8")
    names = set(re.findall(r'"(\w+)":', source)) | set(re.findall(r'event\["(\w+)"\]', source))
    assert names >= {"transcription", "is_final", "stable", "words", "probability"}
    for name in names:
        assert f"`{name}`" in section("Server events"), name


@pytest.mark.parametrize("name", LiveSettings.model_fields)
def test_every_setting_of_a_session_is_described(name: str) -> None:
    row = re.search(rf"^\| `{name}` \| (.*?) \|", section("Client events"), re.M)
    assert row, name
    field = LiveSettings.model_fields[name]
    if not field.is_required():
        default = {None: "null", "": "empty", True: "true", False: "false"}.get(field.default)
        assert row[1] == (default or str(field.default))


@pytest.mark.parametrize("field", fields(Limits), ids=lambda field: field.name)
def test_every_limit_is_described(field: "object") -> None:
    name = field.name  # type: ignore[attr-defined]
    row = re.search(rf"^\| `{name}` \| `(\w+)` \|", section("Limits"), re.M)
    assert row, name
    own_names = {"sessions_of_a_client": "LIVE_CLIENT_SESSIONS"}
    assert row[1] == own_names.get(name, f"LIVE_{name.upper()}")
    assert row[1] in {setting.name for setting in fields(Config)}


def test_every_error_code_is_described() -> None:
    codes = {
        texts(call)[0]
        for path in SOURCES
        for call in calls(path, "SessionError", "connection_refusal")
        if texts(call)
    }
    codes |= {"idle", "internal_error", "server_stopping"}
    codes |= {"invalid_option", "unknown_variant", "weights_missing", "model_unusable"}
    assert len(codes) >= 12
    assert codes == first_cells(section("Errors"))


def test_every_kind_of_sound_is_described() -> None:
    for kind in (PCM, *CONTAINERS):
        assert f"`{kind}" in DOCUMENT
    for rate in RATES_HZ:
        assert re.search(rf"\b{rate}\b", DOCUMENT), rate


def test_the_protocol_of_jobs_is_described() -> None:
    text = section("Namespace /jobs")
    source = ROOT / "studio/web/live/jobs.py"
    sent = {one for call in calls(source, "_send") for one in texts(call)}
    handled = {name.removeprefix("on_") for name in vars(JobsNamespace) if name.startswith("on_")}
    codes = {one for call in calls(source, "_error") for one in texts(call)[:1]}
    assert sent == {"job", "partial", "error"}
    wanted = sent | codes | handled - {"connect", "disconnect"}
    wanted |= {"unknown_file", "storage_unavailable", "internal_error", "server_stopping"}
    assert wanted == first_cells(text)
    assert f"{MAX_CONNECTIONS} connections in all, and {MAX_CONNECTIONS_PER_CLIENT} per" in text
    assert f"up to {MAX_FILES} of your files" in text


def test_the_document_is_three_screens() -> None:
    assert len(DOCUMENT.splitlines()) <= 160
