"""The page about the Python library works as it stands, and its functions keep to the API."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import soundfile
from pydantic import TypeAdapter

from config import ConfigError
from models import OPTIONS
from studio import library
from tests.support.commands import OF_OTHERS
from tests.support.server import ROOT
from tests.support.sounds import SONG, convert, noise, write_wav

PAGE = (ROOT / "docs" / "library.md").read_text("utf-8")
BUNDLED = {"DEMUCS_MODEL": "mini", "WHISPER_MODEL": "mini", "MUSICGEN_MODEL": "mini"}
LEFT_BEHIND = """
import pathlib
print("left", [str(path) for path in pathlib.Path().rglob(".audio-studio*")])
"""


def run(folder: Path, code: str, graphs: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, with the bundled models."""
    environment = {**os.environ, **BUNDLED, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    environment["SEPARATION_ENGINE"] = "torch"
    if graphs is not None:
        (folder / "own").mkdir()
        (folder / "own" / ".graphs").symlink_to(graphs)
        environment["MODEL_DIR"] = str(folder / "own")
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path, graphs: Path) -> None:
    convert(write_wav(tmp_path / "song.wav", noise(1.0)), tmp_path / "song.mp3")
    convert(ROOT / "samples" / "speech" / "spoken.flac", tmp_path / "talk.m4a", "-t", "4")
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    # Two seconds of music show as much as five.
    code = "\n".join([*blocks, LEFT_BEHIND]).replace("duration=5", "duration=2")
    done = run(tmp_path, code, graphs)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    assert shown[0] == "stems/song/vocals.mp3"
    assert "song november" in shown[1]
    assert "music/slow-sad-piano.wav" in shown
    assert "separated/song/instrumental.wav 1.0" in done.stdout
    assert "transcribing 100%" in shown
    assert "unknown_stem" in done.stdout
    assert shown[-1] == "left []"
    assert {path.name for path in (tmp_path / "separated" / "song").iterdir()} == {
        "vocals.wav",
        "instrumental.wav",
    }
    assert "-->" in (tmp_path / "talk.srt").read_text()
    assert (tmp_path / "song.lrc").is_file()
    assert soundfile.info(tmp_path / "longer" / "slow-sad-piano.wav").duration == pytest.approx(4)


@pytest.mark.slow
def test_lyrics_have_the_tags_and_pitches_of_the_song(tmp_path: Path, graphs: Path) -> None:
    given = ["-t", "6", "-metadata", "title=Ünï", "-metadata", "artist=Ann"]
    convert(SONG / "mixture.flac", tmp_path / "song.flac", *given)
    code = """
from studio import transcribe
song = transcribe("song.flac", source="vocals")
for name in ("song.lrc", "song.ass", "song.ultrastar.txt"):
    song.write(name)
"""
    done = run(tmp_path, code, graphs)
    assert done.returncode == 0, done.stderr
    lrc, ass, ultrastar = (
        (tmp_path / name).read_text("utf-8")
        for name in ("song.lrc", "song.ass", "song.ultrastar.txt")
    )
    assert lrc.startswith("[ti:Ünï]\n[ar:Ann]\n")
    assert "\nTitle: Ünï\n" in ass
    assert ultrastar.startswith("#TITLE:Ünï\n#ARTIST:Ann\n#MP3:song.flac\n")
    assert re.search(r"^: \d+ \d+ -?\d+ ", ultrastar, re.M), "a note with a pitch"


@pytest.mark.parametrize(
    ("model", "keywords", "paths"),
    [
        ("demucs", library.SeparationKeywords, set()),
        ("whisper", library.TranscriptionKeywords, set()),
        ("musicgen", library.GenerationKeywords, {"continue_from", "melody_from"}),
    ],
)
def test_the_options_are_those_of_the_api(model: str, keywords: Any, paths: set[str]) -> None:
    fields = OPTIONS[model].model_fields
    left_out = {"source"} if model == "demucs" else set()
    hints = get_type_hints(keywords)
    assert list(hints) == [name for name in fields if name not in left_out]
    for name in hints.keys() - paths:
        assert kinds(hints[name]) <= kinds(fields[name].annotation) | {"string"}, name


def kinds(annotation: Any) -> set[str]:
    """The JSON types and the choices that a type allows."""
    schema = TypeAdapter(annotation).json_schema()
    parts = [schema, *schema.get("anyOf", [])]
    return {str(part[key]) for part in parts for key in ("type", "enum") if key in part}


def test_importing_the_package_loads_nothing(tmp_path: Path) -> None:
    code = "import sys, studio; print([name for name in sys.modules if 'studio' in name])"
    assert run(tmp_path, code).stdout == "['studio']\n"
    done = run(tmp_path, "import studio; studio.nothing")
    assert "module 'studio' has no attribute 'nothing'" in done.stderr


def test_only_settings_of_the_models_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**OF_OTHERS, "LOG_FORMAT": "pretty"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(library, "_shared", cache(library._shared.__wrapped__))
    with pytest.raises(FileNotFoundError):
        library.transcribe("absent.wav")
    library._shared.cache_clear()
    monkeypatch.setenv("DEVICE", "toaster")
    with pytest.raises(ConfigError, match="DEVICE='toaster' cannot be used"):
        library.transcribe("absent.wav")


def test_a_module_of_the_same_name_is_reported(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("DEBUG = True\n")
    done = run(tmp_path, "from studio import separate")
    assert done.returncode == 1
    assert f"{tmp_path / 'config.py'} has the name of a module of Audio Studio" in done.stderr


@pytest.mark.slow
def test_a_call_can_be_canceled_and_leaves_nothing(tmp_path: Path) -> None:
    write_wav(tmp_path / "song.wav", noise(1.0))
    code = """
from studio import separate
class Enough(Exception): pass
def report(stage, progress):
    if stage == "separating":
        raise Enough
try:
    separate("song.wav", "stems", report=report)
except Enough:
    print("canceled")
"""
    done = run(tmp_path, code + LEFT_BEHIND)
    assert done.stdout == "canceled\nleft []\n", done.stderr
    assert list((tmp_path / "stems").iterdir()) == []
    missing = run(tmp_path, "from studio import transcribe; transcribe('absent.wav')")
    assert "FileNotFoundError" in missing.stderr
