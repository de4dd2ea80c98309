"""Write requirements.lock: all that the server needs, in the tested versions, with their hashes.

    python -m scripts.lock

Not in it are PyTorch, whose CPU build has other hashes on each index, the packages that only its
CUDA build needs, and those that only the command line of Demucs needs.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
OF_CUDA = ("nvidia-", "cuda-", "triton")
NOT_NEEDED = ("torch", "lameenc", "sphn")
HEAD = "# Made by `make lock`. For `pip install --no-deps --require-hashes -r requirements.lock`\n"


def tested() -> str:
    """What is installed here, as constraints."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "freeze", "--all"], check=True, capture_output=True, text=True
    )
    return "\n".join(
        line.partition("+")[0]
        for line in done.stdout.splitlines()
        if re.match(r"[\w.-]+==", line) and not line.startswith(OF_CUDA)
    )


def entries(text: str) -> list[str]:
    """The packages of a lock file, each with the lines of its hashes."""
    return re.findall(r"^[A-Za-z0-9][^\n]*(?:\n    [^\n]*)*\n", text, re.M)


def main() -> None:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--generate-hashes"]
    command += ["--no-header", "--no-annotate"]
    command += [part for name in NOT_NEEDED for part in ("--no-emit-package", name)]
    command += ["--python-version", "3.11", "--python-platform", "x86_64-unknown-linux-gnu"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write(tested())
        constraints.flush()
        command += ["--constraint", constraints.name, str(ROOT / "requirements-prod.txt")]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    wanted = [entry for entry in entries(done.stdout) if not entry.startswith(OF_CUDA)]
    LOCK.write_text(HEAD + "".join(wanted))


if __name__ == "__main__":
    main()
