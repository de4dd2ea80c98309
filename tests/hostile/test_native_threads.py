"""Models that come and go leave no native threads behind, however often they are loaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")

LOADS, SHARED = 6, 3
# Loads and uses them, each time anew, and counts the threads of the process.
CHILD = """
import gc, json, os, sys, time
from pathlib import Path
import numpy as np
from studio.inference.process import prepare_process

prepare_process()
from studio.generation.catalogue import MusicGenCatalogue
from studio.generation.load import load as load_music
from studio.inference.engine_settings import EngineSettings
from studio.transcription.catalogue import WhisperCatalogue
from studio.transcription.engine import rehearse
from studio.transcription.load import load as load_speech

folder, pretrained, graphs = Path(sys.argv[1]), Path("pretrained"), Path(sys.argv[3])
shared = int(sys.argv[4])
music = MusicGenCatalogue(pretrained / "musicgen-mini", folder)
speech = WhisperCatalogue(pretrained / "whisper-mini", folder, folder, "faster-whisper")

def use_music():
    decoder = load_music(music, "mini", EngineSettings("openvino", "auto", 1, graphs)).decoder
    states = np.zeros((2, 3, decoder.shape.hidden), np.float32)
    run = decoder.begin(states, 1, True)
    for _ in range(3):
        run(np.zeros((1, 4, 1), np.int64))

def use_speech():
    rehearse(load_speech(speech, "mini", EngineSettings("openvino", "auto", 1, graphs)))

# How many there are; those that end may take a while, if there are more than `most`.
def threads(most):
    ends_s = time.monotonic() + 120
    while (count := len(os.listdir("/proc/self/task"))) > most and time.monotonic() < ends_s:
        time.sleep(0.05)
    return count

counts = {}
for use in (use_speech, use_music):
    counts[use.__name__] = []
    for number in range(int(sys.argv[2])):
        use()
        gc.collect()
        # The first loads start what the process shares.
        most = counts[use.__name__][shared] if number > shared else 10_000
        counts[use.__name__].append(threads(most))
print(json.dumps(counts))
"""


# Of each of the two models whose graphs keep a state.
@pytest.mark.slow
def test_threads_do_not_grow_with_the_loads_of_models(tmp_path: Path, graphs: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), str(LOADS), str(graphs), str(SHARED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts: dict[str, list[int]] = json.loads(done.stdout.splitlines()[-1])
    for use, threads in counts.items():
        assert max(threads[SHARED:]) == threads[SHARED], (use, threads)
