"""nginx before the server: TLS, what is added to answers, what is refused, and in which words."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.support.listening import listening
from tests.support.proxy import CONFIGURATION, Proxy
from tests.support.server import CLOSED_PORT, ROOT, Server, until
from tests.support.sounds import RATE_HZ, write_wav

pytestmark = pytest.mark.nginx

SECURITY = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "X-XSS-Protection": "1; mode=block",
    "Strict-Transport-Security": "max-age=63072000",
    "Referrer-Policy": "no-referrer",
}
# More requests at once than the rate limit lets through: 20, and one each 0.1 s.
MANY = 60
# The same on a machine that takes seconds to send them.
BURST = 200
# Paths of other programs' protocols.
OTHERS = ["/v1/audio/transcriptions", "/asr", "/detect-language", "/audio-separator/separate"]
# Downloads of one address at the same time.
DOWNLOADS = 16


def context(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def connection(proxy: Proxy, client: str = "127.0.0.1") -> http.client.HTTPSConnection:
    """A connection of a client of that address; each address has a rate limit of its own."""
    return http.client.HTTPSConnection(
        "127.0.0.1",
        proxy.port,
        context=context(proxy.certificate),
        source_address=(client, 0),
        timeout=120,
    )


def ask(proxy: Proxy, method: str, path: str, **headers: str) -> http.client.HTTPResponse:
    """An answer with its headers as they came; the body is not sent, even if one is announced."""
    caller = connection(proxy, "127.0.0.9")
    caller.putrequest(method, path)
    for name, value in headers.items():
        caller.putheader(name.replace("_", "-"), value)
    caller.endheaders()
    answer = caller.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    caller.close()
    return answer


def assert_problem(answer: http.client.HTTPResponse, status: int, code: str) -> None:
    """An answer is problem details, with the headers that every answer has."""
    body = json.loads(answer.body)  # type: ignore[attr-defined]
    assert (answer.status, body["status"], body["code"]) == (status, status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert set(body) == {"type", "title", "status", "detail", "code", "error"}
    assert body["detail"] == body["error"] and body["error"].endswith(".")
    for name, value in SECURITY.items():
        assert answer.headers.get_all(name) == [value]


def assert_of_protocol(answer: http.client.HTTPResponse, path: str, status: int, code: str) -> None:
    """An answer of nginx has the form of the protocol whose path it is under."""
    body = json.loads(answer.body)  # type: ignore[attr-defined]
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"
    if path.startswith("/v1"):
        error = body["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["code"] == code and error["message"].endswith(".")
    else:
        assert set(body) == {"detail"} and body["detail"].endswith(".")
    for name, value in SECURITY.items():
        assert answer.headers.get_all(name) == [value]


@contextmanager
def before(upstream: str, folder: Path, certificate: Path, **more: Any) -> Iterator[Proxy]:
    """A proxy before another upstream than the server."""
    proxy = Proxy(folder / "nginx", certificate, upstream, **more)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


def test_the_configuration_is_valid(proxy: Proxy) -> None:
    done = proxy.check()
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_plain_http_is_sent_to_https_with_its_method(proxy: Proxy) -> None:
    for method in ("GET", "POST"):
        answer = requests.request(
            method,
            f"http://127.0.0.1:{proxy.http_port}/upload?a=1",
            allow_redirects=False,
            timeout=30,
        )
        assert answer.status_code == 308
        assert answer.headers["Location"] == "https://127.0.0.1/upload?a=1"


def test_names_beside_the_certificate_are_served(tmp_path: Path, certificate: Path) -> None:
    """An update of nginx.conf cannot conflict with them."""
    with before(f"127.0.0.1:{CLOSED_PORT}", tmp_path, certificate) as proxy:
        plain = f"http://127.0.0.1:{proxy.http_port}/health"
        for host, status in (("studio.test", 308), ("other.test", 421)):
            answer = requests.get(plain, headers={"Host": host}, allow_redirects=False, timeout=30)
            assert answer.status_code == status
        for host, status in (("studio.test", 502), ("other.test", 421)):
            answer = requests.get(
                f"{proxy.url}/health",
                headers={"Host": host},
                verify=str(certificate),
                timeout=30,
            )
            assert answer.status_code == status


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_new_tls_is_spoken(proxy: Proxy, version: ssl.TLSVersion) -> None:
    client = context(proxy.certificate)
    client.minimum_version = client.maximum_version = version
    client.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", proxy.port)) as plain,
        client.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        assert secure.version() == version.name.replace("_", ".")
        assert secure.selected_alpn_protocol() == "h2"


def test_old_tls_and_weak_ciphers_are_refused(proxy: Proxy) -> None:
    """It is the server that refuses: its alert is what fails the handshake."""
    old = context(proxy.certificate)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    weak = context(proxy.certificate)
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("AES128-SHA:AES256-SHA:ECDHE-RSA-AES128-SHA:@SECLEVEL=0")
    for client, alert in ((old, "PROTOCOL_VERSION"), (weak, "HANDSHAKE_FAILURE")):
        with (
            socket.create_connection(("127.0.0.1", proxy.port)) as plain,
            pytest.raises(ssl.SSLError) as refused,
        ):
            client.wrap_socket(plain, server_hostname="localhost")
        assert f"ALERT_{alert}" in str(refused.value.reason)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/health", 200), ("GET", "/nowhere", 404), ("GET", "/", 200), ("GET", "/docs", 200)],
)
def test_every_answer_has_each_security_header_once(
    proxy: Proxy, method: str, path: str, status: int
) -> None:
    answer = ask(proxy, method, path)
    assert answer.status == status
    for name, value in SECURITY.items():
        assert answer.headers.get_all(name) == [value]
    assert answer.headers["Server"] == "nginx"


def test_origins_are_answered_by_the_server_alone(proxy: Proxy) -> None:
    assert "Access-Control" not in CONFIGURATION
    origin = {"Origin": "https://example.org"}
    for answer in (
        ask(proxy, "GET", "/health", **origin),
        ask(proxy, "GET", "/nowhere", **origin),
        ask(proxy, "OPTIONS", "/upload", **origin, Access_Control_Request_Method="POST"),
        ask(proxy, "GET", "/socket.io/?EIO=4&transport=polling", **origin),
    ):
        allowed = answer.headers.get_all("Access-Control-Allow-Origin")
        assert allowed in (["*"], ["https://example.org"])


def test_what_is_too_large_is_refused_before_it_is_sent(proxy: Proxy) -> None:
    upload = ask(proxy, "POST", "/upload", Content_Length=str(600_000_000))
    assert_problem(upload, 413, "file_too_large")
    assert upload.headers["Retry-After"] is None
    for path in OTHERS:
        other = ask(proxy, "POST", path, Content_Length=str(600_000_000))
        assert_of_protocol(other, path, 413, "file_too_large")
    options = ask(proxy, "POST", "/process/demucs/0", Content_Length=str(2_000_000))
    assert_problem(options, 413, "file_too_large")
    edit = ask(proxy, "PUT", "/files/0/transcription", Content_Length=str(20_000_000))
    assert_problem(edit, 413, "file_too_large")
    assert b"16 MB for edited transcripts" in edit.body  # type: ignore[attr-defined]


def test_a_server_that_is_down_is_told(tmp_path: Path, certificate: Path) -> None:
    with before(f"127.0.0.1:{CLOSED_PORT}", tmp_path, certificate) as proxy:
        for path in ("/health", "/download/0/vocals", "/socket.io/"):
            answer = ask(proxy, "GET", path)
            assert_problem(answer, 502, "server_down")
            assert answer.headers.get_all("Retry-After") == ["5"]
        for path in OTHERS:
            answer = ask(proxy, "GET", path)
            assert_of_protocol(answer, path, 502, "server_down")
            assert answer.headers.get_all("Retry-After") == ["5"]


def test_a_server_that_does_not_answer_is_told(tmp_path: Path, certificate: Path) -> None:
    sooner = {
        "proxy_read_timeout 120s;": "proxy_read_timeout 1s;",
        "proxy_read_timeout 1h;": "proxy_read_timeout 1s;",
    }
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        before(f"127.0.0.1:{silent.getsockname()[1]}", tmp_path, certificate, more=sooner) as proxy,
    ):
        answer = ask(proxy, "GET", "/health")
        assert_problem(answer, 504, "server_slow")
        assert answer.headers.get_all("Retry-After") == ["5"]
        for path in OTHERS[:2]:
            answer = ask(proxy, "GET", path)
            assert_of_protocol(answer, path, 504, "server_slow")


def at_once(
    proxy: Proxy, path: str, client: str, count: int = MANY
) -> list[http.client.HTTPResponse]:
    """The answers to requests that are sent at the same moment."""
    callers = [connection(proxy, client) for _ in range(count)]
    for caller in callers:
        caller.connect()
    for caller in callers:
        caller.request("GET", path)
    answers = []
    for caller in callers:
        answer = caller.getresponse()
        answer.body = answer.read()  # type: ignore[attr-defined]
        answers.append(answer)
        caller.close()
    return answers


def test_a_burst_is_let_through_and_more_is_refused(proxy: Proxy) -> None:
    answers = at_once(proxy, "/models", "127.0.0.2", BURST)
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 20
    refused = answers[statuses.index(429)]
    assert_problem(refused, 429, "too_many_requests")
    assert refused.headers.get_all("Retry-After") == ["1"]
    answers = at_once(proxy, "/v1/models", "127.0.0.2", BURST)
    refused = next(answer for answer in answers if answer.status == 429)
    assert_of_protocol(refused, "/v1/models", 429, "too_many_requests")
    # One client's haste is nothing to another.
    assert ask(proxy, "GET", "/models").status == 200


def test_downloads_polling_sockets_and_files_of_pages_are_not_limited(
    proxy: Proxy, production: Server, short_wav: Path
) -> None:
    file_id = production.separate(short_wav)
    found = at_once(proxy, f"/status/{file_id}", "127.0.0.3")
    for _ in range(MANY // DOWNLOADS + 1):
        found += at_once(proxy, f"/download/{file_id}/vocals", "127.0.0.3", DOWNLOADS)
    assert {answer.status for answer in found} == {200}
    found = at_once(proxy, "/static/0/icon.svg", "127.0.0.3")
    assert {answer.status for answer in found} == {200}
    # Of those that join nothing, the server itself ends the oldest ones.
    found = at_once(proxy, "/socket.io/?EIO=4&transport=polling", "127.0.0.3")
    assert {answer.status for answer in found} == {200}


def test_downloads_of_one_client_at_the_same_time_are_few(
    proxy: Proxy, production: Server, tmp_path: Path
) -> None:
    """Each that is read slowly holds a thread of the server."""
    # More than the buffers of the sockets on the way hold.
    sound = write_wav(tmp_path / "minute.wav", np.zeros((2, 60 * RATE_HZ), np.float32))
    file_id = production.separate(sound, model_variant="swift", stems=["vocals"])
    path = f"/download/{file_id}/vocals"
    slow = [connection(proxy, "127.0.0.4") for _ in range(DOWNLOADS)]
    try:
        for caller in slow:
            caller.request("GET", path)
            assert caller.getresponse().status == 200
        refused = at_once(proxy, path, "127.0.0.4", 1)[0]
        assert_problem(refused, 429, "too_many_requests")
        assert f"{DOWNLOADS} downloads" in json.loads(refused.body)["error"]  # type: ignore[attr-defined]
        assert refused.headers.get_all("Retry-After") == ["5"]
        # Those of audio-separator's protocol count, too.
        refused = at_once(proxy, "/audio-separator/download/x/y", "127.0.0.4", 1)[0]
        assert (refused.status, refused.headers.get_all("Retry-After")) == (429, ["5"])
        assert f"{DOWNLOADS} downloads" in json.loads(refused.body)["detail"]  # type: ignore[attr-defined]
        assert at_once(proxy, f"/status/{file_id}", "127.0.0.4", 1)[0].status == 200
        assert at_once(proxy, path, "127.0.0.5", 1)[0].status == 200
        elsewhere = at_once(proxy, "/audio-separator/download/x/y", "127.0.0.5", 1)[0]
        assert elsewhere.status == 404
    finally:
        for caller in slow:
            caller.close()


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that it was sent."""

    def do_GET(self) -> None:
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def echoing() -> Iterator[str]:
    """The address of a server in the place of the real one."""
    with listening(Echo) as port:
        yield f"127.0.0.1:{port}"


