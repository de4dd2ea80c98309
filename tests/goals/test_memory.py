"""Peak memory of a job does not grow with the length of its song."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from tests.support.server import RATE_HZ, ROOT, noise

# Runs in a process of its own, so that the peak is that of one job and nothing else.
JOB = """
import json, resource, sys
from pathlib import Path
from studio.separation.catalogue import Catalogue
from studio.separation.engines import EngineSettings
from studio.separation.options import SeparationOptions
from studio.separation.separate import separate
from studio.separation.load import load

source, weights, work, seconds = sys.argv[1:]
catalogue = Catalogue(Path("pretrained/demucs-mini"), Path(weights) / "demucs")
bag = load(catalogue, "swift", EngineSettings("torch", "f32", 0, Path("unused")))
options = SeparationOptions(stems=["vocals"])
result = separate(
    bag, Path(source), float(seconds), options, Path(work), lambda *_: None, lambda _: None
)
peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"samples": result["samples"], "peak_kib": peak_kib}))
"""


def write_song(path: Path, minutes: int) -> Path:
    frames = (noise(10.0).T * 32767).astype(np.int16)
    with soundfile.SoundFile(str(path), "w", RATE_HZ, 2, "PCM_16") as file:
        for _ in range(minutes * 6):
            file.write(frames)
    return path


def peak_kib(folder: Path, weights: Path, minutes: int) -> int:
    source = write_song(folder / f"{minutes}.wav", minutes)
    work = folder / f"work-{minutes}"
    work.mkdir()
    command = [sys.executable, "-c", JOB, str(source), str(weights), str(work), str(60 * minutes)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["samples"] == minutes * 60 * RATE_HZ
    assert soundfile.info(str(work / "vocals.wav")).frames == found["samples"]
    source.unlink()
    (work / "vocals.wav").unlink()
    return int(found["peak_kib"])


def test_a_song_of_24_minutes_takes_the_memory_of_one_of_3(tmp_path: Path, weights: Path) -> None:
    short = peak_kib(tmp_path, weights, 3)
    long = peak_kib(tmp_path, weights, 24)
    assert long < 1.1 * short, f"3 minutes: {short:,} KiB, 24 minutes: {long:,} KiB"
