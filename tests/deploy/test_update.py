"""The update in the README: own changes stay, and a conflict stops it before anything restarts.

Only docker and docker-compose are replaced, by programs that note their arguments.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.server import ROOT

PAGES = {page: (ROOT / page).read_text("utf-8") for page in ("README.md", "docs/operations.md")}
NOTE = """#!/bin/sh
echo "${0##*/} $*" >> "$CALLS"
"""


class Checkout:
    """A checkout of a repository whose newest version has another configuration of nginx."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.calls = folder / "calls"
        programs = folder / "programs"
        programs.mkdir()
        for name in ("docker", "docker-compose"):
            (programs / name).write_text(NOTE)
            (programs / name).chmod(0o755)
        names = {
            f"GIT_{who}_{what}": "test"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        self._environment = {
            **os.environ,
            **names,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "CALLS": str(self.calls),
        }
        upstream = folder / "upstream"
        upstream.mkdir()
        self.configuration = self.folder / "nginx.conf"
        (upstream / "nginx.conf").write_text("client_max_body_size 501m;\n\n# the end\n")
        self.run("git init --quiet && git add . && git commit --quiet -m old", upstream)
        self.run(f"git clone --quiet {upstream} {self.folder}", folder)
        (upstream / "nginx.conf").write_text("client_max_body_size 601m;\n\n# the end\n")
        self.run("git commit --quiet --all -m new", upstream)

    def run(self, command: str, folder: Path | None = None) -> int:
        where = folder or self.folder
        done = subprocess.run(
            ["sh", "-c", command], cwd=where, env=self._environment, check=False, timeout=60
        )
        return done.returncode

    def change(self, old: str, new: str) -> None:
        self.configuration.write_text(self.configuration.read_text().replace(old, new))

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def update() -> str:
    found = re.search(r"^\| Update \|.*?`(git pull .*?)`", PAGES["README.md"], re.M)
    assert found is not None
    return found[1]


RESTARTED = [
    "docker-compose up -d --build",
    "docker-compose restart nginx",
    "docker image prune -f",
]


def test_own_changes_stay(checkout: Checkout) -> None:
    checkout.change("# the end", "# my end")
    assert checkout.run(update()) == 0
    assert checkout.configuration.read_text() == "client_max_body_size 601m;\n\n# my end\n"
    assert checkout.called() == RESTARTED


def test_a_conflict_stops_the_update_until_it_is_resolved(checkout: Checkout) -> None:
    checkout.change("501m", "801m")
    assert checkout.run(update()) != 0
    assert "<<<<<<<" in checkout.configuration.read_text()
    assert checkout.called() == []
    checkout.configuration.write_text("client_max_body_size 801m;\n\n# the end\n")
    [resolve] = re.findall(
        r"^## Updates\n.*?^```sh\n(.*?)^```", PAGES["docs/operations.md"], re.M | re.S
    )
    assert checkout.run(resolve) == 0
    assert checkout.called() == RESTARTED
    # The next update works as usual.
    assert checkout.run(update()) == 0
    assert "801m" in checkout.configuration.read_text()
