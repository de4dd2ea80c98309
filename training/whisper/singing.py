"""The sung words of the rendered songs: 16 kHz mono vocals and backing, and when each word starts.

python -m training.whisper.singing --count 300
python -m training.whisper.singing --count 16 --held-out
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from ..render import save_whole, song_folder
from ..songs import make_song
from ..voices import WORDS
from .speech import FOLDER, split_name
from .words import WORD_IDS

_MAX_LINE_WORDS = 8
_MAX_LINE_S = 8.0
_BREAK_S = 0.5
_SHORTEST_NOTE_S = 0.02


@dataclass
class SungSong:
    """`vocals` and `backing` int16 at 16 kHz; each line has rows (word id, start_s, end_s)."""

    vocals: npt.NDArray[np.int16]
    backing: npt.NDArray[np.int16]
    lines: list[npt.NDArray[np.float32]]


def sung_words(seed: int, held_out: bool) -> npt.NDArray[np.float32]:
    """The words of a song as rows (word id, start_s, end_s)."""
    song = make_song(seed, held_out)
    rng = np.random.default_rng([seed, int(held_out), 7])
    drawn = [str(word) for word in rng.choice(WORDS.split(), 12, replace=False)]
    rows = [
        (WORD_IDS[drawn[index % 12]], note.start_s, note.start_s + note.duration_s)
        for note, index in zip(song.melody.notes, song.melody.words, strict=True)
        if note.duration_s > _SHORTEST_NOTE_S and note.start_s < song.duration_s - _SHORTEST_NOTE_S
    ]
    return np.array(rows, np.float32).reshape(-1, 3)


def to_lines(words: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Break sung words into lines: at rests, and before a line grows too long."""
    lines: list[list[npt.NDArray[np.float32]]] = []
    for row in words:
        line = lines[-1] if lines else None
        if (
            line is None
            or row[1] - line[-1][2] > _BREAK_S
            or len(line) >= _MAX_LINE_WORDS
            or row[2] - line[0][1] > _MAX_LINE_S
        ):
            lines.append([row])
        else:
            line.append(row)
    return [np.stack(line) for line in lines]


def prepare(count: int, held_out: bool) -> None:
    """Convert the rendered songs 0 to `count` - 1; those on disk already are kept."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        source = song_folder(held_out) / f"{seed:04d}.npy"
        target = FOLDER / f"songs-{split_name(held_out)}-{seed:04d}.npy"
        if target.exists() or not source.exists():
            continue
        stems = np.load(source, mmap_mode="r")
        mono = np.stack([
            np.asarray(stems[3], np.float32).mean(0),
            np.asarray(stems[:3], np.float32).sum(0).mean(0),
        ])  # fmt: skip
        low = resample_poly(mono, 160, 441, axis=1)
        save_whole(target, np.clip(np.round(low), -32768, 32767).astype(np.int16))
        print(f"wrote {target.name}", flush=True)


def load_songs(held_out: bool) -> list[SungSong]:
    """All converted songs of a split."""
    songs = []
    for path in sorted(FOLDER.glob(f"songs-{split_name(held_out)}-*.npy")):
        audio = np.load(path, mmap_mode="r")
        seed = int(path.stem.rsplit("-", 1)[1])
        songs.append(SungSong(audio[0], audio[1], to_lines(sung_words(seed, held_out))))
    return songs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--held-out", action="store_true")
    arguments = parser.parse_args()
    prepare(arguments.count, arguments.held_out)


if __name__ == "__main__":
    main()
