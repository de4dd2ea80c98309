"""The measures that other tests rely on."""

import subprocess
import time

from bench.measure import LOOK_EVERY_S, Peaks


def test_the_peak_of_a_child_is_that_of_its_program() -> None:
    ballast = b"x" * 200_000_000
    command = ["sleep", str(10 * LOOK_EVERY_S)]
    with Peaks() as peaks:
        # Before its program starts, a child shares the memory of this process.
        subprocess.run(command, check=True, preexec_fn=lambda: time.sleep(10 * LOOK_EVERY_S))
    assert peaks.own_bytes > len(ballast)
    assert 0 < peaks.child_bytes < 50_000_000
