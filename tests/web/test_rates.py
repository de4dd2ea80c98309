"""How often a client may ask, who that client is behind a proxy, and which pages may act."""

from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
import requests
from socketio.exceptions import ConnectionError

from tests.support.jobs_client import Page
from tests.support.keys import ANN, BOB
from tests.support.live_client import Client
from tests.support.problems import FORM, assert_problem
from tests.support.server import Server

CYD = "cyd-0123456789abcdef"
PER_HOUR = 20
NOWHERE = "/process/demucs/" + "0" * 32
NOWHERE_TO_POLL = "/status/" + "0" * 32


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """Two uploads or jobs an hour, five other requests; one proxy in front.

    Each test has keys and addresses of its own.
    """
    server = Server(
        tmp_path_factory.mktemp("strict"),
        MODEL_DIR=weights,
        DEMUCS_MODEL="swift",
        RATE_LIMIT="5/hour",
        RATE_LIMIT_WORK="2/hour",
        TRUSTED_PROXIES=1,
        API_KEYS=f"{ANN},{BOB},{CYD}",
    ).start()
    yield server
    server.stop_later()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without keys and without a proxy, that trusts pages of one origin."""
    server = Server(
        tmp_path_factory.mktemp("bare"),
        RATE_LIMIT=f"{PER_HOUR}/hour",
        CORS_ORIGINS="https://page.example",
        WHISPER_MODEL="mini",
    ).start()
    yield server
    server.stop_later()


def of(key: str, address: str = "") -> dict[str, str]:
    return {"X-API-Key": key, **({"X-Forwarded-For": address} if address else {})}


def test_what_makes_work_has_a_stricter_rate(strict: Server, short_wav: Path) -> None:
    with open(short_wav, "rb") as file:
        uploaded = strict.post("/upload", files={"file": file}, headers=of(ANN))
    file_id = uploaded.json()["file_id"]
    assert strict.post(f"/separate/{file_id}", headers=of(ANN)).status_code == 202
    for path in (NOWHERE, "/upload", f"/separate/{file_id}"):
        answer = strict.post(path, headers={**of(ANN), **FORM})
        body = assert_problem(answer, "too_many_requests", "2 requests per hour")
        assert 0 < body["retry_after_s"] <= 3600
        assert answer.headers["Retry-After"] == str(body["retry_after_s"])
    # Polling and downloads go on, and are not counted at all.
    for _ in range(12):
        assert strict.get(f"/status/{file_id}", headers=of(ANN)).status_code == 200
    assert strict.wait(file_id, headers=of(ANN))["tracks"]
    for _ in range(12):
        answer = strict.get(f"/download/{file_id}/vocals", headers=of(ANN))
        assert answer.status_code == 200
    # The general rate and other keys have their own counts.
    assert strict.get(f"/files/{file_id}", headers=of(ANN)).status_code == 200
    assert_problem(strict.post(NOWHERE, headers=of(BOB)), "unknown_file")


def test_the_general_rate_spares_health(strict: Server) -> None:
    answers = [strict.get("/models", headers=of(CYD)).status_code for _ in range(7)]
    assert answers == [200] * 5 + [429] * 2
    assert {strict.get("/health", headers=of(CYD)).status_code for _ in range(20)} == {200}
    assert strict.get("/ready").status_code == 200
    # A page has more files than that.
    assert {strict.get("/static/0/icon.svg").status_code for _ in range(20)} == {200}


def test_guessing_keys_is_counted_by_address(strict: Server) -> None:
    guesses = [
        strict.get("/models", headers=of(f"guess-{number:020}", "192.0.2.7")).status_code
        for number in range(7)
    ]
    assert guesses == [401] * 5 + [429] * 2
    assert strict.get("/models", headers=of("guess", "192.0.2.8")).status_code == 401


def test_guesses_count_as_work_if_only_that_has_a_rate(tmp_path: Path) -> None:
    server = Server(tmp_path, RATE_LIMIT="", RATE_LIMIT_WORK="2/hour", API_KEYS=ANN).start()
    try:
        answers = [server.post(NOWHERE, headers=of("guess")).status_code for _ in range(3)]
    finally:
        server.stop_later()
    assert answers == [401, 401, 429]


def test_guesses_are_counted_where_requests_are_not(strict: Server) -> None:
    """Polling has no rate, but a wrong key has."""
    guesses = [
        strict.get(NOWHERE_TO_POLL, headers=of(f"guess-{number:020}", "192.0.2.10")).status_code
        for number in range(7)
    ]
    assert guesses == [401] * 5 + [429] * 2
    for _ in range(7):
        answer = strict.get(NOWHERE_TO_POLL, headers=of(BOB, "192.0.2.10"))
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("connect", "address"), [(Client, "192.0.2.11"), (Page, "192.0.2.12")], ids=["live", "jobs"]
)
def test_guesses_of_connections_are_counted(
    strict: Server, connect: type[Client | Page], address: str
) -> None:
    for number in range(7):
        code = "unauthorized" if number < 5 else "too_many_requests"
        with pytest.raises(ConnectionError, match=code):
            connect(
                strict,
                "polling",
                headers={"X-Forwarded-For": address},
                auth={"token": f"guess-{number:020}"},
            )
    with connect(strict, "polling", headers={"X-Forwarded-For": address}, auth={"token": BOB}):
        pass


def test_only_what_the_trusted_proxy_added_is_believed(strict: Server) -> None:
    """The last address is the proxy's word; what stands before it, anybody can write."""
    for number in range(5):
        forged = of("wrong", f"198.51.100.{number}, 192.0.2.9")
        assert strict.get("/models", headers=forged).status_code == 401
    answer = strict.get("/models", headers=of("wrong", "198.51.100.77, 192.0.2.9"))
    assert answer.status_code == 429


