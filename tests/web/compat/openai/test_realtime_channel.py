"""The WebSocket of the Realtime API, of clients that send much and of those that leave."""

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
import websocket
from simple_websocket import ConnectionClosed

from studio.concurrency import ConcurrencyLimit
from studio.transcription.catalogue import FASTER_WHISPER, WhisperCatalogue
from studio.transcription.live.scheduler import Scheduler
from studio.web.compat.openai.realtime import channel as realtime_channel
from studio.web.compat.openai.realtime.channel import MAX_UNHANDLED_BYTES, Channel, NoThread, _Inbox
from studio.web.compat.openai.realtime.connection import Connection
from studio.web.live.server import Live
from tests.support.hearing import LIMITS
from tests.support.server import ROOT, WAIT_S, until
from tests.support.threads import no_more_threads

ENVIRON = {
    "HTTP_HOST": "localhost",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "HTTP_SEC_WEBSOCKET_KEY": base64.b64encode(bytes(16)).decode(),
}


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection: the server's and the client's."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname(), WAIT_S) as client,
    ):
        tcp, _ = listening.accept()
        with tcp:
            yield tcp, client


@contextmanager
def opened_channel() -> Iterator[tuple[Channel, socket.socket]]:
    """A WebSocket, and the connection of its client."""
    with connected() as (tcp, client), tcp.dup() as handle:
        channel = Channel({**ENVIRON, "werkzeug.socket": tcp}, handle, 1 << 20)
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        try:
            yield channel, client
        finally:
            channel.close()


def test_a_client_whose_messages_wait_misses_no_ping() -> None:
    """The server reads its answer only after them."""
    full = Event()
    inbox = _Inbox(full.set)
    message = "x" * (MAX_UNHANDLED_BYTES // 2)
    inbox.append(message)
    assert not full.is_set()
    reader = Thread(target=inbox.append, args=(message,))
    reader.start()
    assert full.wait(WAIT_S)
    assert inbox.pop(0) == message
    reader.join(WAIT_S)
    assert inbox == [message]


def test_a_client_that_leaves_while_its_messages_wait_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server has not read up to the end of the connection."""
    monkeypatch.setattr(realtime_channel, "MAX_UNHANDLED_BYTES", 1)
    message = websocket.ABNF.create_frame("{}", websocket.ABNF.OPCODE_TEXT).format()

    def has_left() -> bool:
        try:
            channel.pause()
        except ConnectionClosed:
            return True
        return False

    with opened_channel() as (channel, client):
        client.sendall(3 * message)
        assert not has_left()
        client.close()
        until(has_left)


def test_a_client_is_hung_up_on_if_there_is_no_thread_for_it(tmp_path: Path) -> None:
    folder = ROOT / "pretrained" / "whisper-mini"
    variants = WhisperCatalogue(folder, tmp_path, tmp_path, FASTER_WHISPER)
    live = Live(Scheduler(NotImplemented, ConcurrencyLimit(1, 0)), LIMITS, "mini", variants)
    connection = Connection(live, "whisper-1", lambda: False)
    with opened_channel() as (channel, client):
        with no_more_threads():
            connection.serve(channel)
        assert client.recv(1) == b""


@pytest.mark.parametrize("server", ["werkzeug", "gunicorn"])
def test_a_websocket_without_a_thread_to_read_it_is_closed(server: str) -> None:
    with connected() as (tcp, client), tcp.dup() as handle:
        with no_more_threads(), pytest.raises(NoThread) as error:
            Channel({**ENVIRON, f"{server}.socket": tcp}, handle, 1 << 20)
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        assert client.recv(1) == b""
    # Both HTTP servers take theirs as the end of the connection.
    with pytest.raises(StopIteration if server == "gunicorn" else ConnectionError):
        error.value.response({}, NotImplemented)
