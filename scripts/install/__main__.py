"""Install the server and its dependencies; `make setup`, `make dev` and Dockerfile.simple run this.

    python3 -m scripts.install [--dev] [--venv FOLDER | --image]

It needs nothing but Python. PyTorch is installed first, by a separate command: PyPI's builds for
Linux include gigabytes of CUDA libraries, which a computer without an NVIDIA GPU never uses. Two
variables of the environment choose the build:

    TORCH_INDEX   the index with CPU builds; empty: use only the indexes that pip is configured with
    GPU           1: the CUDA build, and cuBLAS for Whisper; 0: the CPU build. Without it, and
                  without TORCH_INDEX, the build that is installed stays; the first time, it is the
                  CPU build

With `--image`, SCALE=1 adds the packages for PostgreSQL and object stores.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

from scripts.install.environment import (
    Stamp,
    make_venv,
    packages_of,
    python_of,
    remove_incomplete,
)
from scripts.install.installer import Installer, choose_installer
from scripts.install.machine import SetupError, check_machine
from scripts.install.pytorch import install_torch, installed_torch
from scripts.install.sizes import packages_mb
from scripts.install.wanted import (
    WITHOUT_DEPENDENCIES,
    name_of,
    requirements,
    torch_version,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dev", action="store_true", help="install what the tests need, too")
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="default: .venv")
    parser.add_argument(
        "--image",
        action="store_true",
        help="into a container image: with the pip on PATH, and exactly requirements.lock",
    )
    options = parser.parse_args()
    gpu = os.environ.get("GPU", "")
    try:
        if gpu not in ("", "0", "1"):
            raise SetupError(f"GPU is {gpu!r}; it must be 1 (CUDA), 0 (CPU only) or empty.")
        check_machine(gpu == "1")
        if options.image:
            install_image(gpu == "1")
        else:
            install_venv(options.venv, options.dev, gpu)
    except SetupError as error:
        raise SystemExit(f"Cannot install: {error}") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            "Cannot install: a command failed; its messages are above. Run the same command again "
            "to continue: what was installed or completely downloaded is kept."
        ) from error
    except KeyboardInterrupt:
        raise SystemExit("\nInterrupted. Run the same command again to continue.") from None


def install_image(gpu: bool) -> None:
    """Install everything into the Python whose pip is on PATH, in the tested versions."""
    pip = Installer(["pip", "install", "--no-cache-dir"], {})
    version = torch_version(requirements("requirements-prod.txt"))
    install_torch(pip, version, gpu, packages_of(Path(sys.executable)))
    if gpu:
        pip.install(requirements("requirements-gpu.txt", nested=False))
    if os.environ.get("SCALE") == "1":
        pip.install(requirements("requirements-scale.txt", nested=False))
    pip.run("--no-deps", "--require-hashes", "-r", "requirements.lock")


def install_venv(venv: Path, dev: bool, gpu: str) -> None:
    """Install everything into a virtual environment, unless it is there already."""
    stamp = Stamp(venv)
    wants_gpu = gpu == "1" or (gpu == "" and stamp.gpu)
    level = "dev" if dev else "setup"
    digest = digest_of(level, wants_gpu)
    # An empty TORCH_INDEX asks for no build in particular.
    explicit = gpu != "" or bool(os.environ.get("TORCH_INDEX"))
    if stamp.levels.get(level) == digest and is_set_up(venv, wants_gpu, explicit):
        return
    python, site = make_venv(venv)
    stamp.write(wants_gpu, {})
    remove_incomplete(site)
    installer = choose_installer(python)
    wanted = requirements("requirements-dev.txt" if dev else "requirements.txt")
    version = torch_version(wanted)
    install_torch(installer, version, wants_gpu, site, explicit)
    if wants_gpu:
        wanted += requirements("requirements-gpu.txt", nested=False)
    has_setup = stamp.levels.get("setup") == digest_of("setup", wants_gpu)
    size_mb = packages_mb(wants_gpu, dev, has_setup)
    print(f"Installing the other packages (about {size_mb} MB).", flush=True)
    bare = [one for one in wanted if name_of(one) in WITHOUT_DEPENDENCIES]
    installer.install([one for one in wanted if one not in bare])
    # On every machine: the marker in the file is for commands that install dependencies.
    installer.install([one.partition(";")[0].strip() for one in bare], "--no-deps")
    levels = {"setup": digest_of("setup", wants_gpu)}
    stamp.write(wants_gpu, levels if not dev else {**levels, "dev": digest})
    print(f"Installed {len(list(site.glob('*.dist-info')))} packages into {venv}.", flush=True)


def is_set_up(venv: Path, wants_gpu: bool, explicit: bool) -> bool:
    """Whether nothing is left to do. The build of PyTorch is checked only if it was asked for."""
    python = python_of(venv)
    if not python.exists():
        return False
    # If no CPU build was available, the CUDA build was installed in its place.
    if explicit and platform.system() == "Linux":
        version = torch_version(requirements("requirements.txt"))
        return installed_torch(packages_of(python)).fits(version, wants_gpu)
    return True


def digest_of(level: str, gpu: bool) -> str:
    """A digest of everything that decides what is installed."""
    lines = requirements("requirements-dev.txt" if level == "dev" else "requirements.txt")
    if gpu:
        lines += requirements("requirements-gpu.txt", nested=False)
    text = "\n".join([platform.python_version(), str(gpu), *lines])
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main()
