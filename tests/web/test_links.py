"""Signed links: an address for one track of one owner, for some minutes, without a key."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests

from studio.web.tickets import Tickets
from tests.support.keys import ANN, BOB, SECRET
from tests.support.problems import assert_problem
from tests.support.server import Server
from tests.support.sounds import noise, write_wav

OF_ANN = {"Authorization": f"Bearer {ANN}"}
OF_BOB = {"Authorization": f"Bearer {BOB}"}


@pytest.fixture(scope="module")
def song(locked: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A separated file of Ann's."""
    path = write_wav(tmp_path_factory.mktemp("songs") / "song.wav", noise(1.0, seed=71))
    with path.open("rb") as file:
        answer = locked.post("/upload", files={"file": file}, headers=OF_ANN)
    file_id = str(answer.json()["file_id"])
    locked.post(f"/process/demucs/{file_id}", headers=OF_ANN)
    status = locked.wait(file_id, headers=OF_ANN)
    assert status["status"] == "completed", status
    return file_id


def link(server: Server, headers: dict[str, str] = OF_ANN, **body: Any) -> requests.Response:
    return server.post("/links", json=body, headers=headers)


def url(server: Server, file_id: str, track: str, **more: Any) -> str:
    answer = link(server, file_id=file_id, track=track, **more)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["url"])


@pytest.mark.parametrize("track", ["vocals", "instrumental", "stems.flac", "all.zip", "original"])
def test_a_link_needs_no_key(locked: Server, song: str, track: str) -> None:
    address = url(locked, song, track)
    whole = locked.get(address)
    assert whole.status_code == 200, whole.text
    assert whole.content == locked.get(f"/download/{song}/{track}", headers=OF_ANN).content


def test_a_link_gives_parts_and_formats(locked: Server, song: str) -> None:
    address = url(locked, song, "vocals")
    whole = locked.get(f"{address}&format=flac")
    assert (whole.status_code, whole.headers["Content-Type"]) == (200, "audio/flac")
    part = locked.get(f"{address}&format=flac", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert requests.head(locked.url + address, timeout=30).status_code == 200


def test_a_link_is_for_one_track_and_nothing_else(locked: Server, song: str) -> None:
    ticket = url(locked, song, "vocals").partition("?")[2]
    assert_problem(locked.get(f"/download/{song}/drums?{ticket}"), "invalid_link", "POST /links")
    assert_problem(locked.get(f"/download/{song}/all.zip?{ticket}"), "invalid_link")
    for path in ("status", "files"):
        assert_problem(locked.get(f"/{path}/{song}?{ticket}"), "unauthorized")
    assert_problem(locked.delete(f"/cleanup/{song}?{ticket}"), "unauthorized")


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "1",
        "99999999999-" + "0" * 64,
        pytest.param(
            Tickets("change-me").issue("link", "", "/", lifetime_s=60)[0], id="default secret"
        ),
        "9" * 200,
        "é",
    ],
)
def test_a_forged_link_opens_nothing(locked: Server, song: str, forged: str) -> None:
    """Whether the file exists is not told either."""
    never = "0" * 32
    answers = [
        locked.get(f"/download/{file_id}/vocals", params={"link": forged})
        for file_id in (song, never, "x")
    ]
    sentences = {assert_problem(one, "invalid_link")["error"] for one in answers}
    assert len(sentences) == 1


def test_a_later_end_cannot_be_written_into_a_link(locked: Server, song: str) -> None:
    address = url(locked, song, "vocals")
    path, _, ticket = address.partition("?link=")
    end, _, signature = ticket.partition("-")
    assert_problem(locked.get(f"{path}?link={int(end) + 1}-{signature}"), "invalid_link")


def test_a_link_expires(locked: Server, song: str) -> None:
    tickets = Tickets(SECRET, clock=lambda: 0.0)
    upload = json.loads((locked.uploads / song / "upload.json").read_text())
    path = f"/download/{song}/vocals"
    ticket, _ = tickets.issue("link", upload["owner"], path, lifetime_s=60)
    answer = locked.get(f"{path}?link={ticket}")
    assert_problem(answer, "invalid_link", "expired at 1970-01-01T00:01:00")


def test_no_link_to_files_of_others(locked: Server, song: str) -> None:
    assert_problem(link(locked, OF_BOB, file_id=song, track="vocals"), "unknown_file")
    assert_problem(link(locked, {}, file_id=song, track="vocals"), "unauthorized")


@pytest.mark.parametrize(
    ("body", "code", "names"),
    [
        ({"track": "nothing"}, "unknown_track", "vocals"),
        ({"track": "../../files"}, "unknown_track", "stems.flac"),
        ({"track": ""}, "unknown_track", "stems.flac"),
        ({}, "invalid_option", "'track' is missing"),
        ({"track": "vocals", "minutes": 0}, "invalid_option", "minutes"),
        ({"track": "vocals", "minutes": 1441}, "invalid_option", "1440"),
        ({"track": "vocals", "owner": "me"}, "unknown_option", "minutes"),
        ({"track": 7}, "invalid_option", "track"),
    ],
)
def test_a_wrong_request_for_a_link(
    locked: Server, song: str, body: dict[str, Any], code: str, names: str
) -> None:
    assert_problem(link(locked, file_id=song, **body), code, names)


def test_a_link_ends_with_its_key(locked: Server, song: str, tmp_path: Path) -> None:
    """A server with the same file and the same secret, but without the key of the owner."""
    address = url(locked, song, "original")
    assert locked.get(address).status_code == 200
    shutil.copytree(locked.uploads / song, tmp_path / "uploads" / song)
    server = Server(tmp_path, API_KEYS=BOB, SECRET_KEY=SECRET).start()
    try:
        assert_problem(server.get(address), "invalid_link")
    finally:
        server.stop_later()


def test_a_server_without_keys_makes_links_too(server: Server, short_wav: Path) -> None:
    """So that a page works with both."""
    file_id = server.upload(short_wav)
    assert_problem(server.get(url(server, file_id, "all.zip")), "not_ready")
