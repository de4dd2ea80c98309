"""The measures that other tests rely on."""

import json
import subprocess
import sys

from tests.support.server import ROOT

# Runs in a process of its own, which has no other children.
PEAKS = """
import json, subprocess, time
from bench.measure import LOOK_EVERY_S, Peaks

ballast = b"x" * 200_000_000
with Peaks() as peaks:
    # Before its program starts, a child shares the memory of this process.
    pause = lambda: time.sleep(10 * LOOK_EVERY_S)
    child = subprocess.Popen(["sleep", "600"], preexec_fn=pause)
    ends_s = time.monotonic() + 120
    while not peaks.child_bytes and time.monotonic() < ends_s:
        time.sleep(LOOK_EVERY_S)
    child.kill()
    child.wait()
print(json.dumps([peaks.own_bytes, peaks.child_bytes]))
"""


def test_the_peak_of_a_child_is_that_of_its_program() -> None:
    command = [sys.executable, "-c", PEAKS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    own_bytes, child_bytes = json.loads(done.stdout)
    assert own_bytes > 200_000_000
    assert 0 < child_bytes < 50_000_000
