"""Runs ffmpeg on untrusted recordings; nothing else starts it.

ffmpeg gets the open recording as its standard input, and `fd` is the only protocol it may use, so a
playlist or container cannot make it open a file or a connection. It does not get the path of the
recording or the server's environment. Only the formats and codecs of `accepted.py` are allowed. On
Linux the kernel limits its memory, CPU time and output; on all systems it is killed if it makes its
reader wait too long.
"""

import math
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import IO

from studio.audio.accepted import CODECS, FORMATS
from studio.audio.report import Report
from studio.errors import DecoderEnded, NotAudio

MAX_STREAMS = 100
# Options of every run and every input. Decoder threads would cost memory and save no time.
RUN = [
    *("-hide_banner", "-nostdin", "-nostats"),
    *("-filter_threads", "1", "-filter_complex_threads", "1"),
]
GUARDS = ["-protocol_whitelist", "fd", "-max_streams", str(MAX_STREAMS), "-threads", "1"]
SOUND_ONLY = ["-vn", "-sn", "-dn"]
INPUT = ["-fd", "0", "-i", "fd:"]
RECORDING = [
    *(*GUARDS, "-format_whitelist", FORMATS, "-codec_whitelist", CODECS),
    *(*SOUND_ONLY, *INPUT),
]
# libass would otherwise use the fonts that happen to be installed.
ENVIRONMENT = {"LC_ALL": "C", "FONTCONFIG_FILE": os.devnull}

# Anonymous memory; ffmpeg alone needs 60 MB. Address space is no measure, because files are mapped.
MEMORY_BYTES = 512 << 20
# Time to find the audio in a file, which may require reading a large one to the end. Waiting may
# take long on a busy machine.
START_CPU_S = 15.0
START_WAIT_S = 60.0
READ_BYTES_PER_S = 20e6
# For callers whose decoder was killed by the system.
RETRY_AFTER_S = 30
# Time per second of audio after that; decoding is a hundred times faster, even at 192 kHz.
CPU_PER_SOUND = 0.25
WAIT_PER_SOUND = 1.0
END_S = 10.0
# Exit statuses of ffmpeg after one or several SIGXCPU signals.
STOPPED = (255, 123, -signal.SIGXCPU)

PIPE_BYTES = 1 << 16
LOOK_EVERY_S = 0.25
LATE = "Decoding the file took too long; it seems to be damaged."


@cache
def ffmpeg_path() -> str:
    """The ffmpeg binary from the imageio-ffmpeg wheel, or the system's."""
    import imageio_ffmpeg

    path = str(imageio_ffmpeg.get_ffmpeg_exe())
    return shutil.which(path) or path


@dataclass(frozen=True)
class ChildFiles:
    """The current folder of a child, which contains files of the server for it.

    `output` is its output if that must be a file, which may take `max_bytes`. `memory_bytes` is the
    limit of its memory.
    """

    folder: Path
    output: IO[bytes] | None = None
    max_bytes: int = 0
    memory_bytes: int = MEMORY_BYTES


