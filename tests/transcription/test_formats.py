"""Subtitles, lyrics and the other formats of a transcript: valid, in order, each word once."""

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import wcwidth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.storage.on_demand import Abandoned, OnDemand, Requester, requested_by
from studio.transcription.cues import (
    LINE_CHARACTERS,
    LINE_COLUMNS,
    MAX_CUE_S,
    MAX_LINES,
    READABLE_CUE_S,
)
from studio.transcription.formats import (
    FORMATS,
    to_json,
    to_lrc,
    to_plain_vtt,
    to_srt,
    to_tsv,
    to_txt,
    to_vtt,
)
from studio.transcription.karaoke import to_ass, to_ultrastar
from studio.transcription.line_breaks import columns
from studio.transcription.transcript import Segment, Transcript, Word
from studio.web.compat.openai.answers import deltas
from tests.support.subtitles import read_ass, read_lrc, read_srt, read_vtt

SPOKEN = Transcript(
    "en",
    0.9876,
    3661.4,
    (
        Segment(
            0.5,
            2.25,
            " Start <b>& go",
            (
                Word(" Start", 0.5, 1.0, 0.9),
                Word(" <b>&", 1.0, 1.5, 0.8),
                Word(" go", 1.75, 2.25, 0.7),
            ),
            -0.25,
            0.01,
            1.1,
        ),
        Segment(3659.0, 3661.0, " up down"),
    ),
)
SRT = """1
00:00:00,500 --> 00:00:02,250
Start <b>& go

2
01:00:59,000 --> 01:01:01,000
up down
"""
VTT = """WEBVTT

00:00:00.500 --> 00:00:02.250
Start <00:00:01.000>&lt;b&gt;&amp; <00:00:01.750>go

01:00:59.000 --> 01:01:01.000
up down
"""
PLAIN_VTT = re.sub(r"<[\d:.]+>", "", VTT)
LRC = """[length:61:01]
[la:en]
[00:00.50]<00:00.50>Start <00:01.00><b>& <00:01.75>go <00:02.25>
[60:59.00]up down
"""


def letters(text: str) -> str:
    """The text without any white space: what must neither be lost nor doubled."""
    return "".join(text.split())


def said(transcript: Transcript) -> str:
    """What the transcript holds: the words, or the text of segments that have none."""
    return "".join(
        letters("".join(word.text for word in segment.words)) or letters(segment.text)
        for segment in transcript.segments
    )


TIMES = st.floats(0, 20_000).map(lambda time_s: round(time_s, 3)) | st.just(0.0)
# Time marks of formats inside of the text are not told apart from the formats' own.
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["", " ", " go", " 再见", "\n", " a\n\nb", "\r", "\u2028", " -->", "1", " x" * 50, "ä" * 300]
)
WORDS = st.builds(
    lambda text, start_s, length_s: Word(text, start_s, round(start_s + length_s, 3), 0.5),
    TEXTS,
    TIMES,
    st.sampled_from([0.0, 0.02, 0.3, 2.0, 30.0]),
)
SEGMENTS = st.builds(
    lambda text, start_s, length_s, words: Segment(
        start_s, round(start_s + length_s, 3), text, tuple(words)
    ),
    TEXTS,
    TIMES,
    st.sampled_from([0.0, 0.5, 4.0, 29.0]),
    st.lists(WORDS, max_size=12),
)
TRANSCRIPTS = st.builds(
    lambda segments: Transcript("en", 0.5, 20_000.0, tuple(segments)),
    st.lists(SEGMENTS, max_size=6),
)

# No limit of time: a busy machine is no defect.
ANY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("write", "text"),
    [(to_srt, SRT), (to_vtt, VTT), (to_plain_vtt, PLAIN_VTT), (to_lrc, LRC)],
)
def test_a_small_transcript(write: Callable[[Transcript], str], text: str) -> None:
    assert write(SPOKEN) == text


def test_a_small_transcript_as_text_and_table() -> None:
    assert to_txt(SPOKEN) == "Start <b>& go\nup down\n"
    assert to_tsv(SPOKEN) == (
        "start\tend\ttext\n500\t2250\tStart <b>& go\n3659000\t3661000\tup down\n"
    )


