"""A decoder that the system ends is no fault of the file."""

import os
import signal
from pathlib import Path

import pytest

from studio.audio import decode
from studio.audio.child import RECORDING, Child
from studio.errors import DecoderEnded
from studio.web.answers import disposition
from tests.support.server import ffmpeg_children, noise, write_wav


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So long that ffmpeg waits for its reader."""
    return write_wav(tmp_path_factory.mktemp("song") / "song.wav", noise(60.0))


def test_a_decoder_that_is_killed_is_the_servers_trouble(song: Path) -> None:
    blocks = decode(song, 44_100, 2, 60.0)
    next(blocks)
    [child] = ffmpeg_children()
    os.kill(child, signal.SIGKILL)
    with pytest.raises(DecoderEnded, match="ended by the system") as raised:
        for _ in blocks:
            pass
    assert raised.value.extra["retry_after_s"] > 0
    assert ffmpeg_children() == []


def test_a_probe_that_is_killed_is_the_servers_trouble(song: Path) -> None:
    command = [*RECORDING, "-f", "f32le", "pipe:1"]
    with Child(command, song) as child, pytest.raises(DecoderEnded):
        assert child.receive()
        [process] = ffmpeg_children()
        os.kill(process, signal.SIGKILL)
        while child.receive():
            pass
        child.wait()


@pytest.mark.parametrize(
    "name",
    [
        "\uff0e\uff0e\uff0fetc\uff0fpasswd",
        "\uff0e\uff0e\uff3cx",
        "c\uff1a\uff3cx",
        "\u2024\u2024\uff0fx",
    ],
)
def test_no_letter_of_a_name_becomes_a_path(name: str) -> None:
    """Letters of full width become those of a path when the plain name is made of them."""
    plain = disposition(f"{name} - vocals.wav").partition('filename="')[2].partition('"')[0]
    assert not set(plain) & set("/\\:*?<>|")
    assert not plain.startswith(".")
    assert plain.endswith("vocals.wav")
