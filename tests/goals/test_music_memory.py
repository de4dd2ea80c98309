"""Peak memory of five minutes of music is that of half a minute."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.music import make_music_model
from tests.support.server import ROOT

# Runs in a process of its own, so that the peak is that of one job and nothing else.
JOB = """
import json, resource, sys
from pathlib import Path
from studio.generation.catalogue import Catalogue
from studio.generation.generate import Order, generate
from studio.generation.load import EngineSettings, load
from studio.generation.options import GenerationOptions

folder, work, duration = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
settings = EngineSettings("openvino", "f32", 1, folder / "graphs")
model = load(Catalogue(folder / "none", folder / "musicgen"), "tiny", settings)
options = GenerationOptions(duration=duration, seed=1, guidance_scale=1.0, format="mp3")
result = generate(model, Order("slow piano", options), work, lambda *_: None, lambda _: None)
peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({**result, "peak_kib": peak_kib}))
"""


def peak_kib(folder: Path, duration: int) -> int:
    work = folder / f"work-{duration}"
    work.mkdir()
    command = [sys.executable, "-c", JOB, str(folder), str(work), str(duration)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["duration_s"] == duration
    return int(found["peak_kib"])


def test_five_minutes_take_the_memory_of_half_a_minute(tmp_path: Path) -> None:
    make_music_model(tmp_path / "musicgen" / "tiny")
    peak_kib(tmp_path, 1)  # converts the networks
    short, long = peak_kib(tmp_path, 30), peak_kib(tmp_path, 300)
    assert long < 1.1 * short, f"30 s: {short:,} KiB, 300 s: {long:,} KiB"
