"""Peak memory of a mix does not grow with the length of its song."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT
from tests.support.sounds import write_song

SHORT_S, LONG_S = 180, 1200
# How much sound waits between threads of ffmpeg depends on how busy the machine is. Twenty
# minutes of it take fifty times as much.
WAITING_KIB = 8 * 1024

# Runs in a separate process, so that the peaks are those of one mix and its children.
MIX = """
import json, sys
from pathlib import Path
from bench.measure import Peaks
from studio import audio

source, seconds = sys.argv[1], float(sys.argv[2])
song = audio.Song(
    Path(source), {"vocals": Path(source)}, seconds, 44_100, 2, round(44_100 * seconds)
)
mix = audio.Mix({"vocals": 0.2}, semitones=-2.0, tempo=0.9, is_peak_safe=True)
with Peaks() as peaks:
    size = sum(map(len, audio.mixed_file(mix, song, "mp3")))
peak_kib = [peaks.own_bytes // 1024, peaks.child_bytes // 1024]
print(json.dumps({"bytes": size, "peak_kib": peak_kib}))
"""


def mixed(folder: Path, seconds: int) -> tuple[int, int]:
    """Peak memory of the process and of its largest child, in KiB."""
    source = write_song(folder / f"{seconds}.wav", seconds)
    command = [sys.executable, "-c", MIX, str(source), str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bytes"] == pytest.approx(seconds / 0.9 * 256_000 / 8, rel=0.01)
    source.unlink()
    own, children = found["peak_kib"]
    return own, children


@pytest.mark.slow
def test_memory_does_not_grow_with_the_song(tmp_path: Path) -> None:
    short, long = mixed(tmp_path, SHORT_S), mixed(tmp_path, LONG_S)
    (own_before, ffmpeg_before), (own_after, ffmpeg_after) = short, long
    message = f"{SHORT_S} s: {short}, {LONG_S} s: {long} KiB"
    assert own_after < 1.1 * own_before, message
    assert ffmpeg_after < 1.1 * ffmpeg_before + WAITING_KIB, message