def test_json_holds_everything() -> None:
    data = json.loads(to_json(SPOKEN))
    assert data.keys() == {"text", "language", "language_probability", "duration_s", "segments"}
    assert data["text"] == "Start <b>& go up down"
    assert (data["language"], data["language_probability"]) == ("en", 0.9876)
    first = data["segments"][0]
    assert first["words"][1] == {"text": " <b>&", "start_s": 1.0, "end_s": 1.5, "probability": 0.8}
    assert (first["start_s"], first["end_s"]) == (0.5, 2.25)
    assert first["average_log_probability"] == -0.25
    assert (first["no_speech_probability"], first["compression_ratio"]) == (0.01, 1.1)
    assert Transcript.from_dict(data) == SPOKEN


def test_nothing_said() -> None:
    nothing = Transcript(None, None, 3.2, ())
    texts = {name: write(nothing) for name, (write, _) in FORMATS.items()}
    assert (texts["txt"], texts["srt"], texts["vtt"]) == ("", "", "WEBVTT\n")
    assert (texts["tsv"], texts["lrc"]) == ("start\tend\ttext\n", "[length:00:03]\n")
    assert json.loads(texts["json"])["segments"] == []


def in_ass(line: str) -> str:
    """The text that an ASS file has for a line."""
    return line.replace("{", "(").replace("}", ")")


def words(*texts: str, each_s: float = 0.5, pause_s: float = 0.0) -> Transcript:
    """One segment of words that follow each other."""
    step_s = each_s + pause_s
    spoken = tuple(
        Word(text, round(place * step_s, 3), round(place * step_s + each_s, 3), 1.0)
        for place, text in enumerate(texts)
    )
    segment = Segment(0.0, spoken[-1].end_s, "".join(texts), spoken)
    return Transcript("en", 1.0, segment.end_s, (segment,))


def test_lines_are_filled_and_a_third_begins_another_cue() -> None:
    shown = read_srt(to_srt(words(*[" abcdef"] * 13, each_s=0.25)))
    line = " ".join(["abcdef"] * 6)
    assert shown == [(0.0, 3.0, [line, line]), (3.0, 3.7, ["abcdef"])]


def test_a_pause_begins_another_cue() -> None:
    assert read_srt(to_srt(words(" go", " up", pause_s=1.5))) == [
        (0.0, 0.7, ["go"]),
        (2.0, 2.7, ["up"]),
    ]
    assert len(read_srt(to_srt(words(" go", " up", pause_s=0.9)))) == 1


def test_a_cue_is_no_longer_than_seven_seconds() -> None:
    shown = read_srt(to_srt(words(*[" la"] * 8, each_s=2.0)))
    assert [lines for _, _, lines in shown] == [["la la la"], ["la la la"], ["la la"]]
    assert read_srt(to_srt(words(" laaa", each_s=20.0))) == [(0.0, 7.0, ["laaa"])]


def test_a_language_without_spaces_is_cut_into_lines_over_its_time() -> None:
    """Without word times, as such a text is one word, each part has its share of the time."""
    text = "春江潮水连海平" * 12
    transcript = Transcript("zh", 1.0, 20.0, (Segment(0.0, 10.0, text),))
    shown = read_srt(to_srt(transcript))
    first, second, third, fourth = (text[start : start + 21] for start in range(0, 84, 21))
    assert shown == [(0.0, 5.0, [first, second]), (5.0, 10.0, [third, fourth])]
    assert [times for times, _ in read_lrc(to_lrc(transcript))] == [[0.0], [2.5], [5.0], [7.5]]


def test_words_without_spaces_stay_together() -> None:
    spoken = words("再", "见", each_s=1.0)
    assert read_srt(to_srt(spoken)) == [(0.0, 2.0, ["再见"])]
    assert "[00:00.00]<00:00.00>再<00:01.00>见 <00:02.00>" in to_lrc(spoken)


# Thai, Devanagari, Hebrew with points, Korean jamo, accents that are written apart, families.
CLUSTERS = [
    "เก้าอี้",
    "ที่นี่น้ำ",
    "क्षत्रिय",
    "नमस्ते",
    "שָׁלוֹם",
    "\u1112\u1161\u11ab",
    "e\u0301\u0323o\u0308",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f1e9\U0001f1ea",
    "ကျွန်ုပ်",
    "خُبْزٌ",
]


