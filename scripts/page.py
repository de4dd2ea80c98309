"""Installs the JavaScript packages of `package.json`, and puts those of the page in its folder.

Each file of the page is checked against its SHA-256. Needs npm, and a registry that it can reach,
unless `node_modules` is complete.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "node_modules"
VENDOR = ROOT / "studio" / "web" / "static" / "vendor"
TIMEOUT_S = 300


@dataclass(frozen=True)
class Module:
    """A file of an npm package, and its name in the page."""

    name: str
    package: str
    path: str
    sha256: str


MODULES = (
    Module(
        "preact.js",
        "preact",
        "dist/preact.mjs",
        "bdcbd9abdf2c77c5c45326eab42191e949222d479d0d5f69467387a77040cb55",
    ),
    Module(
        "preact-hooks.js",
        "preact",
        "hooks/dist/hooks.mjs",
        "e862ab2973aa6455eaa0f77c5d832d2157d6be59a17c8ba546550a575b58c6b4",
    ),
    Module(
        "htm.js",
        "htm",
        "dist/htm.mjs",
        "ab33dd3f38059b9be4d5f5350128eefb2356639c4e0bbe9d9e8b3ba75847e9e4",
    ),
    Module(
        "signals-core.js",
        "@preact/signals-core",
        "dist/signals-core.mjs",
        "0c80bc127d72ecb1496ef116ffddae75079829a3af01e7f417c8e5a6474c68b6",
    ),
    Module(
        "signals.js",
        "@preact/signals",
        "dist/signals.mjs",
        "ba8177597f45acaca4d05dcf3966b527d0a8264cfa2b0a87ace92dff324217f8",
    ),
    Module(
        "socket.io.js",
        "socket.io-client",
        "dist/socket.io.esm.min.js",
        "771c3872e7d9bf81020615fda67ef0fd2aa61fcaf1990100714a46fa2c39f8a1",
    ),
    Module(
        "socket.io.min.js",
        "socket.io-client",
        "dist/socket.io.min.js",
        "d5d79a35039e860b32bdef4795528b05c2f788d4b2d9dacc913120e2878f7b3f",
    ),
    Module(
        "signalsmith-stretch.js",
        "signalsmith-stretch",
        "SignalsmithStretch.mjs",
        "97530b11d5bc01015af4cde40d6aa55ff10c40aa1294ca4c8c5762027d517a46",
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="the packages of checks and tests too")
    options = parser.parse_args()
    try:
        if options.dev or not is_installed():
            if not _has_packages(has_dev=options.dev):
                if shutil.which("npm") is None:
                    print("The studio page needs npm (Debian: apt install npm), then `make page`.")
                    return 1
                _install(has_dev=options.dev)
            _copy()
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        print(f"The packages of the studio page cannot be installed: {error}")
        return 1
    return 0


def is_installed() -> bool:
    """Whether all modules are in place, in the versions of this list."""
    return all(_is_complete(VENDOR / module.name, module) for module in MODULES)


def _has_packages(*, has_dev: bool) -> bool:
    """Whether `node_modules` has all packages in their versions."""
    listed = json.loads((ROOT / "package.json").read_text("utf-8"))
    packages = listed["dependencies"] | (listed["devDependencies"] if has_dev else {})
    return all(_version(name) == version for name, version in packages.items())


def _version(package: str) -> str | None:
    path = PACKAGES / package / "package.json"
    if not path.is_file():
        return None
    version: str = json.loads(path.read_text("utf-8"))["version"]
    return version


def _install(*, has_dev: bool) -> None:
    print("Installing the packages of the studio page with npm.", flush=True)
    command = ["npm", "install", "--loglevel=error", "--no-audit", "--no-fund"]
    command += ["--no-package-lock", "--ignore-scripts"]
    command += [] if has_dev else ["--omit=dev"]
    subprocess.run(command, check=True, timeout=TIMEOUT_S, cwd=ROOT)


def _copy() -> None:
    """Raises ValueError if a file is not the expected one."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    for module in MODULES:
        source = _source(module)
        if not _is_complete(source, module):
            raise ValueError(f"{module.path} of {module.package} is not the file that was tested")
        shutil.copyfile(source, VENDOR / module.name)


def _source(module: Module) -> Path:
    return PACKAGES / module.package / module.path


def _is_complete(path: Path, module: Module) -> bool:
    return path.is_file() and _sha256(path) == module.sha256


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
