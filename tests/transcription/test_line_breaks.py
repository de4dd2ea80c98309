"""Lines end where the script allows it, and words are counted by the same rules."""

from typing import Any

import pytest
from uniseg import linebreak

from studio.transcription.cues import LINE_COLUMNS
from studio.transcription.formats import to_srt, to_vtt
from studio.transcription.line_breaks import columns, count_words, units
from studio.transcription.transcript import Segment, Transcript, Word
from tests.support.subtitles import read_srt, read_vtt

POEM = "春江潮水连海平，海上明月共潮生。滟滟随波千万里，何处春江无月明！"
KANA = "「こんにちは」、ちょっと待って。東京へ行きましょう。"
THAI = "สวัสดีครับวันนี้อากาศดีมากเราไปเที่ยวกันไหม"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("go up", ["go ", "up"]),
        ("Bonjour ! Ça va ?", ["Bonjour ! ", "Ça ", "va ?"]),
        ("well-known", ["well-", "known"]),
        ("平，海", ["平，", "海"]),
        ("「あ」、ちょっ", ["「あ」、", "ちょっ"]),
        ("สวัสดีครับวันนี้", ["สวัสดี", "ครับ", "วัน", "นี้"]),
        ("เร็วๆ นี้", ["เร็วๆ ", "นี้"]),
        ("한국어 문장", ["한국어 ", "문장"]),
        ("नमस्ते दुनिया", ["नमस्ते ", "दुनिया"]),
    ],
)
def test_a_line_may_end_between(text: str, parts: list[str]) -> None:
    assert list(units(text)) == parts


@pytest.mark.parametrize("text", [POEM, KANA, "“Well-known” (it's $5.00) — «Ça va ?» ", "🇩🇪👩‍👧é"])
def test_a_long_text_is_examined_in_pieces(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """uniseg needs hours for some texts of a million characters."""
    whole, lengths = text * 20 + "\u0301" * 500 + text, list[int]()
    examine = linebreak.line_break_units

    def examined(text: str, **settings: Any) -> Any:
        lengths.append(len(text))
        return examine(text, **settings)

    monkeypatch.setattr(linebreak, "line_break_units", examined)
    assert list(units(whole)) == list(examine(whole))
    assert max(lengths) <= 200


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("it's well-known, isn't it?", 4),
        ("春江潮水。", 4),
        ("สวัสดีครับวันนี้อากาศดีมาก", 7),
        ("AI 模型", 3),
        ("한국어 문장", 2),
        ("ສະບາຍດີ", 6),
        ("- ...", 2),
    ],
)
def test_words_are_counted(text: str, count: int) -> None:
    assert count_words(text) == count


def spoken(text: str, language: str) -> Transcript:
    """A segment as a model gives it: code point by code point."""
    words = tuple(
        Word(letter, place / 10, (place + 1) / 10, 1.0) for place, letter in enumerate(text)
    )
    return Transcript(language, 1.0, 60.0, (Segment(0.0, len(text) / 10, text, words),))


@pytest.mark.parametrize(("text", "language"), [(POEM, "zh"), (KANA, "ja"), (THAI, "th")])
@pytest.mark.parametrize("has_words", [True, False])
def test_no_line_begins_where_none_may(text: str, language: str, has_words: bool) -> None:
    whole = text * 3
    transcript = spoken(whole, language)
    if not has_words:
        [segment] = transcript.segments
        transcript = Transcript(language, 1.0, 60.0, (Segment(0.0, segment.end_s, whole),))
    lines = [line for _, _, cue in read_srt(to_srt(transcript)) for line in cue]
    assert len(lines) > 2 and "".join(lines) == whole
    allowed = {sum(map(len, units(whole)[:count])) for count in range(len(units(whole)) + 1)}
    place = 0
    for line in lines:
        assert columns(line) <= LINE_COLUMNS
        assert line[0] not in "，。！」、ょっๆ"
        place += len(line)
        assert place in allowed
    assert read_vtt(to_vtt(transcript)) == read_srt(to_srt(transcript))


def test_a_long_address_is_cut_at_its_slashes() -> None:
    text = " https://example.com/a-long-folder-name/another-long-folder/file.html"
    transcript = Transcript("en", 1.0, 9.0, (Segment(0.0, 5.0, text),))
    lines = [line for _, _, cue in read_srt(to_srt(transcript)) for line in cue]
    assert lines == ["https://example.com/a-long-folder-name/", "another-long-folder/file.html"]
