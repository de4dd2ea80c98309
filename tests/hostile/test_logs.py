"""Callers' words in the log: they end no line, begin none, and move no cursor."""

import io
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from studio.jobs import webhooks
from studio.logs import OneLine, RateLimitedLog, TextFormatter
from tests.support.server import WAIT_S
from tests.support.webhooks import WebhookBench

FORGED = "2026-01-01 00:00:00,000 INFO production: all is well"


@contextmanager
def text_log(name: str) -> Iterator[io.StringIO]:
    """What a logger writes, as LOG_FORMAT=text shows it."""
    logger, stream = logging.getLogger(name), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_the_answer_of_a_receiver_forges_no_line(tmp_path: Path) -> None:
    def answer(listener: socket.socket) -> None:
        caller, _ = listener.accept()
        with caller:
            caller.recv(1 << 16)
            caller.sendall(f"no HTTP\x1b[2J\r{FORGED}\x85\u2028x\n".encode())

    bench = WebhookBench(tmp_path)
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            text_log(webhooks.__name__) as written,
        ):
            thread = Thread(target=answer, args=(listener,), daemon=True)
            thread.start()
            bench.tell("one", f"http://127.0.0.1:{listener.getsockname()[1]}/")
            assert bench.webhooks.send_due() == 1
            thread.join(WAIT_S)
    finally:
        bench.close()
    (line,) = written.getvalue().splitlines()
    assert FORGED in line and not line.startswith(FORGED)
    assert line.isprintable()


@pytest.mark.parametrize(
    "text", ["a\nb", "a\rb", "a\x1b[31mb", "a\x00b", "a\x9bb", "a\u2028b", "a\u202eb", "a\x7fb"]
)
def test_control_characters_are_escaped(text: str) -> None:
    with text_log("studio.tests") as written:
        logging.getLogger("studio.tests").info("it says %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            logging.getLogger("studio.tests").exception("%s failed", text)
    for line in written.getvalue().split("\n"):
        assert not line or line.isprintable(), line
    assert "a\\" in written.getvalue()


def test_other_languages_stay_as_they_are() -> None:
    with text_log("studio.tests") as written:
        logging.getLogger("studio.tests").info("Größe 音楽 é 🎵")
    assert "Größe 音楽 é 🎵" in written.getvalue()


def test_an_error_of_socketio_is_one_line() -> None:
    with text_log("studio.tests") as written:
        logger = logging.getLogger("studio.tests")
        only = OneLine()
        logger.addFilter(only)
        try:
            raise ValueError("wrong\n" * 1000)
        except ValueError:
            logger.exception("%s handler error", "message")
        finally:
            logger.removeFilter(only)
    (line,) = written.getvalue().splitlines()
    assert "message handler error: ValueError: wrong" in line
    assert len(line) < 1000


def test_what_repeats_is_counted() -> None:
    with text_log("studio.tests") as written:
        limited = RateLimitedLog(logging.getLogger("studio.tests"))
        for number in range(1000):
            limited.warning("%d", number)
    assert 1 <= len(written.getvalue().splitlines()) < 100
