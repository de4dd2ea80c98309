"""Runs ffmpeg on recordings that strangers send: the only module that starts another program.

ffmpeg gets the recording on its standard input, opened here, and `fd` is the only protocol that it
may use: whatever a playlist or a container names, it opens no file and no connection. It sees
neither the recording's path nor the server's environment. Only the formats and codecs below are
tried. On Linux the kernel bounds its memory, its processor time and what it writes; everywhere it
is ended when it keeps its reader waiting.
"""

import math
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import IO

from studio.audio.accepted import CODECS, FORMATS
from studio.audio.report import Report
from studio.errors import DecoderEnded, NotAudio

MAX_STREAMS = 100
# Options of every run, and of every input. A decoder's threads would cost memory, not save time.
RUN = ["-hide_banner", "-nostdin", "-nostats", "-filter_threads", "1"]
GUARDS = ["-protocol_whitelist", "fd", "-max_streams", str(MAX_STREAMS), "-threads", "1"]
SOUND_ONLY = ["-vn", "-sn", "-dn"]
INPUT = ["-fd", "0", "-i", "fd:"]
RECORDING = [
    *(*GUARDS, "-format_whitelist", FORMATS, "-codec_whitelist", CODECS),
    *(*SOUND_ONLY, *INPUT),
]
ENVIRONMENT = {"LC_ALL": "C"}

# Anonymous memory: ffmpeg alone needs 60 MB. Its address space says little: it maps a large file.
MEMORY_BYTES = 512 << 20
# Time to find the sound in a file; large ones may be read to their end for it. Waiting may be long
# where many programs want the processor.
START_CPU_S = 15.0
START_WAIT_S = 60.0
READ_BYTES_PER_S = 20e6
# Advice to callers whose decoder the system killed.
RETRY_AFTER_S = 30
# What a second of sound may take after that: decoding is a hundred times faster, even at 192 kHz.
CPU_PER_SOUND = 0.25
WAIT_PER_SOUND = 1.0
END_S = 10.0
# How ffmpeg ends when the kernel tells it that its time is over, at once or at the fourth telling.
STOPPED = (255, 123, -signal.SIGXCPU)

PIPE_BYTES = 1 << 16
LATE = "Decoding the file took too long; it seems to be damaged."


@cache
def ffmpeg_path() -> str:
    """The ffmpeg binary: the one of the imageio-ffmpeg wheel, or the system's."""
    import imageio_ffmpeg

    path = str(imageio_ffmpeg.get_ffmpeg_exe())
    return shutil.which(path) or path


class Child:
    """One running ffmpeg. Use it with `with`: it does not outlive the block.

    `arguments` follow those of every run. `source` is a file to read, or None for what `send` is
    given.
    """

    def __init__(self, arguments: list[str], source: Path | None) -> None:
        self.report = Report()
        self._lock = Lock()
        self._is_killed = False
        self._waited_s = 0.0
        self._reading_s = 0.0
        if source is None:
            self._process = _start(arguments, subprocess.PIPE)
        else:
            with _opened(source) as file:
                self._reading_s = os.fstat(file.fileno()).st_size / READ_BYTES_PER_S
                self._process = _start(arguments, file)
        self._most_cpu_s = 0
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
        """What comes out of it next; nothing at its end.

        Raises NotAudio when it takes too long in all, unless it is live: then it may be waiting for
        its sender.
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

    def allow(self, sound_s: float) -> None:
        """So much sound has come out: it may take the time of so much more."""
        self._patience_s = START_WAIT_S + self._reading_s + WAIT_PER_SOUND * sound_s
        most_cpu_s = math.ceil(START_CPU_S + self._reading_s + CPU_PER_SOUND * sound_s)
        if most_cpu_s > self._most_cpu_s:
            self._most_cpu_s = most_cpu_s
            with self._lock:
                if self._process.returncode is None:
                    self._limit_cpu()

    def send(self, data: bytes, patience_s: float | None = START_WAIT_S) -> None:
        """Give it more to read. Raises BrokenPipeError when it reads no more, or not in time."""
        assert self._process.stdin is not None
        pipe, rest = self._process.stdin.fileno(), memoryview(data)
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_WRITE)
            while rest:
                if not selector.select(patience_s):
                    raise BrokenPipeError
                rest = rest[os.write(pipe, rest[:PIPE_BYTES]) :]

    def send_end(self) -> None:
        """Nothing more will be given to it."""
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
        # Its own bounds end it with another signal.
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
        """End it, whatever it is doing; `close` must follow."""
        with self._lock:
            self._is_killed = True
            self._process.kill()

    def close(self) -> None:
        """End it if it still runs, and let go of it. No other thread may be reading."""
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
        assert self._process.stdout is not None and self._process.stderr is not None
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

            for kind, most in (
                (resource.RLIMIT_DATA, MEMORY_BYTES),
                (resource.RLIMIT_FSIZE, 0),
                (resource.RLIMIT_CORE, 0),
            ):
                _, hard = resource.prlimit(self._process.pid, kind)
                limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
                resource.prlimit(self._process.pid, kind, (limit, limit))

    def _limit_cpu(self) -> None:
        """Only the soft limit is set: it can be raised again, and ffmpeg ends by itself at it."""
        if sys.platform == "linux":
            import resource

            _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_CPU)
            most_s = self._most_cpu_s
            most_s = most_s if hard == resource.RLIM_INFINITY else min(most_s, hard)
            resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (most_s, hard))


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise NotAudio(f"The file cannot be opened: {error.strerror}.") from None


def _start(arguments: list[str], source: int | IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [ffmpeg_path(), *RUN, *arguments],
        stdin=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=ENVIRONMENT,
    )
