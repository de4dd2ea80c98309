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

# Runs in a process of its own, so that the peak is that of one job and nothing else.
JOB = """
import json, resource, sys
from pathlib import Path
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.options import TranscriptionOptions
from studio.transcription.transcribe import transcribe

source, weights, work, duration_s, options = sys.argv[1:]
options = TranscriptionOptions(language="en", beam_size=1, temperature=0.0, **json.loads(options))
engine = FasterWhisper(Path(weights), 1)
result = transcribe(
    engine, Path(source), float(duration_s), options, Path(work), lambda *_: None
)
peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({**result, "peak_kib": peak_kib}))
"""


def write_speech(path: Path, minutes: int) -> Path:
    """Speech with pauses, of whole minutes, written piece by piece."""
    sound = spoken().sound
    minute = np.zeros(60 * RATE_HZ, np.float32)
    for place in (1, 31):
        minute[place * RATE_HZ :][: len(sound)] += sound
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
    words = 2 * len(spoken().words)
    assert found["words"] == pytest.approx(words * minutes, rel=0.2)
    assert found["speech_s"] > 30 * minutes
    return int(found["peak_kib"])


@pytest.mark.parametrize("options", [{}, {"batch_size": 4}, {"vad": False}])
def test_half_an_hour_takes_the_memory_of_three_minutes(
    tmp_path: Path, options: dict[str, object]
) -> None:
    short = peak_kib(tmp_path, 3, **options)
    long = peak_kib(tmp_path, 30, **options)
    assert long < 1.2 * short, f"3 minutes: {short:,} KiB, 30 minutes: {long:,} KiB"
