"""Socket.IO connections that send what is out of order, or come to take the places of others."""

import base64
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import websocket

from studio.transcription.engine import RATE_HZ
from studio.web.live.connection import MAX_UNREAD, STRANGER_BYTES
from studio.web.live.server import SPARE_SOCKETS
from studio.web.live.sockets import MAX_CONNECTS, STRANGERS_PER_NETWORK
from tests.support.live_client import Client, chunk, open_sessions, pcm
from tests.support.server import Server, until
from tests.support.speech import spoken

KEY = "ann-0123456789abcdef"
JOIN = f'40/transcribe,{{"token":"{KEY}"}}'
SETTINGS: dict[str, Any] = {
    "API_KEYS": KEY,
    "WHISPER_MODEL": "mini",
    "LIVE_SESSIONS": 2,
    "TRUSTED_PROXIES": 1,
}
# None of these is a CONNECT.
OUT_OF_ORDER = [
    "",
    "x",
    "4",
    "4x",
    "5",
    "6",
    "9",
    "2probe",
    "41/transcribe,",
    "42/transcribe,[]",
    '42/transcribe,["keepalive"]',
    '42["keepalive"]',
    '43/transcribe,1["keepalive"]',
    "44/transcribe,{}",
    '451-/transcribe,["audio",{"_placeholder":true,"num":0}]',
    "45999999999999-/transcribe,[]",
    '40/transcribe,{"token":',
    "40" + "[" * 5000,
    f"40/transcribe,{'9' * 200}",
    f'40/transcribe,{{"token":"{"a" * STRANGER_BYTES}"}}',
    b"4",
    b"\xff\xfe",
]


@pytest.fixture(scope="module", params=["text", pytest.param("json", marks=pytest.mark.slow)])
def locked_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("locked"), LOG_FORMAT=request.param, **SETTINGS).start()
    yield server
    server.stop_later()


