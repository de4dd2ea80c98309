"""A machine that `make setup` installs packages on."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 600
UV = Path(sys.executable).parent / "uv"


@dataclass
class Machine:
    """A copy of what `make setup` reads, a virtual environment, and pip's configuration."""

    root: Path
    environment: dict[str, str]

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "scripts.install", "--venv", str(self.venv), *options]

    def give_uv(self, folder: Path) -> None:
        """Install with uv from now on, which is faster."""
        self.environment |= {
            "PATH": f"{UV.parent}:/usr/bin:/bin",
            "UV_CACHE_DIR": str(folder / "uv"),
            "UV_NO_CONFIG": "1",
        }

    def run(self, *options: str, **variables: str) -> tuple[int, str]:
        """Run the script; its exit status, and what it printed."""
        done = subprocess.run(
            self.command(*options),
            env={**self.environment, **variables},
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return done.returncode, done.stdout

    def set_up(self, *options: str, **variables: str) -> str:
        """Run the script, which must succeed; what it printed."""
        status, told = self.run(*options, **variables)
        assert status == 0, told
        return told

    def installed(self) -> dict[str, str]:
        """The versions of the installed packages."""
        folders = self.venv.glob("lib/python3*/site-packages/*.dist-info")
        versions = dict(path.stem.split("-", 1) for path in folders)
        return {name: versions[name] for name in versions.keys() - {"pip", "setuptools"}}
