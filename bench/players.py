"""`python -m bench.players`: time and memory of mixes, stems in one file, and karaoke videos.

Each is made in a process of its own, from a song of noise and a stem. CPU time and the peaks of
memory are those of that process and of ffmpeg. With `--write` the tables replace those in
docs/benchmarks.md.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import measure, report
from bench.material import ROOT
from studio import audio
from studio.audio.lyrics import LyricLine, LyricWord
from studio.audio.sound import BLOCK_SAMPLES
from studio.karaoke.fonts import Fonts
from studio.karaoke.screen import Screen
from studio.karaoke.video import place_fonts

RATE_HZ = 44_100
SHORT_S, LONG_S = 180, 3600
SMALL, USUAL = (320, 180), (1280, 720)
# A line of words of half a second every five seconds.
LINE_S, WORD_S, WORDS = 5.0, 0.5, ("One", " line", " of", " a", " song", " to", " sing")
MB = 1e6


def write_song(path: Path, seconds: float) -> Path:
    """A WAV of noise, float32 stereo."""
    import numpy as np

    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (2, BLOCK_SAMPLES)).astype(np.float32)
    samples = round(seconds * RATE_HZ)
    with audio.SoundWriter(path, "wav", RATE_HZ, 2, samples) as writer:
        for start in range(0, samples, BLOCK_SAMPLES):
            writer.write(noise[:, : samples - start])
    return path


def song_of(source: Path, seconds: float) -> audio.Song:
    samples = round(seconds * RATE_HZ)
    return audio.Song(source, {"vocals": source}, seconds, RATE_HZ, 2, samples)


def make_mix(source: Path, seconds: float) -> None:
    mix = audio.Mix({"vocals": 0.2}, semitones=-2.0, tempo=0.9)
    for _ in audio.mixed_file(mix, song_of(source, seconds), "mp3"):
        pass


def make_stems(source: Path, _seconds: float) -> None:
    target = source.with_suffix(".stems.flac")
    audio.join_tracks([source] * 4, target, "flac", 1.0, lambda: None)
    target.unlink()


def make_video(source: Path, seconds: float, size: tuple[int, int] = USUAL) -> None:
    lines = [_line(LINE_S * number) for number in range(1, int(seconds / LINE_S))]
    fonts = Fonts.for_text("".join(WORDS), None, "en")
    with TemporaryDirectory() as name:
        folder = Path(name)
        script = Screen(*size, fonts).script(lines, ["A song"])
        (folder / audio.SCRIPT).write_text(script, "utf-8")
        place_fonts(fonts, folder)
        target = folder / "video.mp4"
        frame = audio.Frame(*size, "101828")
        mix = audio.Mix({"vocals": 0.0})
        audio.write_video(
            target, folder, frame, mix, song_of(source, seconds), on_wait=lambda: None
        )
        assert target.stat().st_size < audio.max_video_bytes(frame, seconds)


def make_small_video(source: Path, seconds: float) -> None:
    make_video(source, seconds, SMALL)


def _line(start_s: float) -> LyricLine:
    words = (
        LyricWord(text, start_s + WORD_S * number, start_s + WORD_S * (number + 1))
        for number, text in enumerate(WORDS)
    )
    return LyricLine(tuple(words), True)


MAKERS = {
    "mix in another key and tempo (MP3)": make_mix,
    "four stems in one file (FLAC)": make_stems,
    "video, 320x180": make_small_video,
    "video, 1280x720": make_video,
}


# Its memory depends on the length as that of the small one does.
SHORT_ONLY = ("video, 1280x720",)


def memory(peaks: dict[str, Any]) -> float:
    return float(peaks["own_bytes"] + peaks["ffmpeg_bytes"])


def measured(name: str, seconds: float) -> dict[str, Any]:
    """Make something of a song of this length in a process: its times and peaks of memory."""
    with TemporaryDirectory() as folder:
        source = write_song(Path(folder) / "song.wav", seconds)
        command = [sys.executable, "-m", "bench.players", "--maker", name]
        command += ["--source", str(source), "--seconds", str(seconds)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result


def measure_maker(name: str, source: Path, seconds: float) -> dict[str, float]:
    import resource

    with measure.Peaks() as peaks:
        began_s = time.monotonic()
        MAKERS[name](source, seconds)
        wall_s = time.monotonic() - began_s
    users = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "wall_s": wall_s,
        "cpu_s": sum(user.ru_utime + user.ru_stime for user in users),
        "own_bytes": peaks.own_bytes,
        "ffmpeg_bytes": peaks.child_bytes,
    }


def table(long_s: float, names: Sequence[str]) -> list[str]:
    lines = [
        f"Songs of {SHORT_S / 60:g} and {long_s / 60:g} minutes. Time is that of the short song, "
        "as a share of its length.",
        "",
        "| | wall time | CPU time | memory, short | memory, long | ratio (goal: at most 1.1) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in names:
        short = measured(name, SHORT_S)
        row = f"| {name} | {short['wall_s'] / SHORT_S:.3f} | {short['cpu_s'] / SHORT_S:.3f} "
        row += f"| {memory(short) / MB:,.0f} MB "
        if name in SHORT_ONLY:
            lines.append(f"{row}| | |")
            continue
        long = measured(name, long_s)
        row += f"| {memory(long) / MB:,.0f} MB | {memory(long) / memory(short):.3f} |"
        lines.append(row)
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write into docs/benchmarks.md")
    parser.add_argument("--long-minutes", type=float, default=LONG_S / 60)
    parser.add_argument("--maker", choices=list(MAKERS), help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.maker:
        print(json.dumps(measure_maker(given.maker, given.source, given.seconds)))
        return
    machine = f"Machine: {measure.machine(['numpy', 'soundfile', 'imageio-ffmpeg'])}."
    lines = [machine, "", *table(60 * given.long_minutes, list(MAKERS))]
    print("\n".join(lines))
    if given.write:
        report.write("players", "Mixes, stems and videos", lines)


if __name__ == "__main__":
    main()
