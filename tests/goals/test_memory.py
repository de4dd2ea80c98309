"""Peak memory of a separation is bounded, and does not grow with the length of the song."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from bench.material import full_size_weights
from studio.inference.hardware import native_bf16
from tests.support.server import ROOT
from tests.support.sounds import RATE_HZ, write_song

SHORT_S, LONG_S = 180, 1440
# 844,000 were measured with bf16.
MAX_USUAL_KIB = {"bf16": 1_000_000, "f32": 1_250_000}

# Runs in a process of its own, so that the peak is that of one job and nothing else.
JOB = """
import json, os, sys
from pathlib import Path
from bench.measure import peak_bytes
from studio.separation.catalogue import DemucsCatalogue
from studio.inference.engine_settings import EngineSettings
from studio.separation.options import SeparationOptions
from studio.separation.separate import separate
from studio.separation.load import load
from studio.family import JobContext
from studio.sources import Source

source, weights, work, seconds, variant, engine = sys.argv[1:]
catalogue = DemucsCatalogue(Path("pretrained/demucs-mini"), Path(weights) / "demucs")
bag = load(catalogue, variant, EngineSettings(engine, "auto", 2, Path(weights) / ".graphs"))
options = SeparationOptions(stems=["vocals"])
result = separate(bag, Source(Path(source), float(seconds)), JobContext(options, Path(work)))
peak_kib = peak_bytes(os.getpid()) // 1024
print(json.dumps({"samples": result.samples, "peak_kib": peak_kib}))
"""


def peak_kib(
    folder: Path, weights: Path, seconds: int, variant: str = "swift", engine: str = "torch"
) -> int:
    source = write_song(folder / f"{seconds}.wav", seconds)
    work = folder / f"work-{seconds}"
    work.mkdir()
    command = [sys.executable, "-c", JOB, str(source), str(weights), str(work), str(seconds)]
    command += [variant, engine]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["samples"] == seconds * RATE_HZ
    assert soundfile.info(str(work / "vocals.wav")).frames == found["samples"]
    source.unlink()
    (work / "vocals.wav").unlink()
    return int(found["peak_kib"])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_song(tmp_path: Path, weights: Path) -> None:
    """Between the two lengths, it grows by less than half of the samples that lie between them."""
    short, long = (peak_kib(tmp_path, weights, seconds) for seconds in (SHORT_S, LONG_S))
    more_kib = (LONG_S - SHORT_S) * RATE_HZ * 2 * 4 // 1024
    assert long - short < more_kib / 2, f"{SHORT_S} s: {short:,} KiB, {LONG_S} s: {long:,} KiB"


@pytest.mark.slow
def test_memory_of_the_usual_model_is_bounded(tmp_path: Path) -> None:
    """All that the process holds, on two cores: Python, OpenVINO, weights and two windows."""
    weights = full_size_weights(tmp_path / "weights")
    peak = peak_kib(tmp_path, weights, 30, "htdemucs", "openvino")
    assert peak < MAX_USUAL_KIB["bf16" if native_bf16() else "f32"], f"{peak:,} KiB"
