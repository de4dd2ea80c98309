"""The hidden folder of a command does not outlive it for long."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio.cli.hidden import hidden_folder
from tests.support.commands import PIPE_BYTES, environment
from tests.support.sounds import noise, write_wav


@pytest.mark.slow
def test_a_command_ends_with_its_terminal(tmp_path: Path, weights: Path) -> None:
    write_wav(tmp_path / "long.wav", noise(120.0, channels=1))
    terminal, inner = pty.openpty()
    command = [sys.executable, "-m", "studio", "separate", "long.wav", "--shifts", "4"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(weights), stdout=inner, stderr=inner
    )
    os.close(inner)
    shown = b""
    while b"separating" not in shown:
        shown += os.read(terminal, PIPE_BYTES)
    # As the system and the shell send it when a window is closed.
    os.close(terminal)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 128 + signal.SIGHUP
    assert [path.name for path in tmp_path.rglob("*")] == ["long.wav"]


def test_what_a_killed_command_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".audio-studio-0123abcd" / "outputs"
    with hidden_folder(tmp_path) as running:
        left.mkdir(parents=True)
        (tmp_path / ".audio-studio-4567cdef.lock").touch()
        with hidden_folder(tmp_path) as own:
            assert {path for path in tmp_path.iterdir() if path.is_dir()} == {running, own}
        assert running.is_dir()
    assert list(tmp_path.iterdir()) == []
