"""Whole recordings whose container tells another length than their sound."""

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from studio import audio
from tests.support.hostile_files import find_box, ogg_page, ogg_pages
from tests.support.sounds import RATE_HZ, convert, noise, tone, write_wav

LATE_S = 2.9
SOUND_S = 2.0
VIDEO = ("-f", "lavfi", "-i", "testsrc=duration={}:size=32x32:rate=5", "-c:v", "mpeg4")
FRAGMENTS = ("-movflags", "frag_keyframe+empty_moov+default_base_moof", "-frag_duration", "500000")
Page = tuple[int, int, int, int, bytes, bytes]


def encode(folder: Path, name: str, *options: str, delay_s: float = 0.0, ending: str = "") -> Path:
    """A tone of 1 kHz that fills SOUND_S, from `delay_s` on."""
    wav = folder / "tone.wav"
    if not wav.exists():
        write_wav(wav, np.stack([tone(SOUND_S)] * 2))
    command = [audio.ffmpeg_path(), "-nostdin", "-v", "error", "-y", "-itsoffset", str(delay_s)]
    command += ["-i", str(wav), *options, *(("-f", ending) if ending else ())]
    subprocess.run([*command, str(folder / name)], check=True)
    return folder / name


def with_pages(path: Path, change: Callable[[list[Page]], list[Page]]) -> Path:
    """The same Ogg file with changed pages."""
    pages = change(list(ogg_pages(path.read_bytes())))
    path.write_bytes(b"".join(ogg_page(*page) for page in pages))
    return path


def ogg(folder: Path, codec: str, delay_s: float = 0.0) -> Path:
    """An Ogg file of pages of a quarter of a second, which may begin late."""
    options = ("-c:a", codec, "-page_duration", "250000")
    return encode(folder, f"{codec}.ogg", *options, delay_s=delay_s)


def moved(pages: list[Page], by: int, first: int = 0) -> list[Page]:
    """Pages of sound from a place on, later by some samples."""
    headers = sum(page[1] == 0 for page in pages)
    return [
        (page[0], page[1] + (by if place >= headers + first else 0), *page[2:])
        for place, page in enumerate(pages)
    ]


def video_longer(folder: Path) -> Path:
    return encode(folder, "video.m4a", *(part.format(9) for part in VIDEO), ending="mp4")


def chapters_longer(folder: Path) -> Path:
    """A track of texts, as podcasts have one for their chapters."""
    texts = folder / "texts.srt"
    texts.write_text("1\n00:00:00,000 --> 00:00:09,000\nThe end\n")
    return encode(folder, "chapters.m4a", "-i", str(texts), "-c:s", "mov_text", ending="mp4")


def longer_second_track(folder: Path) -> Path:
    other = write_wav(folder / "other.wav", noise(9.0))
    return encode(folder, "tracks.m4a", "-i", str(other), "-map", "0", "-map", "1", ending="mp4")


def movie_says_more(folder: Path) -> Path:
    """The header of an MP4 counts more than its tracks hold."""
    path = encode(folder, "movie.m4a")
    content = bytearray(path.read_bytes())
    start, _ = find_box(bytes(content), b"moov", b"mvhd")
    per_s = struct.unpack_from(">I", content, start + 20)[0]
    struct.pack_into(">I", content, start + 24, 9 * per_s)
    path.write_bytes(content)
    return path


def joined(pages: list[Page]) -> list[Page]:
    headers = sum(page[1] == 0 for page in pages)
    return pages[:headers] + pages[headers + 4 :]


def large_preskip(pages: list[Page]) -> list[Page]:
    body = pages[0][5]
    return [(*pages[0][:5], body[:10] + struct.pack("<H", 48_000) + body[12:]), *pages[1:]]


def cut_flac(folder: Path) -> Path:
    """Frames of a FLAC from its middle on; they keep their numbers."""
    whole = convert(write_wav(folder / "long.wav", noise(4.0)), folder / "long.flac")
    return convert(whole, folder / "cut.flac", "-ss", "2", "-c", "copy")


def vbr_mp3_in_wav(folder: Path) -> Path:
    """Bytes a second are no measure of its length."""
    path = encode(folder, "mp3.wav", "-c:a", "libmp3lame", "-q:a", "9")
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, 28, 1000)
    path.write_bytes(content)
    return path


# What makes a file, its length in seconds, and how far that may be off (an encoder's frames).
WHOLE: dict[str, tuple[Callable[[Path], Path], float, float]] = {
    "a longer video": (video_longer, SOUND_S, 0.05),
    "longer chapters": (chapters_longer, SOUND_S, 0.05),
    "a longer second track": (longer_second_track, SOUND_S, 0.05),
    "a movie that says more": (movie_says_more, SOUND_S, 0.05),
    "a pre-skip of 1 s": (
        lambda folder: with_pages(ogg(folder, "libopus"), large_preskip),
        SOUND_S - 1.0 + 0.0065,
        0.01,
    ),
    "Opus of the tenth hour": (
        lambda folder: with_pages(ogg(folder, "libopus"), lambda p: moved(p, 36_000 * 48_000)),
        SOUND_S,
        0.01,
    ),
    "Vorbis of the tenth hour": (
        lambda folder: with_pages(ogg(folder, "libvorbis"), lambda p: moved(p, 36_000 * RATE_HZ)),
        SOUND_S,
        0.01,
    ),
    "Opus joined in the middle": (
        lambda folder: with_pages(ogg(folder, "libopus"), joined), SOUND_S, 0.01,
    ),
    "Vorbis joined in the middle": (
        lambda folder: with_pages(ogg(folder, "libvorbis"), joined), SOUND_S, 0.01,
    ),
    "FLAC from the middle": (cut_flac, 4.0, 0.1),
    "Opus with a gap": (
        lambda folder: with_pages(ogg(folder, "libopus"), lambda p: moved(p, 3 * 48_000, 4)),
        SOUND_S + 3.0,
        0.01,
    ),
    "Vorbis with a gap": (
        lambda folder: with_pages(ogg(folder, "libvorbis"), lambda p: moved(p, 3 * RATE_HZ, 4)),
        SOUND_S + 3.0,
        0.01,
    ),
    "Opus that jumps by an hour": (
        lambda folder: with_pages(ogg(folder, "libopus"), lambda p: moved(p, 3600 * 48_000, 4)),
        SOUND_S,
        0.01,
    ),
    "a late M4A": (
        lambda folder: encode(folder, "late.m4a", delay_s=LATE_S), LATE_S + SOUND_S, 0.05,
    ),
    "a late M4A with a video": (
        lambda folder: encode(
            folder, "late-video.m4a", *(part.format(7) for part in VIDEO), "-map", "0", "-map", "1",
            delay_s=LATE_S, ending="mp4",
        ),
        LATE_S + SOUND_S,
        0.05,
    ),
    "late Opus": (
        lambda folder: ogg(folder, "libopus", delay_s=LATE_S), LATE_S + SOUND_S, 0.01,
    ),
    "late Vorbis": (
        lambda folder: ogg(folder, "libvorbis", delay_s=LATE_S), LATE_S + SOUND_S, 0.01,
    ),
    "MP3 in a WAV": (vbr_mp3_in_wav, SOUND_S, 0.1),
    "fragments": (lambda folder: encode(folder, "parts.m4a", *FRAGMENTS), SOUND_S, 0.05),
}  # fmt: skip
# How long they are silent at first.
LATE = {
    **{name: LATE_S for name in WHOLE if "late" in name},
    "Opus joined in the middle": 1.0,
    "Vorbis joined in the middle": 1.0,
}
