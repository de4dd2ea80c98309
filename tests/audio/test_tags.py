"""The tags of a recording, as ffmpeg lists them."""

import struct
from pathlib import Path

import pytest

from studio.audio import Tags, read_tags
from studio.audio.tags import MAX_BYTES
from tests.support.hostile_files import flac_block, flac_with
from tests.support.sounds import convert, noise, write_wav


@pytest.mark.parametrize(
    ("tags", "filename", "title", "artist"),
    [
        (Tags(), "song.mp3", "song", None),
        (Tags(), "Ann - Ünï - live.mp3", "Ünï - live", "Ann"),
        (Tags("Given", "Bob"), "Ann - Song.mp3", "Given", "Bob"),
        (Tags(None, "Bob"), "Ann - Song.mp3", "Song", "Bob"),
        (Tags(), " - .mp3", "-", None),
    ],
)
def test_tags_are_completed_from_the_file_name(
    tags: Tags, filename: str, title: str, artist: str | None
) -> None:
    completed = tags.completed(filename)
    assert (completed.title, completed.artist, completed.filename) == (title, artist, filename)


@pytest.mark.parametrize("ending", ["mp3", "flac", "ogg", "m4a", "wav"])
def test_tags_are_read(tmp_path: Path, ending: str) -> None:
    sound = write_wav(tmp_path / "plain.wav", noise(0.5))
    given = ["-metadata", "title=Ünï; = # 春", "-metadata", "artist=A\nB"]
    tagged = convert(sound, tmp_path / f"tagged.{ending}", *given)
    assert read_tags(tagged) == Tags("Ünï; = # 春", "A B")
    assert read_tags(sound) == Tags()


def test_joined_letters_and_emoji_stay_joined(tmp_path: Path) -> None:
    title, artist = "می\u200cخواهم", "👩\u200d🎤"
    given = ["-metadata", f"title={title}", "-metadata", f"artist={artist}\x7f\u2028B"]
    sound = convert(write_wav(tmp_path / "plain.wav", noise(0.5)), tmp_path / "a.flac", *given)
    assert read_tags(sound) == Tags(title, f"{artist} B")


def test_what_is_no_sound_has_no_tags(tmp_path: Path) -> None:
    text = tmp_path / "prompt.txt"
    text.write_text("title=no tag")
    assert read_tags(text) == Tags()


def test_a_title_is_read_after_lyrics_with_section_names(tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "plain.wav", noise(0.5))
    lyrics = "[Verse]\nOne line\n[Chorus]\nAnother line"
    given = ["-metadata", f"lyrics={lyrics}", "-metadata", "title=Song", "-metadata", "artist=Ann"]
    for ending in ("flac", "ogg"):
        tagged = convert(sound, tmp_path / f"tagged.{ending}", *given)
        assert read_tags(tagged) == Tags("Song", "Ann")


def test_the_title_of_a_chapter_is_not_that_of_the_recording(tmp_path: Path) -> None:
    chapters = tmp_path / "chapters.txt"
    chapters.write_text(
        ";FFMETADATA1\nartist=Ann\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=1\ntitle=Intro\n"
    )
    sound = write_wav(tmp_path / "plain.wav", noise(0.5))
    tagged = convert(sound, tmp_path / "book.m4a", "-i", str(chapters), "-map_metadata", "1")
    assert read_tags(tagged) == Tags(None, "Ann")


@pytest.mark.parametrize("name", [b"a", b"a\n"], ids=["letters", "line breaks"])
def test_a_tag_with_an_endless_name_is_read_over(tmp_path: Path, name: bytes) -> None:
    """In a time that grows with its square, this test would take hours."""
    sound = convert(write_wav(tmp_path / "plain.wav", noise(0.5)), tmp_path / "plain.flac")
    comments = [b"TITLE=Song", name * MAX_BYTES + b"=x"]
    body = b"".join(struct.pack("<I", len(one)) + one for one in comments)
    block = flac_block(4, struct.pack("<II", 0, len(comments)) + body)
    sound.write_bytes(flac_with(sound.read_bytes(), block))
    assert read_tags(sound) == Tags("Song")
