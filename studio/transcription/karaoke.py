"""Writes transcripts for karaoke: Advanced SubStation Alpha and UltraStar."""

from collections.abc import Sequence

from studio.audio.substation import clock, hundredths, plain
from studio.audio.tags import NO_TAGS, Tags
from studio.transcription.cues import Cue, cues, short_lines, text_of
from studio.transcription.languages import NAMES
from studio.transcription.transcript import Transcript, Word

# UltraStar counts in quarters of beats: 600 beats a minute give 25 ms.
ULTRASTAR_BPM = 600
_TICK_S = 60 / ULTRASTAR_BPM / 4
# Its pitches count from this one, in semitones.
_MIDDLE_C = 60
_UNKNOWN = "Unknown"
_ASS_SCRIPT = """ScriptType: v4.00+
WrapStyle: 2
ScaledBorderAndShadow: yes
PlayResX: 1280
PlayResY: 720
"""
_ASS_STYLES = (
    "\n[V4+ Styles]\n"
    "Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, "
    "Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, "
    "Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\n"
    "Style: Default,sans-serif,48,&H0000D7FF,&H00FFFFFF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,"
    "1,3,1,2,40,40,48,1\n"
    "\n[Events]\n"
    "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
)


def to_ass(transcript: Transcript, tags: Tags = NO_TAGS) -> str:
    """Advanced SubStation Alpha: the words are highlighted as they are sung (`\\kf`)."""
    title = f"Title: {tags.title}\n" if tags.title else ""
    events = "".join(
        f"Dialogue: 0,{clock(hundredths(cue.start_s))},"
        f"{clock(hundredths(cue.end_s))},Default,,0,0,0,,{_ass_text(cue)}\n"
        for cue in cues(transcript)
    )
    return f"[Script Info]\n{title}{_ASS_SCRIPT}{_ASS_STYLES}{events}"


def _ass_text(cue: Cue) -> str:
    if not cue.has_times:
        return "\\N".join(plain(line) for line in cue.lines)
    at = hundredths(cue.start_s)
    lines = []
    for row in cue.rows:
        line = ""
        for word in row:
            start, end = hundredths(word.start_s), hundredths(word.end_s)
            text = plain(word.text if line else word.text.lstrip())
            pause = f"{{\\k{start - at}}}" if start > at else ""
            line += f"{pause}{{\\kf{end - start}}}{text}"
            at = end
        lines.append(line.rstrip())
    return "\\N".join(lines)


def to_ultrastar(transcript: Transcript, tags: Tags = NO_TAGS) -> str:
    """UltraStar: a note for each word; one without a pitch is not scored (F)."""
    language = NAMES.get(transcript.text_language or "")
    header = {
        "TITLE": tags.title or _UNKNOWN,
        "ARTIST": tags.artist or _UNKNOWN,
        "MP3": tags.filename or f"{tags.title or _UNKNOWN}.mp3",
        "LANGUAGE": language.title() if language else None,
        "BPM": str(ULTRASTAR_BPM),
        "GAP": "0",
    }
    lines = [f"#{name}:{text}" for name, text in header.items() if text]
    tick, end = 0, 0
    for number, (row, has_times) in enumerate(short_lines(transcript)):
        if number:
            tick = max(end, round(row[0].start_s / _TICK_S))
            lines.append(f"- {tick}")
        for word in row if has_times else [_joined(row)]:
            tick = max(end, round(word.start_s / _TICK_S))
            end = max(tick + 1, round(word.end_s / _TICK_S))
            text = word.text.lstrip() if word is row[0] or not has_times else word.text
            kind, pitch = ("F", 0) if word.pitch is None else (":", word.pitch - _MIDDLE_C)
            lines.append(f"{kind} {tick} {end - tick} {pitch} {text}")
    return "\n".join([*lines, "E"]) + "\n"


def _joined(row: Sequence[Word]) -> Word:
    return Word(text_of(row), row[0].start_s, row[-1].end_s, 0.0)
