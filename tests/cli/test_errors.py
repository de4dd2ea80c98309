"""What the command line says of mistakes, and of places that it cannot write to."""

from pathlib import Path
from typing import Any

import pytest

from studio.cli.backend import LocalBackend
from studio.separation.family import Separation
from studio.separation.network import Bag
from studio.separation.result import SeparationResult
from studio.storage.uploads import Upload
from tests.support.commands import Call
from tests.support.server import Server
from tests.support.sounds import noise, write_wav

MISTAKES: list[tuple[tuple[str, ...], str, dict[str, Any]]] = [
    (("separate", "--model", "none"), "demucs", {"model_variant": "none"}),
    (("separate", "--stems", "flute"), "demucs", {"stems": ["flute"]}),
    (("separate", "--overlap", "2"), "demucs", {"overlap": 2.0}),
    (("separate", "--shifts", "many"), "demucs", {"shifts": "many"}),
    (("separate", "--format", "doc"), "demucs", {"format": "doc"}),
    (("transcribe", "--model", "none"), "whisper", {"model_variant": "none"}),
    (("transcribe", "--language", "xx"), "whisper", {"language": "xx"}),
    (("transcribe", "--source", "voice"), "whisper", {"source": "voice"}),
    (
        ("transcribe", "--source", "vocals", "--separation-variant", "none"),
        "whisper",
        {"source": "vocals", "separation_variant": "none"},
    ),
    (("lyrics", "--beam-size", "0"), "whisper", {"source": "vocals", "beam_size": 0}),
    (("analyse", "--count-in-bars", "99"), "analysis", {"count_in_bars": 99}),
    (("generate", "--duration", "0"), "musicgen", {"duration": 0.0}),
    (("generate", "--seed", "first"), "musicgen", {"seed": "first"}),
    (("generate", "--model", "none"), "musicgen", {"model_variant": "none"}),
]
"""Commands with a mistake, and the request that makes the same one on a server."""


def test_errors_are_those_of_the_api(tmp_path: Path, call: Call, server: Server) -> None:
    song = write_wav(tmp_path / "song.wav", noise(0.5))
    (tmp_path / "prompt.txt").write_text("piano", "utf-8")
    heard, read = server.upload(song), server.upload(tmp_path / "prompt.txt")
    for (command, *options), model, body in MISTAKES:
        source, file_id = ("piano", read) if command == "generate" else ("song.wav", heard)
        # With the default variant of the server.
        given = (command, source, *options, "--json")
        line = call(tmp_path, *given, code=1, DEMUCS_MODEL="tiny")[0]
        answer = server.process(file_id, model, **body).json()
        assert (line["code"], line["error"]) == (answer["code"], answer["error"]), body
    for content in (b"", b"no audio"):
        song.write_bytes(content)
        line = call(tmp_path, "separate", "song.wav", "--json", code=1)[0]
        with open(song, "rb") as file:
            answer = server.post("/upload", files={"file": file}).json()
        assert (line["code"], line["error"]) == (answer["code"], answer["error"])
    assert not (tmp_path / "separated").exists()


def test_mistakes_that_the_api_does_not_know(tmp_path: Path, call: Call) -> None:
    write_wav(tmp_path / "song.wav", noise(0.5))
    for arguments, code, named in (
        (("separate", "absent.wav"), "unknown_file", "does not exist"),
        (("separate", "song.wav", "--karaoke", "--stems", "bass"), "invalid_option", "--karaoke"),
        (("transcribe", "song.wav", "--format", "doc"), "unknown_format", "'doc'"),
    ):
        line = call(tmp_path, *arguments, "--json", code=1)[0]
        assert line["code"] == code, arguments
        assert named in line["error"]
    assert not (tmp_path / "separated").exists()


def test_a_level_may_be_given_in_negative_decibels(tmp_path: Path, call: Call) -> None:
    write_wav(tmp_path / "song.wav", noise(0.5))
    # Both are refused, so that no video is made: the first because of its size.
    for level, size, named in (("-6.5dB", "1x1", "`size`"), ("-6..dB", "320x180", "`vocals`")):
        command = ("karaoke", "song.wav", "--vocals", level, "--size", size, "--json")
        [line] = call(tmp_path, *command, code=1)
        assert (line["code"], line["error"][: len(named)]) == ("invalid_option", named)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, call: Call) -> None:
    song = str(write_wav(tmp_path / "song.wav", noise(0.5)))
    for output in (song, f"{song}/stems"):
        [line] = call(tmp_path, "separate", song, "-o", output, "--json", code=1)
        assert line["code"] == "invalid_option"
        assert f"{output!r} cannot be used, because {song!r} is a file" in line["error"]
        assert "`--output`" in line["error"]
    # Nobody can write there, not even root.
    [line] = call(Path("/proc"), "transcribe", song, "--json", code=1)
    assert line["code"] == "storage_unavailable"
    assert line["error"].startswith("The folder '/proc' cannot be written (")
    [line] = call(Path("/proc"), "models", "--json")
    assert "demucs" in line["models"]


def test_outputs_that_cannot_be_written_are_found_before_the_job(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalBackend, "run", None)
    write_wav(tmp_path / "song.wav", noise(0.5))
    separated, stems = tmp_path / "separated", tmp_path / "separated" / "song"

    def refusal() -> tuple[str, str]:
        line, _ = call(tmp_path, "separate", "song.wav", "--json", code=1)
        return line["code"], line["error"]

    separated.touch()
    sentence = f"The folder {str(separated)!r} cannot be used, because {str(separated)!r} is a file"
    assert refusal()[0] == "invalid_option" and refusal()[1].startswith(sentence)
    separated.unlink()
    separated.mkdir()
    stems.touch()
    assert refusal()[0] == "invalid_option" and f"because {str(stems)!r} is a file" in refusal()[1]
    stems.unlink()
    for target in ("/proc", "absent"):
        stems.symlink_to(target)
        code, error = refusal()
        assert code == "storage_unavailable"
        assert error.startswith(f"The folder {str(stems)!r} cannot be written (")
        stems.unlink()
    assert list(separated.iterdir()) == []


def test_an_unexpected_error_fails_one_file_only(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        write_wav(tmp_path / name, noise(0.5))
    work = Separation.work

    def broken(self: Separation, model: Bag, upload: Upload, context: Any) -> SeparationResult:
        if upload.filename == "b.wav":
            raise MemoryError("no memory for b.wav")
        return work(self, model, upload, context)

    monkeypatch.setattr(Separation, "work", broken)
    command = ("separate", "a.wav", "b.wav", "c.wav", "--stems", "bass", "--json")
    *files, summary = call(tmp_path, *command, code=1)
    assert [line["status"] for line in files] == ["done", "failed", "done"]
    assert (files[1]["source"], files[1]["code"]) == ("b.wav", "internal_error")
    assert "MemoryError" in files[1]["error"]
    assert summary == {"status": "summary", "done": 2, "skipped": 0, "failed": 1}
    assert "no memory for b.wav" in caplog.text, "the log has the traceback"
