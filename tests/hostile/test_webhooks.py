"""Webhooks that one client sends nowhere: they cost that client alone."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from studio.errors import InvalidOption, TooManyWebhooks
from studio.jobs import outgoing
from studio.jobs.webhooks import AT_ONCE
from tests.support.receiver import Receiver
from tests.support.server import WAIT_S, until
from tests.support.webhooks import OPEN, WebhookBench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[WebhookBench]:
    bench = WebhookBench(tmp_path)
    yield bench
    bench.close()


class Listener:
    """Accepts connections and counts them; answers none until it is released."""

    def __init__(self, socket_: socket.socket, hangs: bool) -> None:
        self.url = f"http://127.0.0.1:{socket_.getsockname()[1]}/"
        self.accepted = 0
        self.released = Event()
        self._socket = socket_
        self._hangs = hangs
        self._open: list[socket.socket] = []

    def serve(self) -> None:
        while not self.released.is_set():
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            if self._hangs:
                self._open.append(caller)
            else:
                caller.close()

    def release(self) -> None:
        self.released.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        for caller in self._open:
            caller.close()


@contextmanager
def listener(hangs: bool) -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as opened:
        known = Listener(opened, hangs)
        thread = Thread(target=known.serve, daemon=True)
        thread.start()
        try:
            yield known
        finally:
            known.release()
            thread.join(WAIT_S)


@pytest.mark.parametrize(
    "host", ["a..b", ".a", "a" * 64, f"a.{'b' * 64}.c", "a" * 300, "a%62", "a_b!", "."]
)
def test_a_host_that_cannot_be_a_name_is_refused_when_it_is_given(
    bench: WebhookBench, host: str
) -> None:
    with pytest.raises(InvalidOption, match="'webhook'"):
        bench.webhooks.check(f"http://{host}/")


@pytest.mark.parametrize("host", ["a.b", "a.b.", "a_b.example", "xn--bcher-kva.example", "a" * 63])
def test_other_hosts_are_taken(bench: WebhookBench, host: str) -> None:
    assert bench.webhooks.check(f"https://{host}/told") == f"https://{host}/told"


def test_any_defect_is_a_failed_attempt(
    bench: WebhookBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name resolution raises UnicodeError for some names; others may raise what nobody foresees."""

    def no_address(*_: object, **__: object) -> list[object]:
        raise UnicodeError("label empty or too long")

    bench.tell("bad", *(f"http://receiver{number}.example/" for number in range(4)))
    with monkeypatch.context() as changed, Receiver() as receiver:
        changed.setattr(socket, "getaddrinfo", no_address)
        assert bench.webhooks.send_due() == 4
        changed.undo()
        bench.tell("good", receiver.url)
        assert bench.webhooks.send_due() == 1
        receiver.next().verified()


def test_receivers_that_never_answer_delay_no_other_client(
    bench: WebhookBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not answer before the test ends, and more messages than there are slots."""
    monkeypatch.setattr(outgoing, "CONNECT_S", 3600.0)
    monkeypatch.setattr(outgoing, "EXCHANGE_S", 3600.0)
    with listener(hangs=True) as hole, Receiver() as receiver:
        for number in range(3 * AT_ONCE):
            bench.tell("bad", f"{hole.url}{number}")
        bench.webhooks.start()
        until(lambda: hole.accepted >= 2)
        bench.tell("good", receiver.url)
        bench.webhooks.wake()
        receiver.next().verified()


def test_an_unreachable_host_is_tried_once_and_other_hosts_go_on(bench: WebhookBench) -> None:
    with listener(hangs=False) as broken, Receiver() as receiver:
        for number in range(5):
            bench.tell("one", f"{broken.url}{number}")
        bench.tell("one", receiver.url)
        assert bench.webhooks.send_due() == 2
        receiver.next().verified()
        assert broken.accepted == 1
        # The pauses grow with each failure in a row, whichever message it was.
        tried = []
        for _ in range(20):
            bench.now += 5.0
            tried.append(bench.webhooks.send_due())
        assert 2 <= sum(tried) <= 6
        # What one client's receivers do is not held against another client's.
        bench.tell("two", f"{broken.url}told")
        assert bench.webhooks.send_due() == 1


def test_a_client_has_a_bounded_number_of_messages(tmp_path: Path) -> None:
    bench = WebhookBench(tmp_path, replace(OPEN, max_per_client=3))
    try:
        url = "http://127.0.0.1:9/"
        bench.tell("one", *(f"{url}{number}" for number in range(3)))
        with pytest.raises(TooManyWebhooks, match="3 pending webhooks"):
            bench.webhooks.check(url, "one")
        assert bench.webhooks.check(url, "two") == url
        assert bench.webhooks.check(None, "one") is None
    finally:
        bench.close()