@pytest.fixture(scope="module")
def unhurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same server, on which a stranger may stay for longer."""
    server = Server(tmp_path_factory.mktemp("unhurried"), **SETTINGS)
    yield server.start(application="tests.support.unhurried:create_app()")
    server.stop_later()


@pytest.fixture
def locked(locked_server: Server) -> Server:
    """The server, once it has noticed the end of the connections of earlier tests."""
    until(lambda: open_sessions(locked_server) == 0)
    until(lambda: not has_unnoticed_ends(locked_server))
    return locked_server


def has_unnoticed_ends(server: Server) -> bool:
    """Whether clients have closed connections whose other side the server still holds open."""
    closed = rf"0100007F:{server.port:04X} [0-9A-F]+:[0-9A-F]+ 08"
    return re.search(closed, Path("/proc/net/tcp").read_text("ascii")) is not None


def connect(server: Server, address: str = "198.51.100.1", **options: Any) -> websocket.WebSocket:
    url = f"ws://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket"
    header = {"X-Forwarded-For": address}
    opened = websocket.create_connection(
        url, timeout=60, suppress_origin=True, header=header, **options
    )
    assert str(opened.recv()).startswith("0{")
    return opened


def send(opened: websocket.WebSocket, message: str | bytes) -> None:
    opcode = websocket.ABNF.OPCODE_BINARY if isinstance(message, bytes) else None
    opened.send(message, opcode or websocket.ABNF.OPCODE_TEXT)


def join(opened: websocket.WebSocket) -> None:
    send(opened, JOIN)
    while not str(opened.recv()).startswith("40/transcribe,"):
        pass


def received(opened: websocket.WebSocket) -> list[str]:
    """What comes up to the end of a connection."""
    messages = []
    with suppress(websocket.WebSocketConnectionClosedException, ConnectionError):
        while message := opened.recv():
            messages.append(str(message))
    return messages


def is_ended(opened: websocket.WebSocket) -> bool:
    """Read what still comes; whether the server ends the connection."""
    try:
        while opened.recv():
            pass
    except websocket.WebSocketTimeoutException:
        return False
    except (websocket.WebSocketException, OSError):
        pass
    return True


def new_lines(server: Server, before: int) -> list[str]:
    """What the log got since it had so many bytes; in the format that is set."""
    lines = server.log.read_bytes()[before:].decode().splitlines()
    for line in lines:
        assert "Traceback" not in line, line
        if server.settings["LOG_FORMAT"] == "json" and "studio" in line:
            json.loads(line)
    return lines


@pytest.mark.parametrize("message", OUT_OF_ORDER, ids=lambda message: repr(message[:20]))
def test_a_stranger_may_only_connect(locked: Server, message: str | bytes) -> None:
    before = locked.log.stat().st_size
    opened = connect(locked)
    try:
        send(opened, message)
        assert is_ended(opened)
    finally:
        opened.shutdown()
    assert len(new_lines(locked, before)) <= 5


def test_a_flood_of_malformed_packets_leaves_a_few_lines(locked: Server) -> None:
    before = locked.log.stat().st_size
    for _ in range(5):
        opened = connect(locked)
        try:
            for _ in range(1000):
                send(opened, "4x")
        except OSError:
            pass
        assert is_ended(opened)
        opened.shutdown()
    new_lines(locked, before)
    assert locked.log.stat().st_size - before < 10_000


def test_joining_is_not_tried_for_ever(locked: Server) -> None:
    opened = connect(locked)
    for number in range(MAX_CONNECTS):
        send(opened, f'40/transcribe,{{"token":"{number}"}}')
        assert "unauthorized" in str(opened.recv())
    send(opened, JOIN)
    assert is_ended(opened)
    opened.shutdown()


@pytest.mark.parametrize("body", [b"\xff\xff", b"x", b"bnot base64 \xc3", b"42[]", b"4\x1e" * 50])
def test_a_polled_connection_ends_as_well(locked: Server, body: bytes) -> None:
    before = locked.log.stat().st_size
    path = "/socket.io/?EIO=4&transport=polling"
    sid = json.loads(locked.get(path).text[1:])["sid"]
    assert locked.post(f"{path}&sid={sid}", data=body).status_code == 400
    assert locked.get(f"{path}&sid={sid}").status_code == 400
    assert len(new_lines(locked, before)) <= 5


@pytest.mark.parametrize(
    "message",
    ["4x", "5", "9", "42/transcribe,[]", '42/transcribe,{"a":1}', JOIN,
     '451000-/transcribe,["audio",{"_placeholder":true,"num":0}]'],
)  # fmt: skip
def test_a_client_ends_at_its_first_malformed_packet(locked: Server, message: str) -> None:
    opened = connect(locked)
    join(opened)
    send(opened, message)
    assert is_ended(opened)
    opened.shutdown()
    with Client(locked, auth={"token": KEY}) as client:
        assert client.call("audio", chunk(bytes(32_000)))["received_s"] == 1.0


def send_without_end(opened: websocket.WebSocket, parts: range) -> None:
    """Send parts of 128 KiB of a message that is never finished."""
    for number in parts:
        code = websocket.ABNF.OPCODE_CONT if number else websocket.ABNF.OPCODE_TEXT
        opened.send_frame(websocket.ABNF.create_frame("a" * (1 << 17), code, fin=0))


def test_a_message_is_bounded_while_it_arrives(unhurried: Server) -> None:
    """Its parts never end, so that no bound on whole messages would hold."""
    # The speech model is loaded with the first words that somebody says.
    with Client(unhurried, auth={"token": KEY}) as client:
        client.call("audio", chunk(pcm(spoken().sound[: 3 * RATE_HZ])))
        client.finish()
    (worker,) = psutil.Process(unhurried.pid).children()
    opened = connect(unhurried)
    send_without_end(opened, range(160))
    before_bytes = worker.memory_info().rss
    # The server reads all of it, but for what fits into the buffers of the connection.
    send_without_end(opened, range(160, 960))
    assert worker.memory_info().rss - before_bytes < 50 << 20
    opened.shutdown()


# Nothing is logged here, so one log format is enough; the ping time-out takes a minute.
@pytest.mark.slow
@pytest.mark.parametrize("locked_server", ["text"], indirect=True)
def test_a_message_without_an_end_ends_with_its_connection(locked: Server) -> None:
    """Its sender cannot answer the pings in between."""
    opened = connect(locked)
    send_without_end(opened, range(64))
    assert is_ended(opened)
    opened.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("locked_server", ["text"], indirect=True)
def test_who_answers_no_ping_holds_up_nobody(locked: Server) -> None:
    """The ping times out while this client speaks, so the server is just sending it texts."""
    opened = connect(locked)
    join(opened)
    second = base64.b64encode(pcm(spoken().sound[:RATE_HZ])).decode()
    audio = json.dumps(["audio", chunk(second)])
    with suppress(OSError, websocket.WebSocketException):
        for _ in range(60):
            send(opened, f"42/transcribe,{audio}")
            time.sleep(1)
    opened.shutdown()
    with Client(locked, auth={"token": KEY}) as client:
        client.say(spoken().sound[: 3 * RATE_HZ])
        assert client.finish()[-1][1]["text"]


def is_established(server: Server, client_port: int) -> bool:
    """Whether the server holds its side of a connection open."""
    sides = f"0100007F:{server.port:04X} 0100007F:{client_port:04X}"
    return f"{sides} 01" in Path("/proc/net/tcp").read_text("ascii")


KEEPALIVE = '42/transcribe,0["keepalive"]'
CONFIGURE = json.dumps(["configure", {"prompt": "x" * 1000}])


# More than the buffers of the connection take. In the second case, the server notices that nothing
# is read.
@pytest.mark.slow
@pytest.mark.parametrize("locked_server", ["text"], indirect=True)
@pytest.mark.parametrize(
    ("texts", "last"),
    [([f"42/transcribe,{CONFIGURE}"] * 4000, "4x"),
     ([f"42/transcribe,{CONFIGURE}"] * 4000 + [KEEPALIVE] * MAX_UNREAD, KEEPALIVE)],
    ids=["malformed", "unread"],
)  # fmt: skip
def test_the_threads_of_an_ended_client_do_not_wait_for_it_to_read(
    locked: Server, texts: list[str], last: str
) -> None:
    opened = connect(locked, sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
    join(opened)
    port = opened.sock.getsockname()[1]
    assert is_established(locked, port)
    with suppress(ConnectionError):
        frame = websocket.ABNF.create_frame
        for start in range(0, len(texts), 100):
            part = texts[start : start + 100]
            opened.sock.sendall(b"".join(frame(one, 1).format() for one in part))
        send(opened, last)
    until(lambda: not is_established(locked, port))
    opened.shutdown()


def test_strangers_hold_no_place_of_a_client(locked: Server) -> None:
    """Three addresses take all that they can get; every live session can still be had."""
    with ExitStack() as opened:
        for number in range(24):
            stranger = connect(locked, f"203.0.113.{number % 3}")
            opened.callback(stranger.shutdown)
        for _ in range(SETTINGS["LIVE_SESSIONS"]):
            client = opened.enter_context(Client(locked, auth={"token": KEY}))
            assert client.greeting()["message"]


@pytest.mark.slow
@pytest.mark.parametrize("locked_server", ["text"], indirect=True)
def test_who_is_in_no_namespace_is_ended_before_the_first_ping(locked: Server) -> None:
    """One never tries to join, one is refused, and one joins and leaves."""
    with ExitStack() as opened:
        connections = [connect(locked) for _ in range(3)]
        for one in connections:
            opened.callback(one.shutdown)
        _, refused, leaving = connections
        send(refused, '40/transcribe,{"token":"unknown"}')
        join(leaving)
        send(leaving, "41/transcribe,")
        for one in connections:
            assert "2" not in received(one)


def test_the_oldest_stranger_makes_room(unhurried: Server) -> None:
    with ExitStack() as idle:
        opened = [connect(unhurried, "203.0.113.9") for _ in range(STRANGERS_PER_NETWORK + 1)]
        for one in opened:
            idle.callback(one.shutdown)
        assert is_ended(opened[0])
        join(opened[1])


def test_a_network_of_ipv6_counts_as_one_address(locked: Server) -> None:
    with ExitStack() as idle:
        opened = [
            connect(locked, f"2001:db8:1:2:{number:x}::{number:x}")
            for number in range(STRANGERS_PER_NETWORK + 1)
        ]
        for one in opened:
            idle.callback(one.shutdown)
        assert is_ended(opened[0])


def threads(server: Server) -> int:
    main = psutil.Process(server.pid)
    return sum(process.num_threads() for process in [main, *main.children()])


def test_ended_connections_leave_no_thread(locked: Server) -> None:
    """Their clients neither answer the end nor close. The server's pool grows to 32 by itself; a
    connection has three threads beside the one of the pool."""
    before = threads(locked)
    with ExitStack() as idle:
        for number in range(60):
            opened = connect(locked, f"203.0.113.{number}")
            idle.callback(opened.shutdown)
            if number % 2:
                send(opened, "4x")
        until(lambda: threads(locked) <= before + 32 + 3 * SPARE_SOCKETS)
    until(lambda: threads(locked) <= before + 32)
