"""A recording with a container has no gap, even if the server rejects a chunk of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from studio.transcription.engine import RATE_HZ
from studio.transcription.live.events import SessionError
from studio.web.live.transcription import _Incoming
from tests.support.hearing import LIMITS, Hearing, Speaker
from tests.support.receiving import FRAGMENTS, pieces
from tests.support.sounds import convert
from tests.support.speech import RECORDING, Spoken

WAITING_S = 5
CODECS = {
    "audio/webm;codecs=opus": ["-c:a", "libopus", "-f", "webm", "-cluster_time_limit", "200"],
    "audio/ogg;codecs=opus": ["-c:a", "libopus", "-f", "ogg", "-page_duration", "200000"],
    "audio/mp4": ["-c:a", "aac", "-f", "mp4", *FRAGMENTS],
}


class Client:
    """A client that sends recordings, and the session that takes them."""

    def __init__(self, recording: Spoken, mime_type: str) -> None:
        self.speaker = Speaker(replace(LIMITS, waiting_s=WAITING_S))
        self.incoming = _Incoming(self.speaker.session, 0.0)
        self._engine = Hearing(recording)
        self._mime_type = mime_type

    def send(self, chunk: bytes) -> str | None:
        """The error with which a chunk is rejected, or None."""
        try:
            self.incoming.take(self._mime_type, chunk)
        except SessionError as error:
            assert error.code == "too_far_behind", error.message
            return error.message
        return None

    def until_rejected(self, chunks: Iterator[bytes]) -> bytes:
        """Send chunks until one is rejected, and return that one."""
        return next(chunk for chunk in chunks if self.send(chunk))

    def decode(self) -> None:
        self.speaker.serve(self._engine)

    @property
    def received_s(self) -> float:
        return self.speaker.session.times()["received_s"]


@pytest.fixture(params=CODECS)
def mime_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(recording: Spoken, mime_type: str) -> Iterator[Client]:
    client = Client(recording, mime_type)
    yield client
    client.incoming.close()


@pytest.fixture
def chunks(mime_type: str, tmp_path: Path) -> list[bytes]:
    data = convert(RECORDING, tmp_path / "recording", *CODECS[mime_type]).read_bytes()
    return pieces(data, 4000)


def test_rejected_chunks_that_are_sent_again_in_order_leave_no_gap(
    client: Client, chunks: list[bytes], recording: Spoken
) -> None:
    rounds = 0
    while chunks:
        errors = [client.send(chunk) for chunk in chunks]
        accepted = errors.count(None)
        assert accepted > 0 and not any(errors[:accepted])
        chunks = chunks[accepted:]
        client.decode()
        rounds += 1
    assert rounds > 1
    client.incoming.end()
    assert client.received_s == pytest.approx(len(recording.sound) / RATE_HZ, abs=0.2)


def test_after_a_gap_only_a_new_recording_is_accepted(client: Client, chunks: list[bytes]) -> None:
    following = iter(chunks)
    client.until_rejected(following)
    client.decode()
    received_s = client.received_s
    errors = [client.send(chunk) for chunk in following]
    assert errors and all("start a new recording" in str(error) for error in errors)
    assert client.received_s == received_s
    while client.send(chunks[0]):
        client.decode()
    assert [client.send(chunk) for chunk in chunks[1:4]] == [None] * 3


def test_a_rejected_chunk_may_be_sent_again_with_the_next_ones(
    client: Client, chunks: list[bytes], recording: Spoken
) -> None:
    following = iter(chunks)
    rejected = client.until_rejected(following)
    client.decode()
    rest = [rejected + next(following), *following]
    for chunk in rest:
        while client.send(chunk):
            client.decode()
    client.incoming.end()
    assert client.received_s == pytest.approx(len(recording.sound) / RATE_HZ, abs=0.2)


def test_after_a_chunk_that_is_too_large_a_new_recording_is_needed(
    client: Client, chunks: list[bytes]
) -> None:
    assert client.send(chunks[0]) is None
    client.incoming.lose()
    assert "Start a new recording" in str(client.send(chunks[2]))
    assert client.send(chunks[0]) is None
