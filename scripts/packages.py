"""Packages of Debian, downloaded and unpacked without installing them."""

import subprocess
from pathlib import Path

TIMEOUT_S = 600


def run(command: list[str], folder: Path, advice: str) -> None:
    """Run a command in a folder. If it fails, exit with its error and `advice`."""
    try:
        subprocess.run(command, cwd=folder, check=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise SystemExit(f"`{' '.join(command)}` failed: {error}. {advice}") from None


def fetch_debian(names: list[str], folder: Path) -> Path:
    """Download packages into a folder, and unpack them into `folder/debian`, which is returned."""
    advice = "On Debian or Ubuntu, run `apt-get update` as root first; it needs a package mirror."
    run(["apt-get", "download", "-qq", *names], folder, advice)
    for package in folder.glob("*.deb"):
        run(["dpkg", "-x", str(package), str(folder / "debian")], folder, advice)
    return folder / "debian"
