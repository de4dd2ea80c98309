"""Runs the workers of `bench.gpu`, each in a process of its own, until the time is over."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOTAL_S = 480.0
# Where faster-whisper as a library finds cuBLAS; this server must find it by itself.
THEIR_LIBRARIES = "BENCH_THEIR_LIBRARIES"

Result = dict[str, Any]


class PartFailed(Exception):
    """A part of the measurement did not come to its end; the text says why."""


class Bench:
    """Runs workers in `folder`, and keeps what they found in `results`, by worker."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        rounds: int,
        music_s: float,
        began_s: float,
    ) -> None:
        """The time limit counts from `began_s`, which is a time of `time.monotonic`."""
        self.folder = folder
        self.rounds = rounds
        self.music_s = music_s
        self.results: dict[str, list[Result]] = {}
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._ends_s = began_s + TOTAL_S
        self._numbers = count()

    def call(self, worker: str, limit_s: float, **given: Any) -> Result:
        """What a worker found; `wall_s` is what its whole process took."""
        limit_s = min(limit_s, self._ends_s - time.monotonic())
        if limit_s <= 0:
            raise PartFailed("the time was over")
        log = self.folder / f"{worker}-{next(self._numbers)}.log"
        command = [sys.executable, "-m", "bench.gpu", "--folder", str(self.folder)]
        command += ["--worker", worker, json.dumps(given)]
        began_s = time.monotonic()
        with open(log, "wb") as output:
            try:
                done = subprocess.run(
                    command,
                    stdout=output,
                    stderr=output,
                    cwd=ROOT,
                    env=self._environment_of(worker),
                    timeout=limit_s,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise PartFailed(f"{worker} took longer than {limit_s:.0f} s") from None
        wall_s = time.monotonic() - began_s
        lines = log.read_text("utf-8", "replace").strip().splitlines()
        if done.returncode:
            print("\n".join(lines[-25:]), flush=True)
            raise PartFailed(f"{worker}: {lines[-1] if lines else done.returncode}")
        found: Result = {**json.loads(lines[-1]), "wall_s": wall_s}
        self.results.setdefault(worker, []).append({"given": given, **found})
        print(f"{worker} {given}: {json.dumps(found)}", flush=True)
        return found

    def at_once(self, limit_s: float, calls: Sequence[tuple[str, dict[str, Any]]]) -> list[Result]:
        """What several workers found that run at the same time: none of them is timed."""
        with ThreadPoolExecutor(len(calls)) as threads:
            results = [
                threads.submit(self.call, worker, limit_s, **given) for worker, given in calls
            ]
        return [result.result() for result in results]

    def _environment_of(self, worker: str) -> dict[str, str]:
        environment = dict(self._environment)
        if worker == "transcription_theirs" and THEIR_LIBRARIES in environment:
            paths = [environment[THEIR_LIBRARIES], environment.get("LD_LIBRARY_PATH", "")]
            environment["LD_LIBRARY_PATH"] = ":".join(filter(None, paths))
        return environment
