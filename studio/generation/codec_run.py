"""A codec that continues on the CPU if its device fails."""

from collections.abc import Callable
from typing import Any

from studio.generation.model import Codec, Codes, Hidden, Sounds
from studio.inference.device_use import OnDevice, or_on_cpu


class CodecRun:
    """A codec that repeats failed calls on the CPU."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def encode(self, sound: Sounds) -> Codes:
        codes: Codes = self._called(lambda codec: codec.encode(sound))
        return codes

    def embed(self, codes: Codes) -> Hidden:
        hidden: Hidden = self._called(lambda codec: codec.embed(codes))
        return hidden

    def recur(self, hidden: Hidden, state: Any) -> tuple[Hidden, Any]:
        result: tuple[Hidden, Any] = self._called(lambda codec: codec.recur(hidden, state))
        return result

    def synthesise(self, hidden: Hidden) -> Sounds:
        sounds: Sounds = self._called(lambda codec: codec.synthesise(hidden))
        return sounds

    def _called(self, call: Callable[[Codec], Any]) -> Any:
        """The call with the codec of the device, or with the one on the CPU."""
        codec = self._codec
        if not isinstance(codec, OnDevice):
            return call(codec)
        return or_on_cpu(codec.device, lambda: call(codec), lambda: call(codec.on_cpu()))
