"""The codec of one job, which continues on the CPU if its device fails."""

import logging
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from studio.generation.model import Codec, Codes, Hidden, Sounds
from studio.inference.devices import fallback_note, is_device_failure

log = logging.getLogger(__name__)


@runtime_checkable
class OnDevice(Codec, Protocol):
    """A codec that a device runs, which may have no memory for a call."""

    device: str

    def on_cpu(self) -> Codec:
        """The same codec on the CPU. Releases memory of the device."""


class CodecRun:
    """A codec behind its own protocol, for one job. `note` says if its device has failed."""

    def __init__(self, codec: Codec) -> None:
        self.note: str | None = None
        self._codec = codec

    def encode(self, sound: Sounds) -> Codes:
        codes: Codes = self._called(lambda codec: codec.encode(sound))
        return codes

    def embed(self, codes: Codes) -> Hidden:
        found: Hidden = self._called(lambda codec: codec.embed(codes))
        return found

    def recur(self, hidden: Hidden, state: Any) -> tuple[Hidden, Any]:
        found: tuple[Hidden, Any] = self._called(lambda codec: codec.recur(hidden, state))
        return found

    def synthesise(self, hidden: Hidden) -> Sounds:
        found: Sounds = self._called(lambda codec: codec.synthesise(hidden))
        return found

    def _called(self, call: Callable[[Codec], Any]) -> Any:
        """The call with the codec of the device, or with the one on the CPU."""
        codec = self._codec
        try:
            return call(codec)
        except RuntimeError as error:
            if not isinstance(codec, OnDevice) or not is_device_failure(error):
                raise
            reason = fallback_note(error, codec.device)
        # Outside of the handler: the error holds the tensors of the failed call.
        if self.note is None:
            log.warning("%s The codec runs on the CPU.", reason)
            self.note = reason
        return call(codec.on_cpu())
