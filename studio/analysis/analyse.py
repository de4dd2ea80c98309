"""One analysis job: a song becomes `analysis.json` and a click track."""

import json
import time
from typing import Any

from studio.analysis import click
from studio.analysis.chords import Harmony
from studio.analysis.harmony import A4_HZ
from studio.analysis.metre import Bars
from studio.analysis.model import AnalysisModel
from studio.analysis.options import AnalysisOptions
from studio.analysis.result import CLICK, FILE, AnalysisResult
from studio.analysis.song import Heard, Rhythm, find_beats, find_chords, hear
from studio.errors import NotAudio
from studio.family import JobContext, share_before_encoding
from studio.jobs.job import part_of
from studio.results import SoundResult
from studio.sources import Source

# Shares of the work after which listening and finding beats are done.
HEARD, FOUND = 0.6, 0.9
NO_BEATS = "No steady beat was found, so there is no tempo."
NO_CLICK = "No steady beat was found, so there is no tempo and no track `click`."
NO_PITCHES = "No clear pitches were found, so there are no chords and no key."


def analyse(
    model: AnalysisModel, source: Source, channels: int, context: JobContext[AnalysisOptions]
) -> AnalysisResult:
    """Analyse a song into `context.work`; `channels` are those of its file."""
    started_s = time.monotonic()
    options, report = context.options, context.report
    report("listening to the rhythm", 0.0)
    heard = hear(source, channels, part_of(report, 0.0, HEARD))
    if heard.duration_s == 0:
        raise NotAudio("The file contains no audio.")
    rhythm = find_beats(
        model, heard, options.tempo_bpm, options.beats_per_bar, part_of(report, HEARD, FOUND)
    )
    bars = rhythm.bars
    harmony = find_chords(model, heard, bars) if options.chords else None
    sound, count_in_s = None, 0.0
    if bars and options.click:
        sound, count_in_s = _write_click(heard, bars, context)
    described = _described(heard, rhythm, harmony, count_in_s)
    (context.work / FILE).write_text(json.dumps(described, indent=1), "utf-8")
    elapsed_s = time.monotonic() - started_s
    counts = {name: len(described[name] or ()) for name in ("beats", "chords")}
    return AnalysisResult(
        **{**described, **counts},
        note=_note(options, bars, harmony),
        click=sound,
        elapsed_s=round(elapsed_s, 3),
        real_time_factor=round(elapsed_s / heard.duration_s, 4),
    )


def _note(options: AnalysisOptions, bars: Bars | None, harmony: Harmony | None) -> str | None:
    """What was requested but not found."""
    notes = []
    if bars is None:
        notes.append(NO_CLICK if options.click else NO_BEATS)
    if options.chords and harmony is None:
        notes.append(NO_PITCHES)
    return " ".join(notes) or None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _write_click(
    heard: Heard, bars: Bars, context: JobContext[AnalysisOptions]
) -> tuple[SoundResult, float]:
    """Write the track `click`. Returns its result, and the seconds before the song begins."""
    options = context.options
    context = context.with_options(options, part_of(context.report, FOUND, 1.0))
    clicks = click.clicks_of(bars, options.count_in_bars)
    samples = round((heard.duration_s + clicks.count_in_s) * click.RATE_HZ)
    context.reserve(samples * 4)
    share = share_before_encoding(options.format, 0.5)
    peak = click.write(
        context.work,
        CLICK,
        clicks,
        samples,
        lambda done: context.report("writing the click", share * done),
    )
    gain = context.encode_tracks([CLICK], options.format, [peak], share)
    sound = SoundResult(
        duration_s=round(samples / click.RATE_HZ, 3),
        format=options.format,
        sample_rate_hz=click.RATE_HZ,
        channels=1,
        samples=samples,
        gain=round(gain, 6),
    )
    return sound, clicks.count_in_s


def _described(
    heard: Heard, rhythm: Rhythm, harmony: Harmony | None, count_in_s: float
) -> dict[str, Any]:
    """The content of `analysis.json`."""
    bars = rhythm.bars
    beats = zip(bars.times_s, bars.places, strict=True) if bars else ()
    return {
        "duration_s": round(heard.duration_s, 3),
        "tempo_bpm": _rounded(bars.tempo_bpm if bars else None),
        "beat_confidence": round(min(1.0, rhythm.regularity), 3),
        "beats_per_bar": bars.beats_per_bar if bars else None,
        "beats": [{"time_s": round(float(time_s), 3), "beat": place} for time_s, place in beats],
        "key": harmony.key if harmony else None,
        "chord_confidence": round(harmony.confidence, 3) if harmony else None,
        "chords": [vars(chord) for chord in harmony.chords] if harmony else [],
        "loudness_lufs": _rounded(heard.loudness_lufs),
        "tuning_cents": round(heard.tuning_cents, 1) + 0.0,
        "tuning_hz": round(A4_HZ * 2 ** (heard.tuning_cents / 1200), 2),
        "count_in_s": round(count_in_s, 3),
    }