def test_what_the_server_is_told_of_a_request(tmp_path: Path, certificate: Path) -> None:
    with echoing() as upstream, before(upstream, tmp_path, certificate) as proxy:
        claimed = {"X_Forwarded_For": "10.1.2.3", "X_Real_IP": "10.1.2.3"}
        claimed |= {"X_Forwarded_Proto": "gopher", "X_Request_ID": "mine"}
        claimed |= {"Connection": "Upgrade"}

        def told(path: str, upgrade: str) -> dict[str, str]:
            answer = ask(proxy, "GET", path, **claimed, Upgrade=upgrade)
            found: dict[str, str] = json.loads(answer.body)  # type: ignore[attr-defined]
            return found

        at_root = told("/health", "websocket")
        assert at_root["Host"] == f"127.0.0.1:{proxy.port}"
        assert at_root["X-Forwarded-For"] == at_root["X-Real-IP"] == "127.0.0.9"
        assert at_root["X-Forwarded-Proto"] == "https"
        assert len(at_root["X-Request-ID"]) == 32
        # nginx writes the line once the answer is sent.
        until(lambda: at_root["X-Request-ID"] in proxy.access_log.read_text())
        assert "Upgrade" not in at_root
        assert "Upgrade" not in told("/socket.io/", "h2c")
        socketio = told("/socket.io/?transport=websocket", "WebSocket")
        assert (socketio["Upgrade"], socketio["Connection"]) == ("websocket", "upgrade")


def test_behind_another_proxy_clients_keep_their_addresses(
    tmp_path: Path, certificate: Path
) -> None:
    """With the lines of docs/operations.md; that proxy has the address 127.0.0.9."""
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page.partition("\n## Behind another proxy\n")[2]
    lines = section.partition("```nginx\n")[2].partition("```")[0]
    assert "192.0.2.10" in lines
    more = {"    server_tokens off;\n": lines.replace("192.0.2.10", "127.0.0.9")}
    with echoing() as upstream, before(upstream, tmp_path, certificate, more=more) as proxy:

        def address(client: str) -> str:
            caller = connection(proxy, client)
            # What a client claims stands before what the proxy has appended.
            sent = {"X-Forwarded-For": "198.51.100.1, 203.0.113.5"}
            caller.request("GET", "/health", headers=sent)
            told: dict[str, str] = json.loads(caller.getresponse().read())
            caller.close()
            return told["X-Forwarded-For"]

        assert address("127.0.0.9") == "203.0.113.5"
        assert address("127.0.0.8") == "127.0.0.8"
