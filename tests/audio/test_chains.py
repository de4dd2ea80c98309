"""Chained Ogg files, whose recordings follow each other in different formats."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from studio import audio
from studio.audio import chain
from studio.audio.child import RECORDING, Child
from studio.errors import AudioTruncated, AudioUnsupported
from tests.support.hostile_files import ogg_page, ogg_pages
from tests.support.sounds import (
    RATE_HZ,
    Sound,
    convert,
    decode_all,
    ffmpeg_children,
    level_db,
    tone,
    write_wav,
)

# Formats of Ogg that follow each other: options of ffmpeg, and the tone in Hz.
LINKS = {
    "stereo": ("-c:a", "libvorbis"),
    "mono": ("-c:a", "libvorbis", "-ac", "1"),
    "48 kHz": ("-c:a", "libvorbis", "-ar", "48000"),
    "fine": ("-c:a", "libvorbis", "-q:a", "9"),
    "Opus": ("-c:a", "libopus"),
    "mono Opus": ("-c:a", "libopus", "-ac", "1"),
    "FLAC": ("-c:a", "flac"),
    "mono FLAC": ("-c:a", "flac", "-ac", "1", "-ar", "48000"),
}
CHAINS = [
    ("stereo", "mono"),
    ("mono", "stereo"),
    ("stereo", "48 kHz", "stereo"),
    ("stereo", "fine"),
    ("stereo", "Opus"),
    ("Opus", "stereo", "Opus"),
    ("Opus", "mono Opus"),
    ("FLAC", "Opus"),
    ("FLAC", "mono FLAC"),
    ("stereo", "stereo", "mono", "mono"),
]


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], bytes]:
    folder = tmp_path_factory.mktemp("links")

    def make(name: str, number: int) -> bytes:
        """The recording of a place in the chain, whose tone tells the place."""
        path = folder / f"{name}-{number}.ogg"
        if not path.exists():
            wav = write_wav(folder / "t.wav", np.stack([tone(1.5, 500.0 * (number + 1))] * 2))
            convert(wav, path, *LINKS[name])
        return b"".join(
            ogg_page(page[0], page[1], number + 1, *page[3:])
            for page in ogg_pages(path.read_bytes())
        )

    return make


def heard(sound: Sound, rate_hz: int, number: int) -> float:
    """The loudest tone in the middle of a place in the chain, in Hz."""
    middle = sound[
        0, round((1.5 * number + 0.25) * rate_hz) : round((1.5 * number + 1.25) * rate_hz)
    ]
    # ffmpeg mixes two equal channels to one that is 3 dB louder.
    assert -1.0 < level_db(middle) < 4.0
    return float(np.abs(np.fft.rfft(middle)).argmax())


def test_a_part_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Instead of sound that ends early."""
    arguments = [*RECORDING, "-f", "f32le", "pipe:1"]
    with (
        pytest.raises(OSError, match=re.escape(str(tmp_path))),
        chain.child_of(arguments, tmp_path, chain.Part(0, 1000, 1, 1)) as child,
    ):
        while child.receive():
            pass


@pytest.mark.parametrize("names", CHAINS, ids=", ".join)
def test_a_chain_that_changes_its_format_is_decoded_whole(
    tmp_path: Path, links: Callable[[str, int], bytes], names: tuple[str, ...]
) -> None:
    path = tmp_path / "chain.ogg"
    path.write_bytes(b"".join(links(name, number) for number, name in enumerate(names)))
    found = audio.probe(path)
    assert found.says_its_end
    assert found.duration_s == pytest.approx(1.5 * len(names), abs=0.05)
    for rate_hz, channels in ((RATE_HZ, 2), (16_000, 1)):
        sound = decode_all(path, rate_hz, channels)
        assert sound.shape[1] / rate_hz == pytest.approx(found.duration_s, abs=0.01)
        tones = [heard(sound, rate_hz, number) for number in range(len(names))]
        assert tones == [500.0 * (number + 1) for number in range(len(names))]
        assert level_db(sound[-1]) == pytest.approx(level_db(sound[0]), abs=0.1)
    assert ffmpeg_children() == []


def test_an_ffmpeg_that_lost_sound_has_failed_though_it_exits_with_0(
    tmp_path: Path, links: Callable[[str, int], bytes]
) -> None:
    path = tmp_path / "chain.ogg"
    path.write_bytes(links("stereo", 0) + links("mono", 1))
    with Child(["-v", "error", *RECORDING, "-f", "null", "-"], path) as child:
        while child.receive():
            pass
        assert not child.wait()
        assert child.report.lost_sound
    path.write_bytes(links("stereo", 0) + links("stereo", 1))
    with Child(["-v", "error", *RECORDING, "-f", "null", "-"], path) as child:
        while child.receive():
            pass
        assert child.wait()


def test_the_blocks_of_a_chain_are_even(tmp_path: Path, links: Callable[[str, int], bytes]) -> None:
    path = tmp_path / "chain.ogg"
    path.write_bytes(b"".join(links(name, n) for n, name in enumerate(("stereo", "mono", "Opus"))))
    blocks = audio.decode(path, 192_000, 2)
    assert next(blocks).shape == (2, audio.BLOCK_SAMPLES)
    blocks.close()
    assert ffmpeg_children() == []
    shapes = [block.shape for block in audio.decode(path, 192_000, 2)]
    assert set(shapes[:-1]) == {(2, audio.BLOCK_SAMPLES)}


def test_a_chain_that_is_cut_off_is_refused(
    tmp_path: Path, links: Callable[[str, int], bytes]
) -> None:
    path = tmp_path / "chain.ogg"
    content = links("stereo", 0) + links("mono", 1)
    path.write_bytes(content[:-2000])
    with pytest.raises(AudioTruncated):
        audio.probe(path)


def test_a_chain_of_endless_changes_is_refused(
    tmp_path: Path, links: Callable[[str, int], bytes]
) -> None:
    path = tmp_path / "chain.ogg"
    path.write_bytes((links("mono", 0) + links("stereo", 1)) * (chain.MAX_PARTS // 2 + 1))
    with pytest.raises(AudioUnsupported, match="changes its format"):
        audio.probe(path)


def test_endless_recordings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "chain.ogg"
    path.write_bytes(b"OggS\0\2OggS\0\0" * (chain.MAX_RECORDINGS + 1))
    with pytest.raises(AudioUnsupported, match="more than 10,000 recordings"):
        audio.probe(path)
