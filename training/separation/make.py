"""Renders training songs from many sources, as small files, in a folder of bounded size.

    python -m training.separation.make --count 400 --max-mb 170

It needs what `make sounds` and `make voices` fetch. Songs that are on disk are kept, so it can be
stopped and continued, and several can run at once with other seeds. What records do to sounds
(filters, rooms, compression) is added during training: see `remix.py`.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from studio.audio import ffmpeg_path
from training.mix import RATE_HZ, mix
from training.palette import Palette
from training.songs import Note, Part, Song, make_song

from . import packed, synths
from .instruments import play, play_drums
from .singers import spoken, sung
from .sources import KNOWN, Cast, draw, require

DURATION_S = 24.0

CODECS = {"mp3": "libmp3lame", "adts": "aac"}
"""Container format of a lossy coder, by ffmpeg's name of the format."""
CODEC_TIMEOUT_S = 60
CODED = 0.15
MACHINE = 0.3
SYNTH_BASS = 0.6
BASS_CHANGES_S = 6.0
SYNTH_OTHER = 0.25
LOW_OTHER = 0.3
PERSON = 0.5
SPOKEN = 0.15

Floats = npt.NDArray[np.float32]


def compose(seed: int) -> tuple[Song, Cast]:
    """The training song of a seed, and who plays it: known sources only."""
    rng = np.random.default_rng([seed, 5])
    cast = draw(rng, [KNOWN] * 4)
    if rng.random() < PERSON:
        people = [singer for singer in KNOWN.singers if singer.language]
        cast = replace(cast, singer=people[rng.integers(len(people))])
    return make_song(seed, False, DURATION_S, _every_program(cast.palette)), cast


def _every_program(palette: Palette) -> Palette:
    """With all programs of General MIDI that suit a role, counted from 0."""
    return replace(
        palette,
        bass=(*range(32, 40), *range(32, 40), 43, 57, 58, 70, 81, 87),
        pad=(*range(16, 24), *range(40, 56), *range(60, 64), *range(88, 96)),
        comp=(*range(32), 45, 46, 104, 106, 107),
        arp=(*range(16), *range(24, 32), 45, 46, 104, 105, 106, 107, 108),
        lead=(22, *range(40, 44), *range(56, 88), 109, 110, 111),
    )


def perform(song: Song, cast: Cast, rng: np.random.Generator) -> list[Floats]:
    """The stems of a song, in the order of SOURCES; synthesizers take some of the parts."""
    duration_s = song.duration_s
    others = [_lower(part) if rng.random() < LOW_OTHER else part for part in song.other]
    return [
        synths.play_drums(song.drums.notes, duration_s, rng)
        if rng.random() < MACHINE
        else play_drums(song.drums, cast.kit, duration_s),
        _computed_bass(song.bass.notes, duration_s, rng)
        if rng.random() < SYNTH_BASS
        else play([song.bass], cast.bass, duration_s),
        synths.play(
            [part.notes for part in others],
            [synths.draw_patch(rng, bass=False) for _ in others],
            duration_s,
        )
        if rng.random() < SYNTH_OTHER
        else play(others, cast.other, duration_s),
        spoken(cast.singer, duration_s, rng)
        if cast.singer.language and rng.random() < SPOKEN
        else sung(song, cast.singer, RATE_HZ, rng),
    ]


def _computed_bass(notes: Sequence[Note], duration_s: float, rng: np.random.Generator) -> Floats:
    """A bass whose sound changes every `BASS_CHANGES_S`, for more variety in few songs."""
    parts: dict[int, list[Note]] = {}
    for note in notes:
        parts.setdefault(int(note.start_s // BASS_CHANGES_S), []).append(note)
    patches = [synths.draw_patch(rng, bass=True) for _ in parts]
    return synths.play(list(parts.values()), patches, duration_s)


def _lower(part: Part) -> Part:
    """An octave lower."""
    notes = [
        Note(note.start_s, note.duration_s, note.pitch - 12, note.velocity) for note in part.notes
    ]
    return replace(part, notes=notes)


def render(seed: int) -> npt.NDArray[np.int16]:
    """The stems of a training song: int16 of shape (4, 2, samples) at RATE_HZ."""
    song, cast = compose(seed)
    rng = np.random.default_rng([seed, 6])
    stems = [
        code(stem, rng) if stem.any() and rng.random() < CODED else stem
        for stem in perform(song, cast, rng)
    ]
    return np.round(mix(stems, rng) * 32767).astype(np.int16)


def code(audio: Floats, rng: np.random.Generator) -> Floats:
    """Through MP3 or AAC at 64 to 192 kbit/s; float32 of shape (2, samples) at RATE_HZ."""
    container = str(rng.choice(list(CODECS)))
    bitrate_bps = int(rng.choice([64, 96, 128, 192])) * 1000
    raw = ["-f", "f32le", "-ar", str(RATE_HZ), "-ac", "2"]
    coder = ["-c:a", CODECS[container], "-b:a", str(bitrate_bps), "-f", container]
    peak = np.float32(max(1.0, float(np.abs(audio).max())))
    samples = np.ascontiguousarray((audio / peak).T, "<f4").tobytes()
    coded = _ffmpeg([*raw, "-i", "-", *coder, "-"], samples)
    back = np.frombuffer(_ffmpeg(["-i", "-", *raw, "-"], coded), "<f4")
    stereo = back.reshape(-1, 2).T[:, : audio.shape[1]] * peak
    padded: Floats = np.pad(stereo, ((0, 0), (0, audio.shape[1] - stereo.shape[1])))
    return padded


def _ffmpeg(arguments: list[str], data: bytes) -> bytes:
    command = [ffmpeg_path(), "-nostdin", "-v", "error", *arguments]
    return subprocess.run(
        command, input=data, check=True, capture_output=True, timeout=CODEC_TIMEOUT_S
    ).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument(
        "--first", type=int, default=0, help="the first seed, for several runs at once"
    )
    parser.add_argument(
        "--max-mb", type=float, default=1000.0, help="stop when the folder is as large"
    )
    arguments = parser.parse_args()
    require()
    packed.SONGS.mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.first, arguments.first + arguments.count):
        size_mb = sum(path.stat().st_size for path in packed.songs_of(packed.SONGS)) / 1e6
        if size_mb >= arguments.max_mb:
            raise SystemExit(
                f"{packed.SONGS} has {size_mb:.0f} MB, and --max-mb is {arguments.max_mb}."
            )
        path = packed.SONGS / f"{seed:04d}{packed.SUFFIX}"
        if not path.exists():
            packed.write(render(seed), path)
        print(f"rendered {path.name}", flush=True)


if __name__ == "__main__":
    main()
