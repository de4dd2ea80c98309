"""`make scale-demo` shows what docs/scaling.md says, and leaves no process and no file."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from tests.support.server import ROOT, until

pytestmark = [pytest.mark.postgres, pytest.mark.s3, pytest.mark.slow]

MARK = "SCALE_DEMO_OF_TEST"


class Demo:
    """A running demo. Its processes inherit a variable by which they are found."""

    def __init__(self, log: Path, **environment: str) -> None:
        self.log = log
        self._mark = uuid4().hex
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scripts.scale_demo"],
                cwd=ROOT,
                env={**os.environ, MARK: self._mark, **environment},
                stdout=output,
                stderr=output,
            )

    def says(self, text: str) -> bool:
        return text in self.log.read_text()

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self._mark:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    with tempfile.TemporaryDirectory() as folder:
        # PostgreSQL runs as another user, who may not enter the folder of a test.
        Path(folder).chmod(0o755)
        demo = Demo(tmp_path / "demo.log", TMPDIR=folder)
        yield demo
        if demo.process.poll() is None:
            demo.process.terminate()
            demo.process.wait(120)
        assert demo.processes() == []
        assert list(Path(folder).iterdir()) == []


def test_a_worker_is_killed_and_all_songs_arrive(demo: Demo) -> None:
    code = demo.process.wait(1800)
    said = demo.log.read_text()
    assert code == 0, said
    killed = re.search(r"Worker (\d) is killed while it separates song (\d)\.", said)
    assert killed, said
    other = 3 - int(killed[1])
    assert f"Worker {other} separates song {killed[2]} again" in said
    for number in (1, 2, 3):
        assert f"Song {number} is separated." in said
    assert f"All 3 songs have their 4 stems, although worker {killed[1]} was killed." in said
    assert re.search(r"The live node live-\d transcribes a recording of 8 s: \w", said), said


def test_ctrl_c_stops_everything(demo: Demo) -> None:
    until(lambda: demo.says("Web server 2 starts") or demo.process.poll())
    assert len(demo.processes()) > 4
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(120) == 1
    assert demo.says("The demo was interrupted.")


def test_it_says_that_swift_cannot_be_installed(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "demo.log", UV_OFFLINE="1", UV_CACHE_DIR=str(tmp_path / "cache"))
    assert demo.process.wait(120) == 1
    assert demo.says("The demo failed. swift==")
    assert demo.processes() == []
