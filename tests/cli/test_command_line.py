"""The command line does what the API does, with the same options, on whole folders."""

import argparse
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile

from models import OPTIONS
from studio import audio
from studio.cli.commands import COMMANDS
from studio.cli.main import parser_of
from studio.cli.options import FILES, FLAGS, SOUNDS, flag_of
from studio.separation.family import Separation
from studio.separation.network import Bag
from studio.separation.result import SeparationResult
from studio.storage.uploads import Upload
from tests.support.commands import OF_OTHERS, PIPE_BYTES, Call, Show, environment
from tests.support.music import make_music_model
from tests.support.sounds import SONG, noise, write_wav
from tests.support.speech import RECORDING
from tests.support.tunes import tune

SONGS = 20
BROKEN = 7


def start(folder: Path, weights: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "studio", *arguments],
        cwd=folder,
        env=environment(weights),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    folder: Path, weights: Path, *arguments: str, code: int = 0
) -> tuple[list[dict[str, Any]], str]:
    """The lines of JSON that a command prints, and its errors."""
    process = start(folder, weights, *arguments)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")], errors


def test_a_reader_that_ends_early_ends_the_command(tmp_path: Path, weights: Path) -> None:
    with start(tmp_path, weights, "models", "--json") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_variables_of_other_programs_have_no_effect(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OF_OTHERS.items():
        monkeypatch.setenv(name, value)
    [line], errors = run(tmp_path, weights, "models", "--json")
    assert ("demucs" in line["models"], errors) == (True, "")
    # A setting of the models; help needs none.
    monkeypatch.setenv("DEVICE", "toaster")
    assert run(tmp_path, weights, "--help") == ([], "")
    _, errors = run(tmp_path, weights, "models", code=1)
    assert errors.startswith("audio-studio: DEVICE='toaster' cannot be used: ")


@pytest.fixture(scope="module")
def musicians(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings with a small melody model as the default for music."""
    folder = tmp_path_factory.mktemp("musicians")
    make_music_model(folder / "musicgen" / "tune", is_melody=True)
    return {"MODEL_DIR": str(folder), "MUSICGEN_MODEL": "tune", "MUSICGEN_ENGINE": "torch"}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a working directory above it: twenty songs, one of them broken."""
    folder = tmp_path_factory.mktemp("cli")
    for number in range(SONGS):
        path = folder / "songs" / f"disc {number % 2}" / f"Lied {number:02} 歌.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, noise(0.5, seed=number))
        if number == BROKEN:
            path.write_bytes(b"no audio")
    return folder


def line_of(descriptor: int) -> bytes:
    """Read a line, and no byte after it."""
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(descriptor, 1)
    return line


@pytest.mark.slow
def test_a_folder_is_worked_through_interrupted_and_resumed(songs: Path, weights: Path) -> None:
    command = ("separate", "songs", "-o", "out", "--stems", "vocals", "--format", "flac", "--json")
    process = start(songs, weights, *command)
    assert process.stdout is not None
    # A pipe that holds a few lines, so that the program cannot be done before it is interrupted.
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    first = [json.loads(line_of(process.stdout.fileno())) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert json.loads(rest.splitlines()[-1])["code"] == "interrupted"
    hidden = [path.name for path in (songs / "out").rglob(".*")]
    assert hidden in ([], [".audio-studio.json"])
    types = {path.suffix for path in (songs / "out").rglob("*") if path.is_file()}
    assert types <= {".flac", ".json"}
    lines, _ = run(songs, weights, *command, code=1)
    *each, summary = lines
    by_source = {line["source"]: line for line in each}
    assert len(by_source) == SONGS
    for line in first:
        if line["status"] == "done":
            assert by_source[line["source"]]["status"] == "skipped"
    [broken] = [line for line in each if line["status"] == "failed"]
    assert f"Lied {BROKEN:02}" in broken["source"]
    assert (broken["code"], summary["failed"]) == ("not_audio", 1)
    assert summary["done"] + summary["skipped"] == SONGS - 1
    written = sorted((songs / "out").rglob("*.flac"))
    assert len(written) == SONGS - 1
    for path in written:
        assert soundfile.info(path).frames == 22_050
        assert path.name == "vocals.flac"
    again, _ = run(songs, weights, *command, code=1)
    assert again[-1] == {"status": "summary", "done": 0, "skipped": SONGS - 1, "failed": 1}


def test_other_options_or_content_are_worked_on_again(songs: Path, call: Call) -> None:
    song = write_wav(songs / "one.wav", noise(0.5, seed=99))
    command = ("separate", "one.wav", "-o", "again", "--json")
    assert call(songs, *command, "--karaoke")[0]["status"] == "done"
    assert {path.name for path in (songs / "again" / "one").iterdir()} == {
        "vocals.wav",
        "instrumental.wav",
    }
    assert call(songs, *command, "--karaoke")[0]["status"] == "skipped"
    assert call(songs, *command)[0]["status"] == "done"
    write_wav(song, noise(0.5, seed=100))
    assert call(songs, *command)[0]["status"] == "done"
    (songs / "again" / "one" / "bass.wav").unlink()
    assert call(songs, *command)[0]["status"] == "done"


def test_speech_becomes_text_beside_the_file(tmp_path: Path, call: Call) -> None:
    (tmp_path / "talk.flac").write_bytes(RECORDING.read_bytes())
    lines = call(tmp_path, "transcribe", "talk.flac", "--format", "srt,txt", "--json")
    assert lines[0]["outputs"] == ["talk.srt", "talk.txt"]
    assert lines[0]["result"]["words"] > 10
    assert "-->" in (tmp_path / "talk.srt").read_text()


@pytest.mark.slow
def test_music_is_generated_from_a_sentence(tmp_path: Path, weights: Path) -> None:
    command = ("generate", "Slow, sad piano!", "--duration", "1", "--seed", "7", "--json")
    lines, _ = run(tmp_path, weights, *command, "--variations", "2")
    assert lines[0]["outputs"] == ["slow-sad-piano.wav", "slow-sad-piano_2.wav"]
    assert lines[0]["result"]["seed"] == 7
    assert run(tmp_path, weights, *command, "--variations", "2")[0][0]["status"] == "skipped"


def test_prompts_of_the_same_name_get_different_files(
    tmp_path: Path, call: Call, musicians: dict[str, str]
) -> None:
    prompts = ("sad piano!", "Sad, piano")
    command = ("generate", *prompts, "--duration", "1", "--variations", "2", "--json")

    def outputs(*more: str) -> list[list[str]]:
        lines = call(tmp_path, *command, *more, **musicians)
        return [line["outputs"] for line in lines if line["status"] == "done"]

    def names(number: str = "") -> list[str]:
        return [f"sad-piano{number}.wav", f"sad-piano{number}_2.wav"]

    assert outputs("--seed", "7") == [names(), names(" (2)")]
    first = (tmp_path / "sad-piano.wav").read_bytes()
    assert first != (tmp_path / "sad-piano (2).wav").read_bytes()
    assert outputs("--seed", "7") == [], "already done"
    assert outputs("--seed", "8") == [names(" (3)"), names(" (4)")]
    assert outputs() == [names(" (5)"), names(" (6)")]
    assert (tmp_path / "sad-piano.wav").read_bytes() == first
    (tmp_path / "sad-piano (4)_2.wav").unlink()
    assert outputs("--seed", "8") == [names(" (4)")], "its own files are replaced"


def test_music_continues_from_a_file_and_follows_a_melody(
    tmp_path: Path, call: Call, musicians: dict[str, str]
) -> None:
    write_wav(tmp_path / "start.wav", noise(2.0, channels=1))
    command = ("generate", "piano", "--duration", "1", "--seed", "7", "--json")
    longer = (*command, "--continue-from", "start.wav", "--melody-from", "start.wav")
    assert call(tmp_path, *command, **musicians)[0]["outputs"] == ["piano.wav"]
    assert call(tmp_path, *longer, **musicians)[0]["outputs"] == ["piano (2).wav"]
    assert soundfile.info(tmp_path / "piano (2).wav").duration == pytest.approx(3.0, abs=0.1)
    assert call(tmp_path, *longer, **musicians)[0]["status"] == "skipped"
    write_wav(tmp_path / "start.wav", noise(2.0, channels=1, seed=1))
    assert call(tmp_path, *longer, **musicians)[0]["outputs"] == ["piano (3).wav"]
    for path, code in (("absent.wav", "unknown_file"), ("broken.wav", "not_audio")):
        (tmp_path / "broken.wav").write_bytes(b"no audio")
        [line] = call(tmp_path, *command, "--melody-from", path, code=1, **musicians)
        assert (line["source"], line["code"]) == ("audio-studio", code)
    assert {path.name for path in tmp_path.glob(".*")} == {".audio-studio.json"}


def test_a_terminated_command_leaves_nothing_behind(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wav(tmp_path / "song.wav", noise(0.5))
    work = Separation.work
    begun: list[Path] = []

    def terminated(self: Separation, model: Bag, upload: Upload, context: Any) -> SeparationResult:
        result = work(self, model, upload, context)
        begun.extend(tmp_path.rglob("bass.wav"))
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        return result

    monkeypatch.setattr(Separation, "work", terminated)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as ended:
            call(tmp_path, "separate", "song.wav", "--json")
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert ended.value.code == 128 + signal.SIGTERM, "SIGHUP is ignored"
    assert len(begun) == 1
    assert {path.name for path in tmp_path.rglob("*")} == {"song.wav"}
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_without_a_terminal_it_prints_results_only(tmp_path: Path, weights: Path) -> None:
    write_wav(tmp_path / "song.wav", noise(0.5))
    process = start(tmp_path, weights, "separate", "song.wav", "--stems", "bass")
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert output.startswith("song.wav: separated/song/bass.wav in ")
    assert "\x1b" not in output


def test_a_terminal_shows_a_bar_and_results(
    tmp_path: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    for name in ("one.wav", "two.wav"):
        write_wav(tmp_path / name, noise(2.0))
    command = ("separate", "one.wav", "two.wav", "--stems", "bass")
    shown = show(tmp_path, *command)
    assert "100%" in shown and "separating" in shown
    assert "two.wav: separated/two/bass.wav in " in shown
    assert "2 done, 0 already done, 0 failed" in shown
    assert "one.wav: already done" in show(tmp_path, *command)
    shown = show(tmp_path, "models")
    assert "swift (default)" in shown and "bundled" in shown


def test_a_file_whose_end_is_not_recorded_gets_a_remark(tmp_path: Path, call: Call) -> None:
    """As a WAV that was written into a pipe."""
    song = bytearray(write_wav(tmp_path / "song.wav", noise(0.5)).read_bytes())
    song[4:8] = song[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "song.wav").write_bytes(song)
    lines = call(tmp_path, "separate", "song.wav", "--stems", "bass", "--json")
    assert [line["status"] for line in lines] == ["note", "done", "summary"]
    assert "does not record where it ends" in lines[0]["note"]


def test_a_file_name_that_is_not_utf_8_is_worked_on(tmp_path: Path, call: Call, show: Show) -> None:
    name = os.fsdecode(b"caf\xe9.flac")
    (tmp_path / name).write_bytes(RECORDING.read_bytes())
    command = ("transcribe", ".", "--format", "txt,lrc")
    [line, _] = call(tmp_path, *command, "--json")
    stem = os.fsdecode(b"caf\xe9")
    assert (line["status"], line["source"]) == ("done", name)
    assert line["outputs"] == [f"{stem}.txt", f"{stem}.lrc"]
    assert (tmp_path / f"{stem}.lrc").stat().st_size > 0
    assert show(tmp_path, *command) == "caf\\udce9.flac: already done\n"


def test_models_are_listed(tmp_path: Path, call: Call) -> None:
    [line] = call(tmp_path, "models", "--json")
    assert line["models"]["demucs"]["variants"]["mini"]["weights"] == "bundled"
    assert list(tmp_path.iterdir()) == []


def test_every_option_of_the_api_has_a_flag() -> None:
    """One source: names, help and choices come from the schemas."""
    parser = parser_of(OPTIONS)
    [commands] = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    for command in COMMANDS:
        flags = commands.choices[command.name]._option_string_actions
        for name, field in OPTIONS[command.model].model_fields.items():
            if name in command.excluded:
                assert flag_of(name) not in flags
                continue
            assert flag_of(name) in flags, f"{command.name} has no {flag_of(name)}"
            if about := FILES.get(name) or SOUNDS.get(name):
                assert flags[flag_of(name)].help == about
            elif name != "format":
                shown = str(flags[flag_of(name)].help).replace("%%", "%")
                assert shown.startswith(field.description or "")
    assert set(FLAGS) <= set.union(*(set(one.model_fields) for one in OPTIONS.values()))


@pytest.mark.slow
def test_songs_are_analysed_beside_the_file(tmp_path: Path, weights: Path) -> None:
    write_wav(tmp_path / "song.wav", tune(0)[1])
    lines, _ = run(tmp_path, weights, "analyse", "song.wav", "--count-in-bars", "1", "--json")
    assert lines[0]["outputs"] == ["song.analysis.json", "song.click.wav"]
    assert json.loads((tmp_path / "song.analysis.json").read_text("utf-8"))["beats_per_bar"] == 4
    assert run(tmp_path, weights, "analyse", "song.wav", "--no-click", "--json")[0][0][
        "outputs"
    ] == ["song.analysis.json"]


@pytest.mark.slow
def test_karaoke_makes_texts_and_a_video_beside_the_song(tmp_path: Path, weights: Path) -> None:
    """With the bundled models, which find words in the bundled song."""
    sound, rate_hz = soundfile.read(SONG / "mixture.flac", frames=6 * 44_100)
    soundfile.write(tmp_path / "song.wav", sound, rate_hz)
    command = ["karaoke", "song.wav", "--separation-variant", "mini", "--size", "320x180"]
    command += ["--vocals", "0.15", "--key", "-1", "--offset-ms", "2000", "--json"]
    lines, _ = run(tmp_path, weights, *command)
    assert lines[0]["outputs"] == ["song.lrc", "song.ass", "song.karaoke.mp4"]
    video = audio.probe(tmp_path / "song.karaoke.mp4")
    assert video.duration_s == pytest.approx(6.0, abs=0.05)
    times = re.findall(r"^\[(\d\d:\d\d)", (tmp_path / "song.lrc").read_text("utf-8"), re.MULTILINE)
    assert times and min(times) >= "00:02"
    assert run(tmp_path, weights, *command)[0][0]["status"] == "skipped"
    assert (
        "`size` is '1x1'"
        in run(tmp_path, weights, *command, "--size", "1x1", code=1)[0][0]["error"]
    )
