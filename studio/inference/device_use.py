"""Records the GPU failures of each job, which continues with less memory or on the CPU.

The job is that of the thread, because libraries such as faster-whisper are between it and its calls
to the device.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Generic, Protocol, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary

from studio.inference.devices import failure_note, is_device_failure, release_memory

log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")
_Network = TypeVar("_Network")
_Network_co = TypeVar("_Network_co", covariant=True)


class DeviceUse:
    """How a GPU serves one job; `note` says what went wrong, if anything did.

    The next job tries the GPU again, with all windows at a time.
    """

    def __init__(self) -> None:
        self._failure: str | None = None
        self._shortage: str | None = None
        self._max_batches: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    @property
    def note(self) -> str | None:
        return self._failure or self._shortage

    def max_batch(self, network: object, count: int) -> int:
        """How many windows a network takes at a time, if it takes `count` with enough memory."""
        return min(count, self._max_batches.get(network, count))

    def take_fewer(self, network: object, max_batch: int, doing: str) -> None:
        """Let a network take at most `max_batch` windows at a time for the rest of the job."""
        if self._max_batches.get(network, max_batch + 1) > max_batch:
            self._max_batches[network] = max_batch
            self._shortage = (
                f"The CUDA device has little free memory: {doing} {max_batch} at a time, which is "
                "slower."
            )
            log.warning(self._shortage)

    def fail(self, error: BaseException, device: str) -> None:
        if self._failure is None:
            self._failure = failure_note(error, device)
            log.warning(self._failure)


_current_use: ContextVar[DeviceUse] = ContextVar("device_use")
# Outside of jobs, as in live transcription, nobody reads the note.
_no_job = DeviceUse()


@contextmanager
def device_use() -> Iterator[DeviceUse]:
    """How a GPU serves the job that runs in this block, on this thread and on `WorkerThreads`."""
    use = DeviceUse()
    token = _current_use.set(use)
    try:
        yield use
    finally:
        _current_use.reset(token)


def current_use() -> DeviceUse:
    """The use by the job of this thread."""
    return _current_use.get(_no_job)


@runtime_checkable
class OnDevice(Protocol[_Network_co]):
    """A network on a device, whose calls may fail, for example for lack of memory."""

    device: str

    def on_cpu(self) -> _Network_co:
        """The same network on the CPU. Releases memory of the device."""


class CpuFallback(Generic[_Network]):
    """A network on the CPU for when its GPU fails; loaded at the first failure, once."""

    def __init__(self, load: Callable[[], _Network]) -> None:
        self._load = load
        self._network: _Network | None = None
        self._lock = Lock()

    def get(self) -> _Network:
        """The network. Releases memory of the GPU."""
        release_memory()
        with self._lock:
            if self._network is None:
                self._network = self._load()
            return self._network


def or_on_cpu(device: str, call: Callable[[], _Answer], on_cpu: Callable[[], _Answer]) -> _Answer:
    """What `call` returns, or if the device fails, what `on_cpu` returns."""
    try:
        return call()
    except RuntimeError as error:
        if not is_device_failure(error):
            raise
        current_use().fail(error, device)
    # Outside of the handler: the error holds the tensors of the failed call.
    return on_cpu()
