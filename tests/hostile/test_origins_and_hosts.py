"""Web pages of others: malformed origins, origins that pass for patterns, and rebound names."""

from collections.abc import Iterator

import pytest
import requests

from tests.support.problems import assert_problem
from tests.support.proxy import Proxy
from tests.support.server import Server

IPV6_ORIGIN = "http://[::1]"
POLLING = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without keys, for one page, under two names of its own."""
    server = Server(
        tmp_path_factory.mktemp("closed"),
        CORS_ORIGINS=IPV6_ORIGIN,
        ALLOWED_HOSTS="studio.example,[2001:db8::1]",
    ).start()
    yield server
    server.stop_later()


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://]", "//", "http://\u0661"])
def test_a_malformed_origin_is_refused(closed: Server, origin: str) -> None:
    headers = {"Origin": origin.encode("utf-8").decode("latin-1")}
    answer = closed.delete("/cleanup/x", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
    assert closed.get(POLLING, headers=headers).status_code == 400


@pytest.mark.parametrize("origin", ["http://:", "http://1", "http://::1", "http://[::1].evil.test"])
def test_an_origin_with_brackets_is_no_pattern(closed: Server, origin: str) -> None:
    answer = closed.get("/health", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in answer.headers
    answer = closed.get("/health", headers={"Origin": IPV6_ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == IPV6_ORIGIN


@pytest.mark.parametrize(
    "path",
    ["/health", "/models", "/docs", POLLING, "/no/such/path", "/audio-separator/health"],
)
def test_a_rebound_name_reaches_nothing(closed: Server, path: str) -> None:
    for host in (
        "evil.test",
        f"evil.test:{closed.port}",
        "localhost.evil.test",
        "127.0.0.1.nip.test",
    ):
        answer = closed.get(path, headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host"), host
    for host in ("localhost", "127.0.0.1", "[::1]:80", "10.1.2.3", "Studio.example:8000"):
        assert closed.get(path, headers={"Host": host}).status_code in (200, 404), host


def test_without_settings_a_rebound_name_reaches_nothing(server: Server) -> None:
    answer = server.get("/models", headers={"Host": "evil.test"})
    assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host")


@pytest.mark.nginx
def test_nginx_answers_for_its_own_names_only(proxy: Proxy) -> None:
    for url in (proxy.url, f"http://127.0.0.1:{proxy.http_port}"):
        answer = requests.get(
            f"{url}/health",
            headers={"Host": "evil.test"},
            verify=str(proxy.certificate),
            timeout=60,
        )
        assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host")
    for host in ("localhost", "127.0.0.1", "[::1]", f"studio.test:{proxy.port}"):
        answer = requests.get(
            f"{proxy.url}/health", headers={"Host": host}, verify=str(proxy.certificate), timeout=60
        )
        assert answer.status_code == 200, host


@pytest.mark.nginx
def test_the_metrics_are_for_this_machine(server: Server, proxy: Proxy) -> None:
    assert server.get("/metrics").status_code == 200
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
        answer = server.get("/metrics", headers={header: "127.0.0.1"})
        assert_problem(answer, "unauthorized", "METRICS_KEY")
    # nginx runs here too, and says so; callers cannot.
    answer = requests.get(
        f"{proxy.url}/metrics",
        headers={"X-Forwarded-For": "192.0.2.1"},
        verify=str(proxy.certificate),
        timeout=60,
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "text", ["1_0", "\u0661", " 1", "1e1", "infinity", "nan", "0x1", "+1", "1" * 400]
)
def test_what_float_takes_is_no_number_of_seconds(server: Server, text: str) -> None:
    file_id = "0" * 32
    answer = server.get(f"/status/{file_id}", params={"wait": text})
    assert_problem(answer, "invalid_option", "`wait` is")
