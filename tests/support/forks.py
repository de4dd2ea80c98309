"""Servers that begin with their imports done: forks of one process, which `preloaded.py` runs."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

import psutil


class Fork:
    """A server, with the methods of `subprocess.Popen` that tests need."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._process = psutil.Process(pid)

    def poll(self) -> int | None:
        """None while it runs. Its exit code is not known."""
        return None if self._process.is_running() else 0

    def terminate(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self._process.terminate()

    def wait(self, timeout: float | None = None) -> None:
        """Wait for its end, but not for that of a later process or thread with the same ID.

        psutil's `wait` compares no start times, and fails if a thread has the ID by now.
        """
        ends_s = math.inf if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > ends_s:
                raise subprocess.TimeoutExpired(f"server {self.pid}", timeout or 0)
            time.sleep(0.02)


class Forks:
    """Starts servers. The process that they are forks of starts with the first one."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the working directory of all servers."""
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Fork:
        """Start gunicorn, which appends to the log."""
        order = {"arguments": arguments, "environment": environment, "log": str(log)}
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.support.preloaded"],
                    cwd=self._folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            assert self._process.stdin and self._process.stdout
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return Fork(int(self._process.stdout.readline()))

    def close(self) -> None:
        """Start no more servers. Those that run are not ended."""
        if self._process is not None:
            self._process.communicate()
            self._process = None
