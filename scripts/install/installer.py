"""Runs pip, or uv with what pip is configured with."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

from scripts.install.wanted import ROOT

# What pip may be configured with, as options of uv. The other settings that matter are not known
# to uv: with one of them, pip is used.
UV_OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraint",
}
UV_VARIABLES = {"cert": "SSL_CERT_FILE", "timeout": "UV_HTTP_TIMEOUT"}
PRECEDENCE = ["global", "install", ":env:"]
IGNORED = {
    "disable-pip-version-check",
    "no-color",
    "quiet",
    "progress-bar",
    "retries",
    "cache-dir",
    "config-file",
}


class Installer:
    """pip or uv."""

    def __init__(
        self,
        command: list[str],
        configured: dict[str, str],
        sources: list[str] | None = None,
        variables: dict[str, str] | None = None,
    ) -> None:
        self.configured = configured
        self._command = command
        self._sources = sources or []
        self._environment = {**os.environ, **(variables or {})}

    def install(self, wanted: list[str], *options: str) -> None:
        """Install from the indexes that pip is configured with."""
        self.run(*self._sources, *options, *wanted)

    def install_from(self, index: str, wanted: str, *options: str) -> None:
        """Install one package from an index, without its dependencies."""
        # Otherwise pip would not ask the index, if it is configured to ask none.
        self.run("--index-url", index, "--no-deps", *options, wanted, PIP_NO_INDEX="0")

    def run(self, *arguments: str, **variables: str) -> None:
        environment = {**self._environment, **variables}
        subprocess.run([*self._command, *arguments], check=True, cwd=ROOT, env=environment)


def choose_installer(python: Path) -> Installer:
    """uv, if it is installed and can do what pip is configured to do; else pip."""
    python = python.absolute()
    pip = [str(python), "-m", "pip"]
    configured = pip_settings(pip)
    uv = shutil.which("uv")
    unknown = configured.keys() - UV_OPTIONS.keys() - UV_VARIABLES.keys() - IGNORED - {"no-index"}
    if uv is None or unknown:
        if uv:
            print(f"Using pip: uv has no setting for pip's {', '.join(sorted(unknown))}.")
        return Installer([*pip, "install", "--disable-pip-version-check"], configured)
    sources = [
        part
        for key, option in UV_OPTIONS.items()
        for value in configured.get(key, "").split()
        for part in (option, value)
    ]
    if sources:
        # As pip does it: the best version of all indexes, and not the first index.
        sources += ["--index-strategy", "unsafe-best-match"]
    if asks_no_index(configured):
        sources.append("--no-index")
    variables = {
        UV_VARIABLES[key]: value for key, value in configured.items() if key in UV_VARIABLES
    }
    command = [uv, "pip", "install", "--python", str(python)]
    return Installer(command, configured, sources, variables)


def asks_no_index(configured: dict[str, str]) -> bool:
    return configured.get("no-index", "").lower() in ("1", "true", "t", "yes", "y", "on")


def pip_settings(pip: list[str]) -> dict[str, str]:
    """What pip is configured with for installing, by files and by the environment."""
    done = subprocess.run([*pip, "config", "list"], check=True, capture_output=True, text=True)
    found = re.findall(r"^(global|install|:env:)\.([\w-]+)=(.*)$", done.stdout, re.M)
    found.sort(key=lambda line: PRECEDENCE.index(line[0]))
    settings = {key: str(ast.literal_eval(value)) for _, key, value in found}
    if "default-timeout" in settings:
        settings["timeout"] = settings.pop("default-timeout")
    return settings
