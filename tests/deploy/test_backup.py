"""The commands of docs/operations.md bring everything back: files, jobs, weights, configuration.

Each line runs as it stands. Replaced are the two programs that need a Docker engine:
`docker-compose exec` runs its command here, `stop` and `up` act on the server of the test, and
`docker run ... alpine` runs its command here with folders in the place of its volumes, and `chown`
runs as root. The lines of the host run as by a user of it who does not own the folders: root
without its power over files.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import sandbox
from tests.support.server import ROOT, Server
from tests.support.sounds import noise, write_wav

PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
USER = 1000
LOST = ("nginx", "volume", "weights")
INSIDE = "docker-compose exec -T ai-backend "
VOLUME = 'docker run --rm -v aimusicseparator-backend_ai_models:/data -v "$(pwd)":/backup alpine '
AS_ROOT = 'docker run --rm -v "$PWD:/work" -w /work nginx:alpine '
HOST = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "sh", "-c"]


def commands(section: str) -> list[str]:
    block = re.search(rf"^## {section}\n.*?^```sh\n(.*?)^```", PAGE, re.M | re.S)
    assert block
    return [line for line in block[1].splitlines() if not line.startswith("#")]


class Machine:
    """The folder of a deployment, with a server that runs there."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.runs = 0
        for owned in (server.uploads, server.outputs):
            shutil.chown(owned, USER)
        (folder / "weights").mkdir()
        (folder / "weights" / "own.safetensors").write_bytes(b"own")
        (folder / "volume").mkdir()
        (folder / "volume" / "model.safetensors").write_bytes(b"weights")
        shutil.copy(ROOT / "docker-compose.yml", folder)
        shutil.copytree(ROOT / "nginx", folder / "nginx")
        (folder / ".env").write_text("SECRET_KEY=0123456789abcdef\n")
        shutil.copy(ROOT / ".gitignore", folder)
        self.git("init", "--quiet")
        self.release("old")

    def git(self, *command: str) -> None:
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        subprocess.run(["git", *identity, *command], cwd=self.folder, check=True, timeout=60)

    def release(self, version: str) -> None:
        """Commit a version of the program and its Compose file."""
        (self.folder / "app.py").write_text(f"# {version}\n")
        with open(self.folder / "docker-compose.yml", "a") as file:
            file.write(f"# {version}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", version)

    def run(self, section: str) -> None:
        self.runs += 1
        for number, line in enumerate(commands(section)):
            if line == "docker-compose stop ai-backend":
                self.server.stop()
            elif line == "docker-compose up -d --build && docker-compose restart nginx":
                self.server.start()
            elif line.startswith(VOLUME):
                volumes = {"/data": self.folder / "volume", "/backup": self.folder}
                place = self.folder.parent / f"{section}-{self.runs}-{number}"
                done = sandbox.run(line.removeprefix(VOLUME), place, volumes)
                assert done.returncode == 0, f"{line}\n{done.stderr}"
            else:
                inside = line.removeprefix(INSIDE).replace("python ", f"{sys.executable} ", 1)
                if line.startswith(INSIDE):
                    command = ["sh", "-c", inside]
                elif line.startswith(AS_ROOT):
                    command = ["sh", "-c", line.removeprefix(AS_ROOT)]
                else:
                    command = [*HOST, line]
                    assert "docker" not in line.split(" ")[0]
                environment = {**os.environ, "TAR_OPTIONS": "--no-same-owner"}
                subprocess.run(command, cwd=self.folder, env=environment, check=True, timeout=120)


@pytest.fixture
def machine(tmp_path: Path, weights: Path) -> Iterator[Machine]:
    folder = tmp_path / "aimusicseparator-backend"
    folder.mkdir()
    server = Server(folder, MODEL_DIR=weights, DEMUCS_MODEL="tiny", SEPARATION_ENGINE="torch")
    yield Machine(folder, server.start())
    server.stop()


@pytest.mark.slow
def test_what_was_backed_up_comes_back(machine: Machine, short_wav: Path, tmp_path: Path) -> None:
    if not sandbox.is_possible():
        pytest.skip("folders cannot be mounted here; run as root")
    server, folder = machine.server, machine.folder
    done = server.separate(short_wav)
    track = server.get(f"/download/{done}/vocals").content
    busy = server.upload(write_wav(tmp_path / "long.wav", noise(20.0)))
    server.process(busy)
    while server.get(f"/status/{busy}").json()["status"] == "queued":
        pass
    machine.run("Backup")
    between = server.separate(short_wav)
    machine.run("Backup")
    later = server.upload(short_wav)
    server.stop()
    machine.release("new")

    for path in (server.uploads, server.outputs, *map(folder.joinpath, LOST)):
        shutil.rmtree(path)
        path.mkdir()
    (server.outputs / ".jobs.sqlite3").write_bytes(b"damaged" * 1000)
    (folder / ".env").unlink()

    machine.run("Restore")
    assert server.get(f"/download/{done}/vocals").content == track
    assert server.get(f"/status/{done}").json()["status"] == "completed"
    assert server.get(f"/status/{between}").json()["status"] == "completed"
    assert server.wait(busy)["status"] == "completed"
    for owned in (server.uploads / done, server.outputs / done):
        assert {path.stat().st_uid for path in (owned, *owned.rglob("*"))} == {USER}
    assert server.get(f"/status/{later}").json()["code"] == "unknown_file"
    assert (folder / "volume" / "model.safetensors").read_bytes() == b"weights"
    assert (folder / "weights" / "own.safetensors").read_bytes() == b"own"
    assert "SECRET_KEY" in (folder / ".env").read_text()
    assert (folder / "nginx" / "nginx.conf").read_text() == (ROOT / "nginx/nginx.conf").read_text()
    assert not (server.outputs / ".jobs.backup").exists()
    # The backup is that of the older version, whose code its configuration belongs to.
    assert (folder / "app.py").read_text() == "# old\n"
    assert "# new" not in (folder / "docker-compose.yml").read_text()
    assert not list(folder.glob("*.new"))