def test_an_ipv4_address_that_ipv6_maps_is_that_address(strict: Server) -> None:
    """A server that listens on `::` gets the addresses of IPv4 clients in this form."""
    mapped, other = "::ffff:192.0.2.20", "::ffff:192.0.2.21"
    for address in (mapped, "192.0.2.20", mapped, mapped, mapped):
        assert strict.get("/models", headers=of("wrong", address)).status_code == 401
    for address in (mapped, "192.0.2.20"):
        assert strict.get("/models", headers=of("wrong", address)).status_code == 429
    assert strict.get("/models", headers=of("wrong", other)).status_code == 401
    this_machine = {"X-Forwarded-For": "::ffff:127.0.0.1"}
    assert strict.get("/metrics", headers=this_machine).status_code == 200
    assert strict.get("/metrics", headers={"X-Forwarded-For": mapped}).status_code == 401


def test_without_a_trusted_proxy_nothing_is_believed(bare: Server) -> None:
    answers = []
    for number in range(PER_HOUR + 2):
        # Another address than that of the other tests.
        caller = HTTPConnection("127.0.0.1", bare.port, source_address=("127.0.0.2", 0))
        with closing(caller):
            caller.request("GET", "/models", headers={"X-Forwarded-For": f"192.0.2.{number}"})
            answers.append(caller.getresponse().status)
    assert answers == [200] * PER_HOUR + [429] * 2


def test_a_preflight_needs_no_key_and_is_not_counted(strict: Server) -> None:
    headers = {
        "Origin": "https://page.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    for _ in range(8):
        answer = requests.options(strict.url + NOWHERE, headers=headers, timeout=30)
        assert answer.status_code == 200
        allowed = answer.headers["Access-Control-Allow-Headers"].lower()
        assert "authorization" in allowed


def test_pages_of_other_origins_change_nothing(bare: Server, short_wav: Path) -> None:
    """As with Socket.IO: the named origins and the server's own may, others may not."""
    for origin in (bare.url, "https://page.example"):
        with Client(bare, headers={"Origin": origin}) as client:
            client.greeting()
    for transport in ("websocket", "polling"):
        with pytest.raises(ConnectionError):
            Client(bare, transport, headers={"Origin": "https://evil.example"})
    file_id = bare.upload(short_wav)
    for origin in ("https://evil.example", "null", "https://page.example.evil.example"):
        answer = bare.delete(f"/cleanup/{file_id}", headers={"Origin": origin})
        assert answer.status_code == 403
        assert answer.json()["code"] == "origin_refused"
        assert "Access-Control-Allow-Origin" not in answer.headers
        with open(short_wav, "rb") as file:
            sent = bare.post("/upload", files={"file": file}, headers={"Origin": origin})
        assert sent.json()["code"] == "origin_refused"
    assert len([one for one in bare.uploads.iterdir() if one.name != ".incoming"]) == 1
    own = bare.post(f"/process/x/{file_id}", headers={"Origin": bare.url})
    assert own.json()["code"] == "unknown_model"
    named = bare.delete(f"/cleanup/{file_id}", headers={"Origin": "https://Page.example"})
    assert named.status_code == 200
    assert named.headers["Access-Control-Allow-Origin"].lower() == "https://page.example"
