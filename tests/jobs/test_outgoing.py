"""Where the server may send to: the address that is checked is the one that is connected to."""

import http.client
import socket
import ssl
import subprocess
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from studio.jobs import outgoing
from studio.jobs.outgoing import OutgoingRefused, check, post
from tests.support.receiver import Receiver


def resolve(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Let names lead to these addresses, one after the other; the names that were asked for."""
    asked: list[str] = []
    left = list(answers)

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        address = left.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_that_leads_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver:
        resolve(monkeypatch, "127.0.0.1")
        check(f"http://receiver.example:{receiver.port}/", allow_private=False)
        with pytest.raises(OutgoingRefused, match=r"receiver[.]example resolves to a private"):
            post(f"http://receiver.example:{receiver.port}/", b"{}", {}, allow_private=False)
        assert receiver.got.empty()


def test_a_name_is_looked_up_once_and_that_address_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second look-up could lead elsewhere; there is none."""
    with Receiver() as receiver:
        asked = resolve(monkeypatch, "127.0.0.1")
        url = f"http://receiver.example:{receiver.port}/told"
        assert post(url, b"{}", {"X-A": "b"}, allow_private=True) == 204
        assert asked == ["receiver.example"]
        delivery = receiver.next()
        assert delivery.headers["host"] == f"receiver.example:{receiver.port}"
        assert delivery.headers["x-a"] == "b"


def test_of_several_addresses_only_public_ones_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
        for address in ("10.0.0.1", "93.184.215.14", "127.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    class Unreachable(socket.socket):
        def connect(self, address: Any) -> None:
            tried.append(address[0])
            raise OSError("unreachable")

    monkeypatch.setattr(socket, "socket", Unreachable)
    with pytest.raises(OSError, match="unreachable"):
        post("http://receiver.example/", b"", {}, allow_private=False)
    assert tried == ["93.184.215.14"]


def test_a_name_with_many_dead_addresses_is_left_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold one of the few slots for minutes."""
    waited_s: list[float] = []
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"93.184.215.{number}", 80))
        for number in range(200)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    class Silent(socket.socket):
        def connect(self, _: Any) -> None:
            waited_s.append(self.gettimeout() or 0.0)
            raise TimeoutError("no answer")

    monkeypatch.setattr(socket, "socket", Silent)
    with pytest.raises(TimeoutError, match="no answer"):
        post("http://receiver.example/", b"", {}, allow_private=False)
    assert len(waited_s) > 1 and sum(waited_s) <= 10.0


def test_a_receiver_that_never_ends_its_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends byte by byte, each within the time for one; together it is too long."""
    monkeypatch.setattr(outgoing, "EXCHANGE_S", 1.0)
    was_left = Event()

    def drip(listener: socket.socket) -> None:
        caller, _ = listener.accept()
        with caller:
            try:
                caller.sendall(b"HTTP/1.1 2")
                while True:
                    caller.send(b"0")
                    time.sleep(0.02)
            except OSError:
                was_left.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises((OSError, http.client.HTTPException)):
            post(url, b"{}", {}, allow_private=True)
        assert was_left.wait(60)
        thread.join(60)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for receiver.example that nobody signed, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=receiver.example", "-addext", "subjectAltName=DNS:receiver.example"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_certificates_are_checked_against_the_name(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connected to the looked-up address, the name of the certificate is still the host's."""
    with Receiver() as receiver:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        http = receiver._http
        http.socket = context.wrap_socket(http.socket, server_side=True)
        resolve(monkeypatch, *["127.0.0.1"] * 3)
        told = f"https://receiver.example:{receiver.port}/told"
        with pytest.raises(ssl.SSLCertVerificationError):
            post(told, b"{}", {}, allow_private=True)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert post(told, b"{}", {}, allow_private=True) == 204
        other = f"https://other.example:{receiver.port}/told"
        with pytest.raises(ssl.SSLCertVerificationError):
            post(other, b"{}", {}, allow_private=True)
        assert receiver.got.qsize() == 1


def test_the_host_has_no_port_if_it_is_that_of_the_scheme(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as receiver:
        address = ("127.0.0.1", receiver.port)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        post("http://receiver.example/told", b"{}", {}, allow_private=True)
        assert receiver.next().headers["host"] == "receiver.example"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        receiver._http.socket = context.wrap_socket(receiver._http.socket, server_side=True)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        for port, host in (("", ""), (":443", ""), (":80", ":80")):
            post(f"https://receiver.example{port}/told", b"{}", {}, allow_private=True)
            assert receiver.next().headers["host"] == f"receiver.example{host}"
