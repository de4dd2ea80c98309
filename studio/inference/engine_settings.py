"""The operator's choice of engine and device."""

from dataclasses import dataclass
from pathlib import Path

from studio.inference.devices import choose_device


@dataclass(frozen=True)
class EngineSettings:
    """Engine and precision (`auto`: the fastest), threads (0: the engine's choice), the folder for
    converted graphs, and the device for PyTorch and CTranslate2.
    """

    engine: str
    precision: str
    threads: int
    graphs: Path
    device: str = "auto"

    def identity(self) -> list[str]:
        """The settings that affect results."""
        return [self.engine, self.precision, self.device]

    def device_note(self) -> str | None:
        """Why networks that are not loaded yet will not run on a GPU."""
        return None if self.engine == "openvino" else choose_device(self.device).note
