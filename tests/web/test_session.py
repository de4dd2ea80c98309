"""The session cookie of the server's own pages: who gets it, and which pages may use it."""

import hashlib
from collections.abc import Iterator
from http.cookies import Morsel, SimpleCookie
from pathlib import Path

import pytest
import requests
from flask.testing import FlaskClient
from socketio.exceptions import ConnectionError

from studio.web.tickets import Tickets
from tests.support.in_process import application
from tests.support.keys import ANN, BOB, SECRET
from tests.support.live_client import Client
from tests.support.problems import assert_problem
from tests.support.server import Server

BEARER = {"Authorization": f"Bearer {ANN}"}
TLS = {"X-Forwarded-Proto": "https"}
NAME, SECURE_NAME = "studio_session", "__Host-studio_session"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("locked"),
        MODEL_DIR=weights,
        DEMUCS_MODEL="swift",
        WHISPER_MODEL="mini",
        API_KEYS=f"{ANN},{BOB}",
        SECRET_KEY=SECRET,
        TRUSTED_PROXIES=1,
    ).start()
    yield server
    server.stop_later()


@pytest.fixture(scope="module")
def behind_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A client of an application behind two proxies.

    There is no gunicorn, which itself believes the headers of proxies at 127.0.0.1.
    """
    folder = tmp_path_factory.mktemp("behind")
    keys = frozenset({ANN})
    with application(folder, API_KEYS=keys, SECRET_KEY=SECRET, TRUSTED_PROXIES=2) as app:
        yield app.test_client()


def sign_in(server: Server, headers: dict[str, str] | None = None) -> "Morsel[str]":
    answer = server.post("/session", headers={**BEARER, **(headers or {})})
    assert answer.status_code == 200, answer.text
    assert answer.json()["expires_at"]
    [cookie] = SimpleCookie(answer.headers["Set-Cookie"]).values()
    return cookie


@pytest.fixture(scope="module")
def cookie(locked: Server) -> dict[str, str]:
    """The header with which a browser sends the cookie."""
    made = sign_in(locked)
    return {"Cookie": f"{made.key}={made.value}"}


def test_what_the_cookie_is(locked: Server) -> None:
    made = sign_in(locked)
    assert (made.key, made["httponly"], made["samesite"]) == (NAME, True, "Strict")
    assert (made["path"], made["domain"], made["max-age"]) == ("/", "", str(12 * 3600))
    assert made["secure"] == ""
    secure = sign_in(locked, TLS)
    assert (secure.key, secure["secure"]) == (SECURE_NAME, True)
    assert (secure["path"], secure["domain"]) == ("/", "")
    for secret in (ANN, hashlib.sha256(ANN.encode()).hexdigest()):
        assert secret not in made.value


def test_the_cookie_stands_for_its_key(
    locked: Server, cookie: dict[str, str], short_wav: Path
) -> None:
    assert locked.get("/models", headers=cookie).status_code == 200
    from_page = {**cookie, "Origin": locked.url, "Sec-Fetch-Site": "same-origin"}
    with short_wav.open("rb") as file:
        answer = locked.post("/upload", files={"file": file}, headers=from_page)
    assert answer.status_code == 201, answer.text
    path = f"/files/{answer.json()['file_id']}"
    assert locked.get(path, headers=BEARER).status_code == 200
    other = {"X-API-Key": BOB}
    assert_problem(locked.get(path, headers=other), "unknown_file")
    assert_problem(locked.get(path, headers={**cookie, **other}), "unknown_file")


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Origin": "http://[", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_no_other_page_can_change_anything(
    locked: Server, cookie: dict[str, str], sent: dict[str, str]
) -> None:
    """CORS_ORIGINS is * here, and another port of the same host is the same site."""
    answer = locked.post(f"/cancel/{'0' * 32}", headers={**cookie, **sent})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_no_other_page_can_read(locked: Server, cookie: dict[str, str], site: str) -> None:
    headers = {**cookie, "Sec-Fetch-Site": site}
    assert_problem(locked.get("/models", headers=headers), "unauthorized")


def test_a_page_of_the_server_can_change_things(locked: Server, cookie: dict[str, str]) -> None:
    for sent in ({"Origin": locked.url}, {"Sec-Fetch-Site": "same-origin"}):
        answer = locked.post(f"/cancel/{'0' * 32}", headers={**cookie, **sent})
        assert answer.json()["code"] == "unknown_file"


@pytest.mark.parametrize("forged", ["", "1-2", "99999999999-" + "0" * 64, "é".encode().hex()])
def test_a_forged_cookie_is_none(locked: Server, forged: str) -> None:
    answer = locked.get("/models", headers={"Cookie": f"{NAME}={forged}"})
    assert_problem(answer, "unauthorized")


def test_a_session_ends(locked: Server) -> None:
    owner = hashlib.sha256(ANN.encode()).hexdigest()
    for lifetime_s, status in ((3600, 200), (-1, 401)):
        ticket, _ = Tickets(SECRET).issue("session", owner, lifetime_s=lifetime_s)
        answer = locked.get("/models", headers={"Cookie": f"{NAME}={ticket}"})
        assert answer.status_code == status


def test_a_cookie_set_without_tls_does_not_count_with_it(
    locked: Server, cookie: dict[str, str]
) -> None:
    assert_problem(locked.get("/models", headers={**cookie, **TLS}), "unauthorized")
    made = sign_in(locked, TLS)
    headers = {"Cookie": f"{made.key}={made.value}", **TLS}
    assert locked.get("/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("forwarded", "scheme"),
    [
        ("https", "https"),  # The second proxy passed it on, or replaced it.
        ("https, http", "https"),  # The second proxy appended to it.
        ("https, http, https", "http"),  # So did the first, to what the client claimed.
        ("http", "http"),
    ],
)
def test_the_first_trusted_proxy_knows_whether_there_is_tls(
    behind_two: FlaskClient, forwarded: str, scheme: str
) -> None:
    sent = {"X-Forwarded-For": "192.0.2.1, 10.0.0.1", "X-Forwarded-Proto": forwarded}
    answer = behind_two.post("/session", headers={**BEARER, **sent})
    [cookie] = SimpleCookie(answer.headers["Set-Cookie"]).values()
    assert cookie.key == (SECURE_NAME if scheme == "https" else NAME)


def test_a_session_cannot_renew_itself(locked: Server, cookie: dict[str, str]) -> None:
    answer = locked.post("/session", headers={**cookie, "Origin": locked.url})
    assert answer.json()["code"] == "unauthorized"


def test_other_pages_cannot_sign_in(locked: Server) -> None:
    answer = locked.post("/session", headers={**BEARER, "Origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")


def test_signing_out_deletes_the_cookie(locked: Server) -> None:
    browser = requests.Session()
    browser.post(f"{locked.url}/session", headers=BEARER, timeout=30)
    assert browser.get(f"{locked.url}/models", timeout=30).status_code == 200
    answer = browser.delete(f"{locked.url}/session", headers={"Origin": locked.url}, timeout=30)
    assert (answer.status_code, answer.json()) == (200, {"expires_at": None})
    assert browser.get(f"{locked.url}/models", timeout=30).status_code == 401


def test_a_server_without_keys_needs_no_session(server: Server) -> None:
    answer = server.post("/session")
    assert (answer.status_code, answer.json()) == (200, {"expires_at": None})
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_live_page_needs_no_key(locked: Server, cookie: dict[str, str], transport: str) -> None:
    with Client(locked, transport, headers={**cookie, "Origin": locked.url}) as client:
        assert client.greeting()["protocol"] == 1
    with pytest.raises(ConnectionError, match="unauthorized"):
        Client(locked, transport, headers={**cookie, "Origin": "https://evil.example"})
