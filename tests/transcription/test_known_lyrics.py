"""Known lyrics are put in time: the caller's words, where they are said, and nowhere else."""

from typing import Any

import numpy as np
import pytest

from studio.transcription.alignment.align import LineWriter
from studio.transcription.alignment.lyrics import read_lyrics
from studio.transcription.alignment.matching import Heard, matched
from studio.transcription.alignment.voice_time import VoiceTime
from studio.transcription.engine import TimedText
from studio.transcription.formats import FORMATS
from studio.transcription.transcript import Segment, Transcript, Word
from tests.support.problems import assert_problem
from tests.support.server import Server
from tests.support.speech import RECORDING, Spoken, again, data, text
from tests.support.speech import spoken as what_is_said
from tests.support.subtitles import read_lrc, read_srt

LATE_S, MEDIAN_S = 0.3, 0.06
UNSAID = "Twinkle, twinkle, little star"


@pytest.fixture(scope="module")
def recording(speaker: Server) -> str:
    return speaker.upload(RECORDING)


@pytest.fixture(scope="module")
def spoken() -> Spoken:
    return what_is_said()


def upload_text(server: Server, content: str) -> str:
    answer = server.post("/upload", files={"file": ("words.txt", content.encode())})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["file_id"])


def words_in(transcript: dict[str, Any]) -> list[dict[str, Any]]:
    return [word for segment in transcript["segments"] for word in segment["words"]]


def late_s(spoken: Spoken, words: list[dict[str, Any]]) -> list[float]:
    """How far each word of the recording is from its true start."""
    truth = [start_s for _, start_s, _ in spoken.words]
    assert len(words) == len(truth)
    return [abs(word["start_s"] - start_s) for word, start_s in zip(words, truth, strict=True)]


def test_the_words_of_the_caller_get_their_times(
    speaker: Server, recording: str, spoken: Spoken
) -> None:
    lines = [sentence.upper().replace("E", "É") for sentence in spoken.sentences]
    lyrics = "[Verse 1]\n\n" + "\n".join([*lines[:2], "", "", *lines[2:]])
    job = again(speaker, recording, lyrics=upload_text(speaker, lyrics))
    assert job["options"]["lyrics"] == lyrics
    found = data(speaker, recording)
    assert [segment["text"] for segment in found["segments"]] == lines
    assert [segment.get("blank_lines_before", 0) for segment in found["segments"][:4]] == [
        0, 0, 2, 0
    ]  # fmt: skip
    late = late_s(spoken, words_in(found))
    assert np.median(late) <= MEDIAN_S
    assert np.quantile(late, 0.95) <= LATE_S
    assert job["result"]["placed"] == job["result"]["words"] == len(spoken.words)
    assert job["result"]["note"] is None
    assert text(speaker, recording).splitlines() == [*lines[:2], "", "", *lines[2:]]
    lrc = read_lrc(text(speaker, recording, "lrc"))
    assert [line.split() for _, line in lrc] == [line.split() for line in lines]


def test_other_words_do_not_derail_the_rest(
    speaker: Server, recording: str, spoken: Spoken
) -> None:
    """A line that is not said, one that is left out, one said again and one in another order."""
    first, second, third, *rest = spoken.sentences
    lyrics = "\n".join([first, UNSAID, second, *rest])
    job = again(speaker, recording, lyrics=lyrics)
    segments = data(speaker, recording)["segments"]
    assert segments[1]["placed"] is False
    assert all(word["placed"] is False for word in segments[1]["words"])
    assert job["result"]["words"] - job["result"]["placed"] == len(UNSAID.split())
    assert "4 of" in job["result"]["note"]
    words = [word for number, one in enumerate(segments) if number != 1 for word in one["words"]]
    left_out = len(third.split())
    begin = len(first.split()) + len(second.split())
    truth = [start_s for _, start_s, _ in spoken.words]
    del truth[begin : begin + left_out]
    late = [abs(word["start_s"] - start_s) for word, start_s in zip(words, truth, strict=True)]
    assert np.median(late) <= MEDIAN_S
    assert np.quantile(late, 0.95) <= LATE_S
    assert UNSAID in text(speaker, recording)
    assert UNSAID not in text(speaker, recording, "srt")


def test_lyrics_of_another_song_are_not_placed(speaker: Server, recording: str) -> None:
    job = again(speaker, recording, lyrics=f"{UNSAID}\nHow I wonder what you are")
    assert job["result"]["placed"] == 0
    assert text(speaker, recording, "srt") == ""
    assert UNSAID in text(speaker, recording)