@pytest.mark.parametrize("text", CLUSTERS)
@pytest.mark.parametrize("shift", range(4))
def test_a_long_text_is_never_cut_inside_a_character(text: str, shift: int) -> None:
    whole = "a" * shift + text * 40
    transcript = Transcript("th", 1.0, 60.0, (Segment(0.0, 60.0, whole),))
    characters = list(wcwidth.iter_graphemes(whole))
    for lines in ([line for _, _, cue in read_srt(to_srt(transcript)) for line in cue],
                  [line for _, line in read_lrc(to_lrc(transcript))]):  # fmt: skip
        assert len(lines) > 1 and "".join(lines) == whole
        assert [one for line in lines for one in wcwidth.iter_graphemes(line)] == characters
        assert all(columns(line) <= LINE_COLUMNS for line in lines)


@pytest.mark.parametrize("text", CLUSTERS)
@pytest.mark.parametrize("shift", range(3))
def test_words_that_begin_inside_a_character_are_not_parted(text: str, shift: int) -> None:
    """Models give such scripts code point by code point; a pause may lie between any two."""
    whole = "a" * shift + text * 20
    spoken = words(*whole, each_s=0.2, pause_s=1.1)
    characters = list(wcwidth.iter_graphemes(whole))
    shown = [line for _, _, cue in read_srt(to_srt(spoken)) for line in cue]
    assert shown == characters
    assert [line.strip() for _, line in read_lrc(to_lrc(spoken))] == characters
    marked = re.findall(r"<[\d:.]+>([^<\n]+)", to_lrc(spoken))
    assert [part.strip() for part in marked if part.strip()] == characters


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        ((" Go up", " now."), "Go up now."),
        (("Go up", "now."), "Go up now."),
        (("今天天气", "很好。", "「对」", "，ＡＩ"), "今天天气很好。「对」，ＡＩ"),
        (("きょうは", "いい", "テンキ"), "きょうはいいテンキ"),
        (("한국어", "문장"), "한국어 문장"),
        (("สวัสดี", "วันนี้"), "สวัสดี วันนี้"),
    ],
)
def test_the_text_has_the_spaces_of_its_script(texts: tuple[str, ...], whole: str) -> None:
    segments = [Segment(at_s, at_s + 1, text) for at_s, text in enumerate(texts)]
    data = Transcript("en", 1.0, 9.0, tuple(segments)).to_dict()
    assert data["text"] == whole
    first, *rest = data["segments"]
    assert "".join([*deltas([first], True), *deltas(rest, False)]) == whole


def test_a_translation_is_not_in_the_language_of_the_recording() -> None:
    translated = replace(SPOKEN, language="de", translated_into="en")
    assert "[la:en]" in to_lrc(translated)
    assert "#LANGUAGE:English" in to_ultrastar(translated)
    data = json.loads(to_json(translated))
    assert (data["language"], data["translated_into"]) == ("de", "en")
    assert "translated_into" not in json.loads(to_json(SPOKEN))
    assert Transcript.from_dict(data) == translated


@pytest.mark.parametrize("sign", ["\u200b", "\u200e"])
@pytest.mark.parametrize("has_words", [True, False])
def test_a_line_has_few_characters_even_if_they_have_no_width(sign: str, has_words: bool) -> None:
    whole = "a" * 43 + sign * 1000
    given = words(*whole).segments[0].words if has_words else ()
    transcript = Transcript("en", 1.0, 60.0, (Segment(0.0, 60.0, whole, given),))
    lines = [line for _, _, cue in read_srt(to_srt(transcript)) for line in cue]
    assert "".join(lines) == whole
    assert max(map(len, lines)) <= LINE_CHARACTERS


@pytest.mark.parametrize("write", [to_srt, to_lrc, to_ass])
def test_a_format_is_not_finished_for_a_client_that_has_left(
    write: Callable[[Transcript], str],
) -> None:
    begun: list[bool] = []

    def make() -> None:
        begun.append(True)
        write(SPOKEN)

    with pytest.raises(Abandoned), requested_by(Requester("a client", lambda: bool(begun))):
        OnDemand().make("a format", lambda: False, make)


