"""How Socket.IO connections end when clients do not read, or when no thread can be started."""

import socket
import time
from queue import Queue
from threading import Event, Thread, get_ident

import engineio
import socketio
from engineio import packet
from engineio.socket import Socket

from studio.web.live import sockets
from studio.web.live.connection import MAX_UNREAD, MAX_UNREAD_BYTES, StrictConnection
from tests.support.server import WAIT_S, until
from tests.support.threads import no_more_threads


def test_who_reads_nothing_is_ended() -> None:
    server = engineio.Server(async_mode="threading")
    known = Socket(server, "one")
    refused: Queue[str] = Queue()
    StrictConnection.take(known, lambda _: True, lambda: False, refused.put)
    for _ in range(MAX_UNREAD + 5):
        known.send(packet.Packet(packet.MESSAGE, "told"))
    assert refused.get(timeout=30) == "it reads nothing"
    assert known.queue.qsize() <= MAX_UNREAD + 1


def test_who_leaves_large_events_unread_is_ended() -> None:
    """What it has read before does not count."""
    server = engineio.Server(async_mode="threading")
    known = Socket(server, "one")
    refused: Queue[str] = Queue()
    StrictConnection.take(known, lambda _: True, lambda: False, refused.put)
    event = packet.Packet(packet.MESSAGE, "x" * (MAX_UNREAD_BYTES // 4))
    for _ in range(3):
        for _ in range(3):
            known.send(event)
        assert len(known.poll()) == 3
    for _ in range(10):
        known.send(event)
    assert refused.get(timeout=WAIT_S) == "it reads nothing"
    assert known.queue.qsize() == 5


def test_who_answers_no_ping_is_not_ended_while_it_is_sent_something() -> None:
    """Its sender may hold a lock that the end of a session takes."""
    server = engineio.Server(async_mode="threading")
    ended: Queue[tuple[str, int]] = Queue()
    server.on("disconnect", lambda _sid, reason: ended.put((reason, get_ident())))
    known = Socket(server, "one")
    StrictConnection.take(known, lambda _: True, lambda: False, lambda _: None)
    known.last_ping = time.monotonic() - server.ping_timeout - 1
    known.send(packet.Packet(packet.MESSAGE, "told"))
    reason, thread = ended.get(timeout=WAIT_S)
    assert reason == server.reason.PING_TIMEOUT
    assert thread != get_ident()
    assert known.queue.get(timeout=WAIT_S).packet_type == packet.CLOSE


def test_an_ended_client_is_hung_up_on_at_once_if_no_timer_can_be_started() -> None:
    server = socketio.Server(async_mode="threading")
    engine = server.eio
    has_ended = Event()
    engine.handle_request = lambda _environ, _start: has_ended.wait(WAIT_S)
    sockets.install(server, ["/transcribe"], 1)
    engine.sockets["one"] = Socket(engine, "one")
    engine.sockets["one"].upgraded = True
    ours, theirs = socket.socketpair()
    environ = {
        "REQUEST_METHOD": "GET",
        "HTTP_UPGRADE": "websocket",
        "QUERY_STRING": "sid=one",
        "werkzeug.socket": ours,
    }
    asking = Thread(target=engine.handle_request, args=(environ, lambda *_: None))
    with ours, theirs:
        asking.start()
        until(lambda: "studio.asked" in environ)
        with no_more_threads():
            engine.handlers["disconnect"]("one", engine.reason.SERVER_DISCONNECT)
        theirs.settimeout(WAIT_S)
        assert theirs.recv(1) == b""
        has_ended.set()
        asking.join()
