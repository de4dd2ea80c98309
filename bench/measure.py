"""Measures whole processes: wall time, CPU time, peak memory, and latency of answers."""

import gc
import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Self

import psutil
import requests

from studio.inference.hardware import processor_flags

PROBE_EVERY_S = 0.05
LOOK_EVERY_S = 0.02


@dataclass(frozen=True)
class Cost:
    """Seconds of wall clock and of CPU (children included), and peak resident bytes."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def run(command: list[str], log: Path) -> Cost:
    """Run a command to its end; its own cost, as the operating system counts it."""
    began_s = time.monotonic()
    with open(log, "wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output)
        # The system's own count of a child's peak includes the process that started it.
        peak, ended = 0, 0
        while not ended:
            peak = max(peak, _peak_bytes_or_0(child.pid))
            time.sleep(LOOK_EVERY_S)
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
    wall_s = time.monotonic() - began_s
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{log.read_text()[-2000:]}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, peak)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep the collector, which stops all threads, from delaying the clients in this process."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, its ended children included."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def forget_peak(pid: int) -> int:
    """Let the peak of a process begin anew; its resident bytes now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return int(psutil.Process(pid).memory_info().rss)


def peak_bytes(pid: int) -> int:
    """Highest resident size of a process so far, or since `forget_peak`."""
    if found := _peak_bytes_or_0(pid):
        return found
    raise SystemExit("this system does not tell peak memory (/proc/PID/status)")


def _peak_bytes_or_0(pid: int) -> int:
    """The same, or 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # A process that nobody has waited for has no such line.
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _arguments(pid: int) -> bytes:
    """What a process was started with; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


class _Watcher(ABC):
    """Runs `_watch` on a thread while it is entered; that ends when `_stop` is set."""

    def __enter__(self) -> Self:
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @abstractmethod
    def _watch(self) -> None: ...


@dataclass
class Peaks(_Watcher):
    """Highest resident sizes of this process and of its largest child while it is entered."""

    own_bytes: int = 0
    child_bytes: int = 0

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.own_bytes = peak_bytes(os.getpid())

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._stop.wait(LOOK_EVERY_S):
            for child in own.children():
                # Until it starts its program, a child has the memory of this process.
                if _arguments(child.pid) not in (b"", _arguments(own.pid)):
                    self.child_bytes = max(self.child_bytes, _peak_bytes_or_0(child.pid))


@dataclass
class Latency(_Watcher):
    """Asks an address again and again on a thread; the latencies in milliseconds."""

    url: str
    milliseconds: list[float] = field(default_factory=list)

    def _watch(self) -> None:
        with requests.Session() as session:
            while not self._stop.wait(PROBE_EVERY_S):
                began_s = time.monotonic()
                session.get(self.url, timeout=30).raise_for_status()
                self.milliseconds.append((time.monotonic() - began_s) * 1000)

    @property
    def p50_ms(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def p99_ms(self) -> float:
        return statistics.quantiles(self.milliseconds, n=100)[98]


# The widest unit for matrix products decides more about these figures than the processor's name.
_UNITS = ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2")


def processor() -> str:
    """The processor's name, and the widest of its units that counts here."""
    info = Path("/proc/cpuinfo")
    facts: dict[str, str] = {}
    for line in info.read_text().splitlines() if info.exists() else []:
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    name = re.sub(
        r"\((R|TM)\)| Processor$",
        "",
        facts.get("model name", platform.processor() or platform.machine()),
    )
    unit = next(filter(processor_flags().__contains__, _UNITS), "")
    return f"{name} with {unit}" if unit else name


def machine(packages: list[str]) -> str:
    """One line about the machine and the versions that count."""
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return (
        f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, Python "
        f"{platform.python_version()}, {versions}"
    )