@pytest.mark.parametrize(("text", "width"), [("春", 2), ("あ", 2), ("한", 2), ("😀", 2), ("ก", 1)])
def test_lines_are_measured_in_columns(text: str, width: int) -> None:
    assert columns(text) == width
    transcript = Transcript("zh", 1.0, 20.0, (Segment(0.0, 6.0, text * 100),))
    lines = [line for _, _, cue in read_srt(to_srt(transcript)) for line in cue]
    assert {len(line) for line in lines[:-1]} == {LINE_COLUMNS // width}
    spoken = words(*[text] * 100, each_s=0.05)
    lines = [line for _, _, cue in read_srt(to_srt(spoken)) for line in cue]
    assert {len(line) for line in lines[:-1]} == {LINE_COLUMNS // width}


@pytest.mark.parametrize("length_s", [0.0, 0.02, 0.1, 0.5, 0.69])
@pytest.mark.parametrize("room_s", [0.3, 0.75, 5.0])
def test_a_short_cue_stays_if_the_next_one_leaves_room(length_s: float, room_s: float) -> None:
    first, second = Segment(1.0, 1.0 + length_s, " go"), Segment(1.0 + room_s, 9.0, " up")
    transcript = Transcript("en", 1.0, 9.0, (first, second))
    start_s, end_s, _ = read_srt(to_srt(transcript))[0]
    assert start_s == 1.0
    assert end_s == pytest.approx(1.0 + min(READABLE_CUE_S, room_s))
    alone = Transcript("en", 1.0, 9.0, (first,))
    assert read_srt(to_srt(alone)) == [(1.0, 1.0 + READABLE_CUE_S, ["go"])]
    assert read_vtt(to_vtt(alone)) == read_srt(to_srt(alone))


def test_a_segment_that_lies_over_the_next_one_gives_way() -> None:
    transcript = Transcript(
        "en", 1.0, 9.0, (Segment(0.0, 6.0, " one two"), Segment(4.0, 8.0, " three"))
    )
    assert read_srt(to_srt(transcript)) == [(0.0, 4.0, ["one two"]), (4.0, 8.0, ["three"])]


@ANY
@given(TRANSCRIPTS)
def test_any_subtitles_keep_the_rules(transcript: Transcript) -> None:
    shown = read_srt(to_srt(transcript))
    assert read_vtt(to_vtt(transcript)) == read_vtt(to_plain_vtt(transcript)) == shown
    assert [lines for _, _, lines in read_ass(to_ass(transcript))] == [
        [in_ass(line) for line in lines] for _, _, lines in shown
    ]
    before_s = 0.0
    for start_s, end_s, lines in shown:
        assert before_s <= start_s < end_s <= start_s + MAX_CUE_S + 1e-3
        assert 1 <= len(lines) <= MAX_LINES
        assert all(line.strip() == line and line for line in lines)
        assert all(columns(line) <= LINE_COLUMNS for line in lines)
        before_s = end_s
    assert "".join(letters(line) for _, _, lines in shown for line in lines) == said(transcript)


@ANY
@given(TRANSCRIPTS)
def test_any_lyrics_go_forward_in_time(transcript: Transcript) -> None:
    lines = read_lrc(to_lrc(transcript))
    times = [time_s for line_times, _ in lines for time_s in line_times]
    assert times == sorted(times)
    assert "".join(letters(text) for _, text in lines) == said(transcript)
    assert all(columns(text.strip()) <= LINE_COLUMNS for _, text in lines)


@ANY
@given(TRANSCRIPTS)
def test_any_table_and_text_have_a_line_for_each_segment(transcript: Transcript) -> None:
    header, *rows = to_tsv(transcript).removesuffix("\n").split("\n")
    assert header == "start\tend\ttext"
    assert [row.split("\t") for row in rows] == [
        [str(round(s.start_s * 1000)), str(round(s.end_s * 1000)), " ".join(s.text.split())]
        for s in transcript.segments
    ]
    text = to_txt(transcript)
    assert text.count("\n") == len(transcript.segments)
    assert letters(text) == letters("".join(s.text for s in transcript.segments))


@ANY
@given(TRANSCRIPTS)
def test_any_transcript_comes_back_from_json(transcript: Transcript) -> None:
    assert Transcript.from_dict(json.loads(to_json(transcript))) == transcript
    for write, _ in FORMATS.values():
        text = write(transcript)
        assert text.encode("utf-8").decode("utf-8") == text
