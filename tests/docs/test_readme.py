"""The blocks of the README work when they are pasted; its figures are those of the benchmarks."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import ROOT, Server
from tests.support.sounds import convert, noise, read_sound, write_wav

README = (ROOT / "README.md").read_text("utf-8")
LOCAL = "http://localhost:8000"
# What the page's code finds of a browser.
PAGE = """
const fs = require('fs');
const parts = {input: {}, output: {}, audio: {play: () => done(parts.audio.src)}};
const document = {querySelector: (name) => parts[name]};
function done(text) { console.log(text); }
"""
CHOOSE = """
input.files = [new File([fs.readFileSync('song.mp3')], '歌.mp3')];
input.onchange().then(() => console.log(parts.output.textContent));
"""


def blocks(language: str, part: str) -> list[str]:
    """The code blocks with a certain part."""
    found = re.findall(rf"```{language}\n(.*?)```", README, re.S)
    return [block for block in found if part in block]


def run(folder: Path, *command: str, script: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=script,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose default variants are the bundled ones."""
    folder = tmp_path_factory.mktemp("readme")
    server = Server(
        folder, WHISPER_MODEL="mini", MUSICGEN_MODEL="mini", SEPARATION_ENGINE="torch"
    ).start()
    yield server
    server.stop_later()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a song."""
    convert(write_wav(tmp_path / "song.wav", noise(1.0)), tmp_path / "song.mp3")
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_blocks_with_curl_can_be_pasted(server: Server, folder: Path) -> None:
    pasted = blocks("sh", "curl -f")
    assert len(pasted) == 4
    # A second of music shows as much as twenty.
    script = "\n".join(pasted).replace(LOCAL, server.url).replace("duration=20", "duration=1")
    done = run(folder, "sh", "-eu", script=script)
    assert done.returncode == 0, done.stderr
    for stem in ("vocals", "drums", "bass", "other"):
        assert read_sound(folder / f"{stem}.wav").shape[0] == 2
    for name in ("karaoke.mp3", "music.mp3"):
        assert read_sound(folder / name).shape[1] > 0
    assert (folder / "lyrics.lrc").is_file()


def test_loops_that_poll_pause() -> None:
    """The server answers at once if too many requests wait."""
    loops = [line for line in README.splitlines() if line.startswith("while ")]
    assert loops and all("do sleep" in line for line in loops)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_line_that_fails_writes_no_file(server: Server, folder: Path) -> None:
    """As when the stems are not there yet."""
    file_id = server.upload(folder / "song.mp3")
    [line] = [line for line in README.splitlines() if "/vocals -o vocals.wav" in line]
    script = f"URL={server.url}\nID={file_id}\n{line}\n"
    done = run(folder, "sh", script=script)
    assert done.returncode != 0
    assert not (folder / "vocals.wav").exists()


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_code_of_the_web_page_plays_a_stem(server: Server, folder: Path) -> None:
    [code] = blocks("js", "FormData")
    script = PAGE + code.replace(LOCAL, server.url) + CHOOSE
    done = run(folder, "node", "--eval", script)
    source, shown = done.stdout.splitlines() or [done.stderr, ""]
    assert shown == "The vocals:", done.stdout + done.stderr
    answer = server.get(source.removeprefix(server.url))
    assert answer.headers["Content-Type"] == "audio/mpeg"

    broken = script.replace("fs.readFileSync('song.mp3')", "'no audio'")
    done = run(folder, "node", "--eval", broken)
    assert "audio" in done.stdout
    assert "undefined" not in done.stdout


COSTS = {
    "Demucs `htdemucs`": ("Separation: one song", "this server, `auto`"),
    "Whisper `base`": ("Speech to text: speed on recordings", "this server, OpenVINO"),
    "MusicGen `small`": ("Music", "this server, OpenVINO int8 (the default)"),
}
"""Which row of which sections of the benchmarks has the time of a model."""


@pytest.mark.parametrize("model", COSTS)
def test_the_costs_are_those_of_the_benchmarks(model: str) -> None:
    benchmarks = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    title, row = COSTS[model]
    sections = re.findall(rf"^## {re.escape(title)}.*?(?=^## |\Z)", benchmarks, re.M | re.S)
    times_s = [
        float(time)
        for section in sections
        for time in re.findall(rf"^\| {re.escape(row)} \| ([\d.]+) s \|", section, re.M)
    ]
    costs = README.partition("### Downloads, memory and time")[2].partition("\n## ")[0]
    [(least, most)] = re.findall(
        rf"^\| {re.escape(model)} .* ([\d.]+) to ([\d.]+) s \|$", costs, re.M
    )
    assert (float(least), float(most)) == (min(times_s), max(times_s))