@pytest.mark.parametrize(
    ("code", "options", "names"),
    [
        ("invalid_option", {"lyrics": ""}, "no words"),
        ("invalid_option", {"lyrics": "[Chorus]\n♪ - ♪"}, "no words"),
        ("invalid_option", {"lyrics": "a" * 20_001}, "20000"),
        ("invalid_option", {"lyrics": "oh " * 1000}, "Line 1"),
        ("invalid_option", {"lyrics": "oh \x1b[31m"}, "U+001B"),
        ("invalid_option", {"lyrics": "0" * 32}, "does not exist"),
        ("invalid_option", {"lyrics": "oh", "task": "translate"}, "translated"),
        ("invalid_option", {"lyrics": "oh", "word_timestamps": False}, "word_timestamps"),
        ("invalid_option", {"lyrics": ["oh"]}, "lyrics"),
    ],
)
def test_lyrics_that_cannot_be_used(
    speaker: Server, recording: str, code: str, options: dict[str, Any], names: str
) -> None:
    assert_problem(speaker.process(recording, "whisper", **options), code, names)


def test_lyrics_that_are_a_recording(speaker: Server, recording: str) -> None:
    answer = speaker.process(recording, "whisper", lyrics=recording)
    assert_problem(answer, "invalid_option", "flac")


def test_lines_and_words() -> None:
    lines = read_lyrics("[ti:x]\r\n\r\n[00:01.50]Hey - you\n\n♪ 春江，月 ♪\n<00:02.00>oh")
    assert [line.text for line in lines] == ["Hey - you", "♪ 春江，月 ♪", "oh"]
    assert [line.words for line in lines] == [
        (" Hey -", " you"), (" ♪ 春", "江，", "月 ♪"), (" oh",)
    ]  # fmt: skip
    assert [line.blank_lines_before for line in lines] == [0, 1, 0]


@pytest.mark.parametrize(
    ("lyrics", "said", "places"),
    [
        ("one two three four", "one two four", [0, 1, -1, 2]),
        ("one two three", "one oh yeah two three", [0, 3, 4]),
        ("Café Über", "cafe uber", [0, 1]),
        ("one two three four five", "one two one two three four five", [2, 3, 4, 5, 6]),
    ],
)
def test_matching(lyrics: str, said: str, places: list[int]) -> None:
    heard = [Heard(word, word, n, n + 1) for n, word in enumerate(said.split())]
    pairs = matched(lyrics.split(), heard, VoiceTime(None, len(heard)))
    assert [pair.first for pair in pairs] == places


def test_matching_leaves_time_for_words_that_were_not_heard() -> None:
    verse = ["one", "two", "three", "four"]
    for start_s, places in ((2, [-1, -1, 0, 1, -1, -1, -1, -1]), (7, [-1] * 6 + [0, 1])):
        heard = [Heard(word, word, at_s, at_s + 1) for at_s, word in enumerate(verse[2:], start_s)]
        pairs = matched(verse * 2, heard, VoiceTime(None, 9))
        assert [pair.first for pair in pairs] == places


def test_long_texts_match_across_blocks() -> None:
    words = [f"{number:03d}" for number in range(400)]
    heard = [Heard(word, word, n, n + 1) for n, word in enumerate(words) if n % 7]
    pairs = matched(words, heard, VoiceTime(None, 400))
    assert [heard[pair.first].key for pair in pairs if pair.is_equal] == [one.key for one in heard]


def test_a_line_does_not_begin_before_the_end_of_the_one_in_front() -> None:
    lines = LineWriter(read_lyrics("one two\nthree four")).write(
        [
            TimedText(1.0, 1.5, 0.9),
            TimedText(1.5, 2.5, 0.9),
            TimedText(0.5, 2.0, 0.9),
            TimedText(3.0, 3.5, 0.9),
        ]
    )
    assert [(line.start_s, line.end_s) for line in lines] == [(1.0, 2.5), (2.5, 3.5)]
    assert [word.start_s for line in lines for word in line.words] == [1.0, 1.5, 2.5, 3.0]


def test_words_without_a_place_in_every_format() -> None:
    words = (
        Word(" No", 1.0, 1.0, 0.0, placed=False),
        Word(" one", 1.0, 1.5, 0.9),
        Word(" knows", 1.5, 1.5, 0.0, placed=False),
        Word(" this", 1.5, 2.0, 0.9),
    )
    unsung = Word(" never", 2.0, 2.0, 0.0, placed=False)
    transcript = Transcript(
        "en",
        1.0,
        9.0,
        (
            Segment(1.0, 2.0, "No one knows this", words),
            Segment(2.0, 2.0, "never", (unsung,), placed=False, blank_lines_before=1),
        ),
    )
    assert Transcript.from_dict(transcript.to_dict()) == transcript
    written = {name: write(transcript) for name, (write, _) in FORMATS.items()}
    assert written["txt"] == "No one knows this\n\nnever\n"
    assert "[00:01.00]<00:01.00>No one knows <00:01.50>this <00:02.00>\n" in written["lrc"]
    assert [" ".join(lines) for _, _, lines in read_srt(written["srt"])] == ["No one knows this"]
    for name in FORMATS.keys() - {"txt", "json"}:
        assert "never" not in written[name]
