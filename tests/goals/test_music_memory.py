"""Peak memory of music does not grow with its length."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.music import make_music_model
from tests.support.server import ROOT

# The first is one window of the model; the second is made of several.
SHORT_S, LONG_S = 30, 300
# Runs in a process of its own, so that the peak is that of one job and nothing else.
JOB = """
import json, os, sys
from pathlib import Path
from bench.measure import peak_bytes
from studio.family import JobContext
from studio.generation.catalogue import MusicGenCatalogue
from studio.generation.generate import Prompt, generate
from studio.generation.load import load
from studio.inference.engine_settings import EngineSettings
from studio.generation.options import GenerationOptions

folder, work, duration = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
settings = EngineSettings("openvino", "f32", 1, Path(sys.argv[4]))
model = load(MusicGenCatalogue(folder / "none", folder / "musicgen"), "tiny", settings)
options = GenerationOptions(duration=duration, seed=1, guidance_scale=1.0, format="mp3")
result = generate(model, Prompt("slow piano"), JobContext(options, work))
peak_kib = peak_bytes(os.getpid()) // 1024
print(json.dumps({**result.to_dict(), "peak_kib": peak_kib}))
"""


def peak_kib(folder: Path, graphs: Path, duration: int) -> int:
    work = folder / f"work-{duration}"
    work.mkdir()
    command = [sys.executable, "-c", JOB, str(folder), str(work), str(duration), str(graphs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["duration_s"] == duration
    return int(found["peak_kib"])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_music(tmp_path: Path, graphs: Path) -> None:
    make_music_model(tmp_path / "musicgen" / "tiny")
    short, long = (peak_kib(tmp_path, graphs, seconds) for seconds in (SHORT_S, LONG_S))
    more_kib = (LONG_S - SHORT_S) * 32_000 * 4 // 1024
    assert long - short < more_kib, f"{SHORT_S} s: {short:,} KiB, {LONG_S} s: {long:,} KiB"
