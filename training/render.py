"""Renders songs to disk: four stems each, as int16 arrays that training maps into memory.

Run it as `python -m training.render --count 200`, and with `--held-out` for the other split.
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from studio.audio.replacing import replacing

from .mix import RATE_HZ, add_room, mix
from .songs import Part, Song, make_song
from .voices import sing

SOURCES = ("drums", "bass", "other", "vocals")
DATA = Path(__file__).parent / "data"
SOUND_FONT = Path(os.environ.get("SOUND_FONT", "/usr/share/sounds/sf2/FluidR3_GM.sf2"))

_TICKS_PER_S = 960

Floats = npt.NDArray[np.float32]


def song_folder(held_out: bool) -> Path:
    """Where the songs of a split are stored."""
    return DATA / ("held_out" if held_out else "train")


def midi_bytes(parts: Sequence[Part]) -> bytes:
    """A one-track standard MIDI file of the parts, in ticks of 1/960 s (120 bpm, 480 a beat)."""
    events: list[tuple[int, int, bytes]] = []
    for part in parts:
        channel = part.channel
        events.append((0, 0, bytes([0xC0 | channel, part.program])))
        events.append((0, 0, bytes([0xB0 | channel, 10, part.pan])))
        for note in part.notes:
            start = round(note.start_s * _TICKS_PER_S)
            end = max(start + 1, round((note.start_s + note.duration_s) * _TICKS_PER_S))
            events.append((start, 2, bytes([0x90 | channel, note.pitch, note.velocity])))
            events.append((end, 1, bytes([0x80 | channel, note.pitch, 0])))
    track = bytearray()
    now = 0
    for tick, _, message in sorted(events):
        track += _variable_length(tick - now) + message
        now = tick
    track += b"\x00\xff\x2f\x00"
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, _TICKS_PER_S // 2)
    return header + b"MTrk" + struct.pack(">I", len(track)) + bytes(track)


def _variable_length(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def play(parts: Sequence[Part], duration_s: float, room: float) -> Floats:
    """Play the parts with fluidsynth.

    `room` is the size of its reverb, 0 for none. Returns float32 of shape (2, samples).
    """
    samples = round(duration_s * RATE_HZ)
    if not any(part.notes for part in parts):
        return np.zeros((2, samples), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder, "parts.mid"), Path(folder, "parts.wav")
        midi.write_bytes(midi_bytes(parts))
        command = [
            "fluidsynth", "-q", "-n", "-i", "-r", str(RATE_HZ), "-g", "0.5", "-F", str(wav),
            "-T", "wav", "-O", "float", "-o", "synth.chorus.active=0",
            "-o", "synth.dynamic-sample-loading=1",
            "-o", f"synth.reverb.active={int(room > 0)}", "-o", f"synth.reverb.room-size={room}",
            str(SOUND_FONT), str(midi),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        audio = soundfile.read(wav, dtype="float32", always_2d=True)[0].T[:, :samples]
    padded: Floats = np.pad(audio, ((0, 0), (0, samples - audio.shape[1])))
    return padded


def render_song(song: Song) -> npt.NDArray[np.int16]:
    """Render the four stems of a song.

    Returns int16 of shape (4, 2, samples) at RATE_HZ, in the order of SOURCES; their sum, the
    mixture, does not clip.
    """
    rng = np.random.default_rng([song.seed, int(song.held_out), 1])
    rooms = rng.choice([0.0, 0.0, 0.2, 0.4], 2)
    stems = [
        play([song.drums], song.duration_s, float(rooms[0])),
        play([song.bass], song.duration_s, 0.0),
        play(song.other, song.duration_s, float(rooms[1])),
        add_room(sing(song, RATE_HZ), rng),
    ]
    return np.round(mix(stems, rng) * 32767).astype(np.int16)


def save_whole(path: Path, samples: npt.NDArray[np.int16]) -> None:
    """Save an array that appears at once: a training that runs may look for it at any time."""
    with replacing(path) as new, new.open("wb") as file:
        np.save(file, samples)


def render_to_disk(seed: int, folder: Path, make: Callable[[int], npt.NDArray[np.int16]]) -> Path:
    """Write the stems that `make` returns for a seed, unless they are on disk already."""
    path = folder / f"{seed:04d}.npy"
    if not path.exists():
        save_whole(path, make(seed))
    return path


def render_seed(seed: int, held_out: bool) -> npt.NDArray[np.int16]:
    """The stems of the song of a seed, as `render_song` returns them."""
    return render_song(make_song(seed, held_out))


def render_songs(
    count: int, held_out: bool, workers: int = 2, report: Callable[[str], None] = print
) -> None:
    """Render songs 0 to `count` - 1 of a split; songs that are on disk already are kept."""
    make = partial(render_seed, held_out=held_out)
    work = partial(render_to_disk, folder=song_folder(held_out), make=make)
    with ProcessPoolExecutor(workers) as pool:
        for done in as_completed([pool.submit(work, seed) for seed in range(count)]):
            report(f"rendered {done.result().name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    render_songs(arguments.count, arguments.held_out, arguments.workers)


if __name__ == "__main__":
    main()
