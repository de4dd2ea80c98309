"""A place where commands run as root for real and leave nothing: an overlay on the machine's files.

All that a script writes lies in memory, in a mount namespace and with processes of its own, and is
gone when it ends.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

SET_UP = """
set -eu
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount --rbind /sys "$1/root/sys"
root=$1/root script=$2
shift 2
while [ $# -gt 0 ]; do
    mkdir -p "$root$1"
    mount --bind "$2" "$root$1"
    shift 2
done
exec chroot "$root" sh -eu -c "$script"
"""
ISOLATED = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]


def run(
    script: str,
    folder: Path,
    volumes: dict[str, Path] | None = None,
    timeout_s: float = 1800.0,
) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a sandbox that is mounted at `folder`.

    `volumes` are folders that outlive it, by the place where the script finds them.
    """
    folder.mkdir()
    mounted = [text for place, path in (volumes or {}).items() for text in (place, str(path))]
    return subprocess.run(
        [*ISOLATED, "sh", "-c", SET_UP, "sh", str(folder), script, *mounted],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@cache
def is_possible() -> bool:
    """Whether this process may mount: as root, and not in a container that forbids it."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    mount = [*ISOLATED, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0
