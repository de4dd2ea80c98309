"""Peak memory of a transcription does not grow with the length of the recording."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from studio.transcription.engine import RATE_HZ
from tests.support.server import ROOT
from tests.support.speech import MINI, spoken

# The lengths of the shorter recording, and of the longer one with lyrics, in minutes.
SHORT, LONG_LYRICS = 4, 24

# Runs in a process of its own, so that the peak is that of one job and nothing else.
JOB = """
import json, os, sys
from pathlib import Path
from bench.measure import peak_bytes
from studio.family import JobContext
from studio.sources import Source
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.options import TranscriptionOptions
from studio.transcription.transcribe import transcribe

source, weights, work, duration_s, options = sys.argv[1:]
options = TranscriptionOptions(language="en", beam_size=1, temperature=0.0, **json.loads(options))
engine = FasterWhisper(Path(weights), 1)
result = transcribe(
    engine, Source(Path(source), float(duration_s)), JobContext(options, Path(work))
)
peak_kib = peak_bytes(os.getpid()) // 1024
print(json.dumps({**result.to_dict(), "peak_kib": peak_kib}))
"""


def write_speech(path: Path, minutes: int) -> Path:
    """A sentence every half minute, each a window of its own; written piece by piece."""
    sound = spoken().part(0, 1)
    minute = np.zeros(60 * RATE_HZ, np.float32)
    for place in (0, 30):
        minute[place * RATE_HZ :][: len(sound)] = sound
    with soundfile.SoundFile(str(path), "w", RATE_HZ, 1, "PCM_16") as file:
        for _ in range(minutes):
            file.write(minute)
    return path


def peak_kib(folder: Path, minutes: int, **options: object) -> int:
    source = write_speech(folder / f"{minutes}.wav", minutes)
    work = folder / f"work-{minutes}"
    work.mkdir()
    command = [sys.executable, "-c", JOB, str(source), str(MINI / "ctranslate2"), str(work)]
    command += [str(minutes * 60), json.dumps(options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    source.unlink()
    found = json.loads(done.stdout)
    words = 2 * len(spoken().sentences[0].split())
    assert found.get("placed", found["words"]) == pytest.approx(words * minutes, rel=0.2)
    return int(found["peak_kib"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "long"), [({}, 40), ({"batch_size": 4}, 20), ({"vad": False}, 20)]
)
def test_memory_does_not_grow_with_the_recording(
    tmp_path: Path, options: dict[str, object], long: int
) -> None:
    """Between the two lengths, it grows by less than the samples that lie between them take."""
    short_kib, long_kib = (peak_kib(tmp_path, minutes, **options) for minutes in (SHORT, long))
    more_kib = (long - SHORT) * 60 * RATE_HZ * 4 // 1024
    sizes = f"{SHORT} minutes: {short_kib:,} KiB, {long} minutes: {long_kib:,} KiB"
    assert long_kib - short_kib < more_kib, sizes


@pytest.mark.slow
def test_memory_of_known_lyrics_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    line = f"{spoken().sentences[0]}\n"
    short_kib, long_kib = (
        peak_kib(tmp_path, minutes, lyrics=line * 2 * minutes, source="vocals")
        for minutes in (SHORT, LONG_LYRICS)
    )
    sizes = f"{SHORT} minutes: {short_kib:,} KiB, {LONG_LYRICS}: {long_kib:,} KiB"
    assert long_kib < 1.1 * short_kib, sizes
