"""nginx as a child process, with its configuration and its files in a folder."""

import os
import shutil
from pathlib import Path

BINARY = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def command(folder: Path) -> list[str]:
    """The command that runs nginx with `nginx.conf` of a folder, as a child."""
    assert BINARY is not None
    # Started by root, nginx would give its workers a user who may not enter the folder.
    options = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
    return [BINARY, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", options]


def temporary_paths(folder: Path) -> str:
    """The directives in `http` for temporary files in a folder."""
    return "".join(f"    {kind}_temp_path {folder / kind};\n" for kind in TEMPORARY)
