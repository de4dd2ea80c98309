"""Each file gets separate outputs, and outputs are not used as sources."""

from pathlib import Path

import pytest

from studio.cli.record import Record
from studio.cli.sources import items_of
from studio.errors import InvalidOption


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(*sources: str, output: Path | None = None) -> list[str]:
    return [item.name for item in items_of(sources, {"mp3", "wav"}, output)]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("files", "sources", "expected"),
    [
        (["a/1.mp3", "a/b/2.WAV", "a/x.txt"], ["a"], ["1", "b/2"]),
        (["a/1.mp3", "a/1.wav"], ["a"], ["1.mp3", "1.wav"]),
        (["a/1.mp3", "b/1.mp3"], ["a", "b"], ["a/1", "b/1"]),
        (["a/1.mp3", "b/1.mp3"], ["a/1.mp3", "b/1.mp3"], ["a/1", "b/1"]),
        (["a/1.mp3", "b/1.MP3"], ["a", "b"], ["a/1", "b/1"]),
        (["x/a/1.mp3", "y/a/1.mp3"], ["x/a", "y/a"], ["a/1.mp3", "a/1.mp3 (2)"]),
        (["a/1.mp3"], ["a", "a/1.mp3", "./a"], ["1"]),
        (["a/.hidden.mp3", "a/.git/1.mp3", "a/2.mp3"], ["a"], ["2"]),
        (["a/歌 1.mp3"], ["a/歌 1.mp3"], ["歌 1"]),
    ],
)
def test_names_are_unique(
    tmp_path: Path, files: list[str], sources: list[str], expected: list[str]
) -> None:
    make(tmp_path, *files)
    assert names(*sources) == expected


def test_outputs_are_not_used_as_sources(tmp_path: Path) -> None:
    make(tmp_path, "a/1.mp3", "a/separated/2/vocals.wav", "a/1/vocals.wav", "a/own/3.wav")
    assert names("a", output=Path("a/separated")) == ["1/vocals", "1", "own/3"]
    for folder, output in (("a", "1/vocals.wav"), ("a/separated", "2/vocals.wav")):
        path = Path(folder, output)
        Record(Path(folder)).write(path, path)
    assert names("a", output=Path("a")) == ["1", "own/3"]
    assert names("a") == ["1", "own/3"]
    assert names("a/1/vocals.wav") == ["vocals"], "a file that is named is always used"


def test_a_folder_without_audio_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, "a/x.txt")
    with pytest.raises(InvalidOption, match=r"no files with the extensions .mp3, .wav"):
        names("a")
