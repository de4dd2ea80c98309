"""A decoder that the system ends is no fault of the file."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio.audio import decode
from studio.audio.child import RECORDING, Child
from studio.errors import DecoderEnded
from studio.web.sending import disposition
from tests.support.server import ROOT
from tests.support.sounds import ffmpeg_children, noise, write_wav


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So long that ffmpeg waits for its reader."""
    return write_wav(tmp_path_factory.mktemp("song") / "song.wav", noise(60.0))


def test_a_decoder_that_is_killed_is_the_servers_trouble(song: Path) -> None:
    blocks = decode(song, 44_100, 2, 60.0)
    next(blocks)
    [child] = ffmpeg_children()
    os.kill(child, signal.SIGKILL)
    with pytest.raises(DecoderEnded, match="operating system killed the decoder") as raised:
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


# Decodes a file, and after the first samples interrupts its own process group, as Ctrl-C does.
INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from studio.audio import decode

signal.signal(signal.SIGINT, lambda *_: None)
blocks = decode(Path(sys.argv[1]), 44_100, 2, 60.0)
count = next(blocks).shape[1]
os.killpg(0, signal.SIGINT)
print(count + sum(block.shape[1] for block in blocks))
"""


def test_ctrl_c_does_not_reach_the_decoder(song: Path) -> None:
    """The job would fail instead of returning to the queue."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, song],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == (f"{60 * 44_100}\n", 0), done.stderr


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
