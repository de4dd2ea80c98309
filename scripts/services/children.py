"""Starts child processes, waits until they are ready, and ends them."""

import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

LOG_TAIL = 2000
# Below the ports that Linux gives to outgoing connections, so that none of these is taken before
# its program starts.
FIRST_PORT, PORTS = 20_000, 12_000
# Processes that follow each other begin far apart.
_places = itertools.count(os.getpid() * 7417)


class Process(Protocol):
    """What `kill` needs of `subprocess.Popen`."""

    pid: int

    def wait(self, timeout: float | None = None) -> object: ...


class ServiceError(Exception):
    """Why a program cannot be started, as a sentence."""


def free_port() -> int:
    """A port of loopback on which nothing listens, and another one at each call."""
    for place in itertools.islice(_places, PORTS):
        port = FIRST_PORT + place % PORTS
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServiceError("No port of loopback is free.")


def spawn(
    command: list[str],
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a program that appends to a log. Ctrl-C in the terminal does not reach it."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            user=user,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def wait_until_ready(
    name: str,
    process: "subprocess.Popen[bytes]",
    log: Path,
    is_ready: Callable[[], bool],
    within_s: float = 120.0,
) -> None:
    """Wait for a program that was started. Raises ServiceError."""
    ends_s = time.monotonic() + within_s
    while not is_ready():
        if process.poll() is not None or time.monotonic() > ends_s:
            end = log.read_text("utf-8", "replace")[-LOG_TAIL:]
            raise ServiceError(f"{name} did not start. The end of its log:\n{end}")
        time.sleep(0.05)


def is_open(port: int) -> bool:
    """Whether something listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def kill(process: Process) -> None:
    """End a program and its children as a power cut does."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(30)


def stop(process: "subprocess.Popen[bytes]", within_s: float = 60.0) -> int:
    """End a program as a service manager does; its exit code."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(within_s)
    except subprocess.TimeoutExpired:
        kill(process)
        return process.returncode
