"""Commands replace only what earlier commands wrote, and know what is done."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from studio.cli.backend import LocalBackend, LocalFinishedJob
from studio.cli.record import FILE, Record
from tests.support.commands import Call
from tests.support.sounds import noise, write_wav

SEPARATE = ("separate", "song.wav", "--stems", "bass", "--json")
STEM = "separated/song/bass.wav"


def failure(lines: list[dict[str, str]]) -> tuple[str, str]:
    """Code and error of the only source."""
    line, _ = lines
    return line["code"], line["error"]


@pytest.mark.parametrize(
    ("command", "target"),
    [
        (SEPARATE[:-1], STEM),
        (("separate", "song.wav"), "separated/song/vocals.wav"),
        (("separate", "song.wav", "--karaoke"), "separated/song/instrumental.wav"),
        (("transcribe", "song.wav", "--format", "srt,txt"), "song.txt"),
        (("lyrics", "song.wav"), "song.lrc"),
        (("karaoke", "song.wav"), "song.karaoke.mp4"),
        (("analyse", "song.wav"), "song.analysis.json"),
        (("analyse", "song.wav", "--format", "flac"), "song.click.flac"),
    ],
)
def test_files_of_the_user_are_kept(
    tmp_path: Path,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    target: str,
) -> None:
    # They are found before the job, which takes minutes.
    monkeypatch.setattr(LocalBackend, "run", None)
    write_wav(tmp_path / "song.wav", noise(0.5))
    (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / target).write_text("mine")
    code, error = failure(call(tmp_path, *command, "--json", code=1))
    assert code == "file_exists", error
    assert error.startswith(f"{target!r} exists, and no earlier command wrote it")
    assert "`--overwrite`" in error
    assert (tmp_path / target).read_text() == "mine"
    assert {path.name for path in tmp_path.glob(".*")} == set()


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (("--background", "cover"), "invalid_option", "'song.wav' contains no JPEG or PNG"),
        (("--title", "歌"), "font_missing", "'歌'"),
        (("--lyrics", "words.txt"), "font_missing", "'くさら'"),
        (("--model", "base", "--language", "ja"), "font_missing", "hiragana"),
    ],
)
def test_what_a_video_lacks_is_found_before_the_job(
    tmp_path: Path,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    code: str,
    named: str,
) -> None:
    monkeypatch.setattr(LocalBackend, "run", None)
    monkeypatch.setattr(LocalBackend, "fetch", lambda *_: None)
    write_wav(tmp_path / "song.wav", noise(0.5))
    (tmp_path / "words.txt").write_text("[副歌]\nさくら\n", "utf-8")
    found, error = failure(call(tmp_path, "karaoke", "song.wav", *options, "--json", code=1))
    assert (found, named in error) == (code, True), error
    assert {path.name for path in tmp_path.iterdir()} == {"song.wav", "words.txt"}


def test_what_a_video_does_not_show_needs_no_font(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Begun(Exception):
        pass

    def begin(*_: object) -> LocalFinishedJob:
        raise Begun

    monkeypatch.setattr(LocalBackend, "run", begin)
    monkeypatch.setattr(LocalBackend, "fetch", lambda *_: None)
    write_wav(tmp_path / "song.wav", noise(0.5))
    (tmp_path / "words.txt").write_text("[副歌]\nSing with me\n", "utf-8")
    for options in (
        ("--lyrics", "words.txt"),
        ("--model", "base", "--language", "ja", "--lyrics", "words.txt"),
        ("--model", "base", "--language", "ja", "--task", "translate"),
    ):
        code, error = failure(call(tmp_path, "karaoke", "song.wav", *options, "--json", code=1))
        assert (code, "Begun" in error) == ("internal_error", True), error


def test_outputs_are_replaced_unless_they_were_changed(tmp_path: Path, call: Call) -> None:
    write_wav(tmp_path / "song.wav", noise(0.5))
    other, stem = (*SEPARATE, "--overlap", "0.5"), tmp_path / STEM
    assert call(tmp_path, *SEPARATE)[0]["status"] == "done"
    assert call(tmp_path, *other)[0]["status"] == "done"
    stem.write_text("changed")
    assert call(tmp_path, *other)[0]["status"] == "skipped"
    assert failure(call(tmp_path, *SEPARATE, code=1))[0] == "file_exists"
    assert stem.read_text() == "changed"
    assert call(tmp_path, *other, "--overwrite")[0]["status"] == "done", "it was changed"
    assert call(tmp_path, *other, "--overwrite")[0]["status"] == "skipped"
    assert stem.read_bytes()[:4] == b"RIFF"
    assert call(tmp_path, *SEPARATE)[0]["status"] == "done"
    assert {path.name for path in tmp_path.glob("separated/.*")} == {FILE}


def test_a_command_never_replaces_what_it_reads(tmp_path: Path, call: Call) -> None:
    write_wav(tmp_path / "song.wav", noise(0.5))
    (tmp_path / "song.lrc").write_text("la la la")
    (tmp_path / "bass").mkdir()
    content = write_wav(tmp_path / "bass" / "bass.wav", noise(0.5)).read_bytes()
    for command, named in (
        (("lyrics", "song.wav", "--lyrics", "song.lrc"), "'song.lrc' is an input"),
        (("separate", "bass/bass.wav", "-o", "."), "'bass/bass.wav' is an input"),
    ):
        lines = call(tmp_path, *command, "--overwrite", "--json", code=1)
        code, error = failure(lines)
        assert (code, error[: len(named)]) == ("file_exists", named)
    assert (tmp_path / "song.lrc").read_text() == "la la la"
    assert (tmp_path / "bass" / "bass.wav").read_bytes() == content


def test_work_is_not_done_if_its_outputs_were_replaced(tmp_path: Path, call: Call) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_wav(tmp_path / folder / "song.wav", noise(0.5, seed=ord(folder)))

    def status(folder: str) -> str:
        command = ("separate", f"{folder}/song.wav", "--stems", "bass", "--json")
        return str(call(tmp_path, *command)[0]["status"])

    assert [status(folder) for folder in "aabba"] == ["done", "skipped", "done", "skipped", "done"]


def test_interrupted_work_can_be_continued(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = LocalFinishedJob.write

    def interrupted(
        self: LocalFinishedJob, track: str, file_format: str, target: Path, offset_ms: int = 0
    ) -> None:
        if track == "vocals":
            raise OSError("interrupted")
        write(self, track, file_format, target, offset_ms)

    write_wav(tmp_path / "song.wav", noise(0.5))
    command = ("separate", "song.wav", "--stems", "bass,vocals", "--json")
    with monkeypatch.context() as patch:
        patch.setattr(LocalFinishedJob, "write", interrupted)
        assert failure(call(tmp_path, *command, code=1))[0] == "file_error"
    assert (tmp_path / STEM).is_file()
    assert call(tmp_path, *command)[0]["status"] == "done"


def test_commands_in_the_same_folder_keep_the_records_of_each_other(tmp_path: Path) -> None:
    records = [Record(tmp_path) for _ in range(4)]

    def write(number: int) -> None:
        for each in range(5):
            path = tmp_path / f"{number}-{each}"
            path.touch()
            records[number].write(path, path)
            records[number].add(path.name, [path])

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(len(records))))
    assert len(Record(tmp_path).all()) == 20
    for path in tmp_path.glob("?-?"):
        assert Record(tmp_path).outputs(path.name, unchanged=True) == [path]


def test_a_damaged_record_protects_files(tmp_path: Path) -> None:
    path = tmp_path / "song.lrc"
    path.touch()
    for content in ("", "[]", '{"done": [], "written": {}}', '{"done": {"key": 1}}'):
        (tmp_path / FILE).write_text(content)
        record = Record(tmp_path)
        assert (record.all(), record.outputs("key"), record.wrote(path)) == ([], [], False)
    record.write(path, path)
    assert record.wrote(path)