class Child:
    """A running ffmpeg, used as a context manager that ends it.

    `arguments` are added to those of every run. `source` is the file to read, or None if `send`
    provides the input. The output is received, unless `files` has a file for it.
    """

    def __init__(
        self, arguments: list[str], source: Path | None, files: ChildFiles | None = None
    ) -> None:
        self.report = Report()
        self._lock = Lock()
        self._is_killed = False
        self._waited_s = 0.0
        self._reading_s = 0.0
        self._max_bytes = files.max_bytes if files else 0
        self._memory_bytes = files.memory_bytes if files else MEMORY_BYTES
        if source is None:
            self._process = _start(arguments, subprocess.PIPE, files)
        else:
            with _opened(source) as file:
                self._reading_s = os.fstat(file.fileno()).st_size / READ_BYTES_PER_S
                self._process = _start(arguments, file, files)
        self._max_cpu_s = 0
        self._patience_s = 0.0
        self._selector = selectors.DefaultSelector()
        try:
            self._limit()
            self.allow(0.0)
            self._connect()
        except BaseException:
            self.close()
            raise

    def receive(self, is_live: bool = False) -> bytes:
        """The next output; empty at the end.

        Raises NotAudio if it takes too long in total, unless it is live and may wait for input.
        """
        while self._selector.get_map():
            began_s = time.monotonic()
            timeout_s = None if is_live else max(0.0, self._patience_s - self._waited_s)
            ready = self._selector.select(timeout_s)
            self._waited_s += time.monotonic() - began_s
            if not ready:
                raise NotAudio(LATE)
            for key, _ in ready:
                data = os.read(key.fd, PIPE_BYTES)
                if not data:
                    self._selector.unregister(key.fileobj)
                elif key.fileobj is self._process.stderr:
                    self.report.hear(data)
                else:
                    return data
        return b""

    def drain_messages(self, on_wait: Callable[[], None]) -> None:
        """Read its messages to the end, if its output is a file.

        `on_wait` is called several times a second, and may raise.
        """
        while self._selector.get_map():
            on_wait()
            for key, _ in self._selector.select(LOOK_EVERY_S):
                if data := os.read(key.fd, PIPE_BYTES):
                    self.report.hear(data)
                else:
                    self._selector.unregister(key.fileobj)

    def allow(self, sound_s: float) -> None:
        """Extend the time limits after `sound_s` seconds of decoded audio."""
        self._patience_s = START_WAIT_S + self._reading_s + WAIT_PER_SOUND * sound_s
        max_cpu_s = math.ceil(START_CPU_S + self._reading_s + CPU_PER_SOUND * sound_s)
        if max_cpu_s > self._max_cpu_s:
            self._max_cpu_s = max_cpu_s
            with self._lock:
                if self._process.returncode is None:
                    self._limit_cpu()

    def send(self, data: bytes, patience_s: float | None = START_WAIT_S) -> None:
        """Send input. Raises BrokenPipeError if it no longer reads, or not in time."""
        assert self._process.stdin is not None
        pipe, rest = self._process.stdin.fileno(), memoryview(data)
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_WRITE)
            while rest:
                if not selector.select(patience_s):
                    raise BrokenPipeError
                rest = rest[os.write(pipe, rest[:PIPE_BYTES]) :]

    def send_end(self) -> None:
        """Close its input."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def wait(self) -> bool:
        """Wait until it has ended, its output being read; whether it read its input to the end.

        Raises NotAudio when it was ended for its use of the processor, and DecoderEnded when it was
        ended from outside.
        """
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise NotAudio(LATE) from None
        # Its own limits end it with a different signal.
        if code == -signal.SIGKILL and not self._is_killed:
            raise DecoderEnded(
                "The operating system killed the decoder, possibly because it ran out of memory. "
                "The file may be fine: try again later.",
                retry_after_s=RETRY_AFTER_S,
            )
        if code in STOPPED:
            raise NotAudio(LATE)
        return code == 0 and not self.report.lost_sound

    def kill(self) -> None:
        """Kill it; call `close` afterwards."""
        with self._lock:
            self._is_killed = True
            self._process.kill()

    def close(self) -> None:
        """End it if it still runs, and close its pipes. No other thread may be reading."""
        self.kill()
        self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _connect(self) -> None:
        assert self._process.stderr is not None
        if self._process.stdout is not None:
            self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._selector.register(self._process.stderr, selectors.EVENT_READ)
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)

    def _limit(self) -> None:
        """Bound what it may use.

        This is done from here, an instant after its start and before it can have read much:
        `preexec_fn` is not safe in a process with threads, and a wrapper program would cost a
        second start.
        """
        if sys.platform == "linux":
            import resource

            for kind, max_value in (
                (resource.RLIMIT_DATA, self._memory_bytes),
                (resource.RLIMIT_FSIZE, self._max_bytes),
                (resource.RLIMIT_CORE, 0),
            ):
                _, hard = resource.prlimit(self._process.pid, kind)
                limit = max_value if hard == resource.RLIM_INFINITY else min(max_value, hard)
                resource.prlimit(self._process.pid, kind, (limit, limit))

    def _limit_cpu(self) -> None:
        """Only the soft limit is set: it can be raised again, and ffmpeg ends by itself at it."""
        if sys.platform == "linux":
            import resource

            _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_CPU)
            max_s = self._max_cpu_s
            max_s = max_s if hard == resource.RLIM_INFINITY else min(max_s, hard)
            resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (max_s, hard))


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise NotAudio(f"The file cannot be opened: {error.strerror}.") from None


def _start(
    arguments: list[str], source: int | IO[bytes], files: ChildFiles | None = None
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [ffmpeg_path(), *RUN, *arguments],
        stdin=source,
        stdout=files.output if files and files.output else subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd=files.folder if files else None,
        env=ENVIRONMENT,
        # Ctrl-C ends the server, which returns its jobs to the queue; ffmpeg would report damage.
        process_group=0,
    )
