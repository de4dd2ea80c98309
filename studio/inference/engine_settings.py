"""What the operator wants models to run on."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class EngineSettings:
    """Engine and precision (`auto`: the best there is), threads (0: the engine's own choice), the
    folder of converted graphs, and the device of PyTorch and CTranslate2.
    """

    engine: str
    precision: str
    threads: int
    graphs: Path
    device: str = "auto"

    def identity(self) -> list[str]:
        """The settings that results depend on."""
        return [self.engine, self.precision, self.device]
