"""API keys: who is let in, and whose files are whose."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from socketio.exceptions import ConnectionError

from studio.audio import ffmpeg_path
from studio.errors import Unauthorized
from studio.web.access import Access
from tests.support.keys import ANN, BOB, METRICS_KEY
from tests.support.live_client import Client
from tests.support.problems import assert_problem
from tests.support.server import ROOT, Server
from tests.support.sounds import noise, write_wav

WRONG = "eve-0123456789abcdef"
OPEN = ["/health", "/ready", "/docs", "/openapi.json", "/websocket-test.html"]
# Opened by a key of its own.
METRICS = "/metrics"
ID = "0" * 32
CLOSED = [
    ("GET", "/models"),
    ("POST", "/upload"),
    ("POST", "/links"),
    ("POST", "/session"),
    ("DELETE", "/session"),
    ("POST", f"/process/demucs/{ID}"),
    ("POST", f"/separate/{ID}"),
    ("GET", f"/status/{ID}"),
    ("POST", f"/cancel/{ID}"),
    ("GET", f"/download/{ID}/vocals"),
    ("GET", f"/download/{ID}/all.zip"),
    ("GET", f"/download/{ID}/original"),
    ("GET", f"/download/{ID}/karaoke.mp4"),
    ("GET", f"/download/{ID}/stems.flac"),
    ("GET", "/files"),
    ("GET", f"/files/{ID}"),
    ("PUT", f"/files/{ID}/transcription"),
    ("DELETE", f"/files/{ID}/transcription"),
    ("DELETE", f"/cleanup/{ID}"),
]


def by_bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def by_header(key: str) -> dict[str, str]:
    return {"X-API-Key": key}


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("songs") / "song.wav", noise(1.0))


def upload(server: Server, song: Path, key: str) -> str:
    with open(song, "rb") as file:
        answer = server.post("/upload", files={"file": file}, headers=by_bearer(key))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["file_id"])


def separate(server: Server, file_id: str, key: str) -> requests.Response:
    answer = server.post(f"/process/demucs/{file_id}", headers=by_bearer(key))
    status = server.wait(file_id, headers=by_bearer(key))
    assert status["status"] == "completed", status
    return answer


@pytest.mark.parametrize("path", OPEN)
def test_health_and_pages_need_no_key(locked: Server, path: str) -> None:
    assert locked.get(path).status_code == 200


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize(
    "headers",
    [{}, by_bearer(WRONG), by_header(WRONG), by_bearer(ANN[:-1]), {"Authorization": ANN}],
    ids=["none", "bearer", "header", "shorter", "no scheme"],
)
def test_everything_else_needs_a_good_key(
    locked: Server, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = requests.request(method, locked.url + path, headers=headers, timeout=30)
    body = assert_problem(answer, "unauthorized", "key")
    assert answer.headers["WWW-Authenticate"] == 'Bearer, Basic realm="audio-studio"'
    assert ANN not in body["error"] and WRONG not in body["error"]


def test_a_player_sends_the_key_of_an_address_when_it_is_asked(locked: Server, song: Path) -> None:
    """As FFmpeg, mpv and wget do."""
    address = locked.url.replace("http://", f"http://x:{ANN}@")
    address += f"/download/{upload(locked, song, ANN)}/original"
    command = [ffmpeg_path(), "-nostdin", "-v", "error", "-i", address, "-f", "null", "-"]
    played = subprocess.run(command, capture_output=True, text=True, check=False)
    assert played.returncode == 0, played.stderr


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Mode": "cors"},
        {"Origin": "https://page.example"},
        {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
    ],
)
def test_a_browser_does_not_ask_for_a_password(locked: Server, headers: dict[str, str]) -> None:
    answer = locked.get("/models", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("give", [by_bearer, by_header])
def test_a_good_key_opens(locked: Server, give: Callable[[str], dict[str, str]]) -> None:
    assert locked.get("/models", headers=give(ANN)).status_code == 200
    assert_problem(locked.get(f"/status/{ID}", headers=give(BOB)), "unknown_file")


def test_the_description_names_the_keys(locked: Server, server: Server) -> None:
    document = locked.get("/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "api_key"}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            needed: list[dict[str, list[str]]] = [{"bearer": []}, {"api_key": []}]
            assert operation["security"] == ([] if path in (*OPEN, METRICS) else needed)
            assert ("401" in operation["responses"]) == (path not in OPEN)
    paths = server.get("/openapi.json").json()["paths"]
    assert {str(op["security"]) for methods in paths.values() for op in methods.values()} == {"[]"}


def test_the_page_of_the_documentation_tells_how_a_key_is_given(locked: Server) -> None:
    page = locked.get("/docs").text
    assert "Authorization: Bearer KEY" in page
    assert "X-API-Key: KEY" in page
    paths = locked.get("/openapi.json").json()["paths"]
    secured = [op for methods in paths.values() for op in methods.values() if op["security"]]
    assert page.count('<span class="mark" data-word="docs.key">') == len(secured) >= len(CLOSED)


def test_every_word_of_the_reference_has_a_translation(locked: Server) -> None:
    used = set(re.findall(r'data-(?:word|label)="(docs\..*?)"', locked.get("/docs").text))
    words = (ROOT / "studio/web/static/js/words/docs_de.js").read_text("utf-8")
    assert used == set(re.findall(r'^  "(docs\..*?)":', words, re.M))


def test_metrics_have_a_key_of_their_own(locked: Server) -> None:
    assert_problem(locked.get(METRICS), "unauthorized", "METRICS_KEY")
    assert_problem(locked.get(METRICS, headers=by_bearer(ANN)), "unauthorized", "METRICS_KEY")
    answer = locked.get(METRICS, headers=by_bearer(METRICS_KEY))
    assert answer.status_code == 200
    assert "\nstudio_queue_depth 0.0\n" in answer.text
    assert_problem(locked.get("/models", headers=by_bearer(METRICS_KEY)), "unauthorized", "key")


def test_a_file_is_there_for_its_own_key_only(locked: Server, song: Path) -> None:
    """Others get what they get for an id that never was, to the letter."""
    file_id = upload(locked, song, ANN)
    separate(locked, file_id, ANN)
    for method, path in CLOSED:
        if ID not in path:
            continue
        never = requests.request(method, locked.url + path, headers=by_bearer(BOB), timeout=30)
        other = path.replace(ID, file_id)
        answer = requests.request(method, locked.url + other, headers=by_bearer(BOB), timeout=30)
        body = assert_problem(answer, "unknown_file", file_id)
        assert body["error"] == never.json()["error"].replace(ID, file_id)
    status = locked.get(f"/status/{file_id}", headers=by_bearer(ANN)).json()
    assert status["status"] == "completed"
    track = locked.get(f"/download/{file_id}/vocals", headers=by_header(ANN))
    assert track.status_code == 200
    assert locked.delete(f"/cleanup/{file_id}", headers=by_bearer(ANN)).status_code == 200


def test_results_are_not_shared_between_keys(locked: Server, song: Path) -> None:
    """The same song with the same options: made anew for another key, at once for the same."""
    first = upload(locked, song, ANN)
    assert separate(locked, first, ANN).status_code == 202
    again = upload(locked, song, ANN)
    assert separate(locked, again, ANN).status_code == 200
    other = upload(locked, song, BOB)
    assert separate(locked, other, BOB).status_code == 202


def test_answers_and_disk_hold_no_key(locked: Server, song: Path) -> None:
    file_id = upload(locked, song, ANN)
    record = (locked.uploads / file_id / "upload.json").read_text()
    assert '"owner"' in record
    assert ANN not in record
    listed = locked.get(f"/files/{file_id}", headers=by_bearer(ANN)).json()
    assert "owner" not in listed


def test_files_from_before_the_keys_are_closed(locked: Server, server: Server, song: Path) -> None:
    """And those from a time with keys are closed without them."""
    before = server.upload(song)
    shutil.copytree(server.uploads / before, locked.uploads / before)
    assert_problem(locked.get(f"/files/{before}", headers=by_bearer(ANN)), "unknown_file")
    of_ann = upload(locked, song, ANN)
    shutil.copytree(locked.uploads / of_ann, server.uploads / of_ann)
    assert_problem(server.get(f"/files/{of_ann}"), "unknown_file")
    # Only the owner is to blame.
    record = server.uploads / of_ann / "upload.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "owner": None}))
    assert server.get(f"/files/{of_ann}").status_code == 200


@pytest.mark.parametrize("auth", [{"token": ANN}, {"api_key": BOB}])
def test_a_live_client_gives_its_key(locked: Server, auth: dict[str, str]) -> None:
    with Client(locked, auth=auth) as client:
        assert client.greeting()["protocol"] == 1


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize(
    "auth", [None, {}, {"token": WRONG}, {"api_key": ""}, {"token": ["a"]}, {"other": ANN}, ANN]
)
def test_a_live_client_without_a_good_key_is_refused(
    locked: Server, auth: Any, transport: str
) -> None:
    with pytest.raises(ConnectionError, match=r"API key.*unauthorized"):
        Client(locked, transport, auth=auth)


def test_an_owner_is_not_the_key_itself() -> None:
    access = Access(frozenset({ANN, BOB}), "*")
    owners = {access.owner_of(ANN), access.owner_of(BOB)}
    assert len(owners) == 2
    assert not any(key in str(owners) for key in (ANN, BOB))
    for wrong in (None, "", WRONG, ANN + "x", "schlüssel"):
        with pytest.raises(Unauthorized):
            access.owner_of(wrong)
    assert Access(frozenset(), "*").owner_of(None) is None


def test_a_client_is_its_key_else_its_address() -> None:
    access = Access(frozenset({ANN}), "*")
    owner = access.owner_of(ANN)
    assert access.client(owner, "192.0.2.1") == access.client(owner, "192.0.2.2")
    assert access.client(owner, "192.0.2.1") != access.client(None, "192.0.2.1")
    assert access.client(None, "192.0.2.1") != access.client(None, "192.0.2.2")
    one_host = {access.client(None, f"2001:db8:0:1::{number}") for number in range(1, 9)}
    assert len(one_host) == 1
    assert access.client(None, "2001:db8:0:2::1") not in one_host
