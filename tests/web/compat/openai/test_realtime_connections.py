"""Connections to OpenAI's Realtime API: who may open one, how many, and how they end."""

import json
import socket
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import websocket
from openai import OpenAI
from openai.types.websocket_reconnection import is_recoverable_close
from socketio.exceptions import ConnectionError as RefusedError
from websockets.exceptions import ConnectionClosedError
from werkzeug.serving import make_server

from studio.web.compat.openai.realtime import connection as realtime_connection
from tests.support.in_process import application
from tests.support.live_client import Client, open_sessions
from tests.support.metrics import scrape
from tests.support.openai_audio import KEY
from tests.support.server import WAIT_S, Server, until

# The client uses `websockets` in a way that its newest version calls deprecated.
pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used:DeprecationWarning")
ADDRESS = "/v1/realtime?intent=transcription"


def open_socket(server: Server, **options: Any) -> websocket.WebSocket:
    address = server.url.replace("http", "ws") + options.pop("path", ADDRESS)
    return websocket.create_connection(address, timeout=WAIT_S, **options)


def test_who_reads_nothing_is_ended(server: Server) -> None:
    """Nothing more can be sent to it, not even the end."""
    options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)]
    opened = open_socket(server, header=[f"Authorization: Bearer {KEY}"], sockopt=options)
    event = json.dumps({"type": "response.create", "event_id": "x" * 512})
    events = websocket.ABNF.create_frame(event, websocket.ABNF.OPCODE_TEXT).format() * 500
    with pytest.raises(ConnectionError):
        for _ in range(100):
            opened.sock.sendall(events)
    until(lambda: open_sessions(server) == 0)
    opened.shutdown()


def test_a_client_connects_again_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime_connection, "LINGER_S", WAIT_S)
    with (
        application(tmp_path, WHISPER_MODEL="mini") as app,
        make_server("127.0.0.1", 0, app, threaded=True) as http,
        OpenAI(base_url=f"http://127.0.0.1:{http.server_port}/v1", api_key="any") as client,
    ):
        Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        with client.realtime.connect(extra_query={"intent": "transcription"}) as opened:
            assert opened.recv().type == "session.created"
            app.extensions["parts"].stop()
            told = opened.recv()
            assert told.type == "error" and told.error.code == "server_stopping"
            with pytest.raises(ConnectionClosedError) as closed:
                opened.recv()
        http.shutdown()
    assert closed.value.rcvd is not None
    assert is_recoverable_close(closed.value.rcvd.code)


def test_a_session_is_no_slow_request(server: Server) -> None:
    """The time of requests in the metrics leaves out how long somebody spoke."""
    route = {"route": "/v1/realtime"}

    def counted() -> tuple[float, float]:
        now = scrape(server)
        return (
            now.value("studio_http_requests_total", status="101", **route),
            now.value("studio_http_request_seconds_count", **route),
        )

    sessions, timed = counted()
    open_socket(server, header=[f"Authorization: Bearer {KEY}"]).close()
    until(lambda: counted()[0] == sessions + 1)
    assert counted()[1] == timed


def test_who_may_connect(server: Server) -> None:
    key = [f"Authorization: Bearer {KEY}"]
    refusals: list[tuple[int, dict[str, Any]]] = [
        (401, {}),
        (401, {"subprotocols": ["realtime", "openai-insecure-api-key.wrong"]}),
        (400, {"header": key, "path": "/v1/realtime?intent=conversation"}),
        (404, {"header": key, "path": f"{ADDRESS}&model=nothing"}),
    ]
    for status, options in refusals:
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            open_socket(server, **options)
        assert refused.value.status_code == status
        assert set(json.loads(refused.value.resp_body or b"")["error"]) == {
            "message", "type", "param", "code",
        }  # fmt: skip
    plain = server.get(ADDRESS, headers={"Authorization": f"Bearer {KEY}"})
    assert plain.status_code == 400
    page = open_socket(server, subprotocols=["realtime", f"openai-insecure-api-key.{KEY}"])
    assert page.getsubprotocol() == "realtime"
    assert json.loads(page.recv())["type"] == "session.created"
    page.close()


def test_a_client_may_have_so_many_sessions(server: Server) -> None:
    """Of all protocols together: here one of Socket.IO and one of the Realtime API."""
    key = [f"Authorization: Bearer {KEY}"]
    transcribe = Client(server, auth={"token": KEY})
    transcribe.greeting()
    sockets = [open_socket(server, header=key)]
    with pytest.raises(RefusedError, match="too_many_sessions"):
        Client(server, auth={"token": KEY})
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        open_socket(server, header=key)
    assert refused.value.status_code == 429
    assert (refused.value.resp_headers or {})["retry-after"] == "10"
    transcribe.close()
    sockets[0].close()

    def is_open_again() -> bool:
        try:
            open_socket(server, header=key).close()
        except websocket.WebSocketBadStatusException:
            return False
        return True

    until(is_open_again)
