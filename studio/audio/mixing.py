"""Mixes: a song with other levels of its stems, in another key and tempo."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from studio.audio.decoding import decode
from studio.audio.piped import encoded, of_length, stretched, wav_bytes
from studio.audio.sound import BLOCK_SAMPLES, Sound
from studio.audio.tags import NO_TAGS, Tags
from studio.audio.writing import read_blocks
from studio.errors import InvalidOption

STEREO = 2

Matrix = npt.NDArray[np.float32]
"""Shares of the channels of a sound (columns) in other channels (rows)."""


@dataclass(frozen=True)
class Mix:
    """How a song is mixed.

    `gains` are factors of stems; others keep their level. `pans` are balances of stems, -1 (left)
    to 1 (right); others stay where they are. `semitones` change the key, `tempo` the speed; neither
    affects the other. With `is_peak_safe`, peaks beyond full scale are limited instead of cut.
    """

    gains: Mapping[str, float] = field(default_factory=dict)
    pans: Mapping[str, float] = field(default_factory=dict)
    semitones: float = 0.0
    tempo: float = 1.0
    is_peak_safe: bool = False
    tags: Tags = NO_TAGS

    def samples(self, samples: int) -> int:
        """The length of the mix of a song with this many samples."""
        return round(samples / self.tempo)


@dataclass(frozen=True)
class Overlay:
    """A WAV that is added to a mix. The song begins `starts_s` after it."""

    path: Path
    gain: float
    starts_s: float = 0.0


@dataclass(frozen=True)
class Song:
    """A recording, its stems as WAV at `rate_hz`, and what is added to it."""

    mixture: Path
    stems: Mapping[str, Path]
    duration_s: float
    rate_hz: int
    channels: int
    samples: int
    added: Sequence[Overlay] = ()


def mix_bytes(mix: Mix, song: Song, audio_format: str) -> int | None:
    """The size of a mix as a file; None if it is not known before it is made."""
    return wav_bytes(song.channels, mix.samples(song.samples)) if audio_format == "wav" else None


def mixed_file(mix: Mix, song: Song, audio_format: str) -> Generator[bytes, None, None]:
    """A mix as a file, piece by piece; it is not stored. Raises NotAudio."""
    yield from encoded(
        mixed_blocks(mix, song),
        audio_format,
        song.rate_hz,
        song.channels,
        mix.samples(song.samples),
        tags=mix.tags,
        is_peak_safe=mix.is_peak_safe,
    )


def mixed_blocks(mix: Mix, song: Song) -> Generator[Sound, None, None]:
    """A mix as blocks of its exact length. Raises NotAudio.

    What changes in the stems is added to the song. If nothing changes, the mix is exactly the song,
    even if the stems do not add up to it.
    """
    blocks: Generator[Sound, None, None] = _mixed(mix, song)
    if mix.semitones or mix.tempo != 1.0:
        blocks = stretched(
            blocks, song.rate_hz, song.channels, semitones=mix.semitones, tempo=mix.tempo
        )
    with closing(blocks):
        yield from of_length(blocks, song.channels, mix.samples(song.samples))


def _mixed(mix: Mix, song: Song) -> Generator[Sound, None, None]:
    with ExitStack() as stack:
        parts = [
            (stack.enter_context(closing(_blocks(path))), change)
            for name, path in song.stems.items()
            if (change := _change(mix, name, song.channels)).any()
        ]
        for added in song.added:
            blocks = _from(added, song)
            parts.append((stack.enter_context(closing(blocks)), added.gain * _whole(song.channels)))
        whole = decode(song.mixture, song.rate_hz, song.channels, song.duration_s)
        for block in stack.enter_context(closing(whole)):
            mixed = block.copy()
            for blocks, change in parts:
                part = next(blocks, None)
                if part is not None:
                    length = min(mixed.shape[1], part.shape[1])
                    mixed[:, :length] += change @ part[:, :length]
            yield mixed


def _change(mix: Mix, stem: str, channels: int) -> Matrix:
    """What a stem adds to the channels of the song. Raises InvalidOption."""
    gain, pan = mix.gains.get(stem, 1.0), mix.pans.get(stem, 0.0)
    if pan == 0:
        return (gain - 1) * _whole(channels)
    if channels != STEREO:
        raise InvalidOption(
            f"The balance of {stem!r} cannot be changed, because the stems have {channels} "
            f"channels instead of {STEREO}."
        )
    return gain * _panned(pan) - _whole(channels)


def _panned(pan: float) -> Matrix:
    """Another balance of stereo sound, as the `StereoPannerNode` of browsers makes it."""
    angle = (pan + 1 if pan < 0 else pan) * np.pi / 2
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = [[1, cosine], [0, sine]] if pan < 0 else [[cosine, 0], [sine, 1]]
    return np.array(matrix, np.float32)


def _whole(channels: int) -> Matrix:
    """Each channel as it is."""
    return np.eye(channels, dtype=np.float32)


def _blocks(path: Path) -> Generator[Sound, None, None]:
    yield from read_blocks(path)


def _from(added: Overlay, song: Song) -> Generator[Sound, None, None]:
    """What is added, from the beginning of the song, in blocks of the same lengths."""
    rest = np.zeros((song.channels, 0), np.float32)
    early = round(added.starts_s * song.rate_hz)
    with closing(decode(added.path, song.rate_hz, song.channels)) as blocks:
        for block in blocks:
            skipped = min(early, block.shape[1])
            early -= skipped
            rest = np.concatenate([rest, block[:, skipped:]], axis=1)
            if rest.shape[1] >= BLOCK_SAMPLES:
                yield rest[:, :BLOCK_SAMPLES]
                rest = rest[:, BLOCK_SAMPLES:]
    yield rest
