"""What is heard in a song: beats, bars, chords, key, loudness and tuning.

The song is decoded twice, block by block; only features are kept, a few megabytes for an hour.
"""

from contextlib import closing
from dataclasses import dataclass

import numpy as np

from studio import audio
from studio.analysis import beats, harmony, metre, tempo
from studio.analysis.chords import GRID_S, ON_GRID, Harmony, change_costs, find_harmony
from studio.analysis.frames import RATE_HZ, Samples
from studio.analysis.harmony import Chroma, ChromaFinder, TuningFinder
from studio.analysis.metre import Bars
from studio.analysis.model import AnalysisModel
from studio.analysis.onsets import FPS, OnsetFinder, Onsets
from studio.jobs.job import Report, part_of
from studio.sources import Source

STEREO_RATE_HZ = 2 * RATE_HZ
# Other lengths of a beat, relative to the one that the tempo path has.
LEVELS = (1.0, 2.0, 0.5)
# The score of the bars by which another length must be better, and how much likely tempos count.
LEAD, PREFERENCE = 0.1, 0.15
# Beats less regular than this are none. Noise, speech and single tones reach 0.08, and songs 0.6.
MIN_REGULARITY = 0.15
MIN_BEATS = 4
# Pitch classes that stand out less than this are none. Noise and drums reach 0.4, and songs 0.9.
MIN_CLARITY = 0.6


@dataclass(frozen=True)
class Rhythm:
    """How regular the onsets of a song are, 0 to 1, and its bars; None if it has no steady beat."""

    regularity: float
    bars: Bars | None


@dataclass(frozen=True)
class Heard:
    """The features of a song of `duration_s`."""

    onsets: Onsets
    chroma: Chroma
    duration_s: float
    loudness_lufs: float | None
    tuning_cents: float


def hear(source: Source, channels: int, report: Report) -> Heard:
    """Decode a song and measure its features; `channels` are those of the file.

    Raises NotAudio if there is no audio in it.
    """
    onsets, tuning = OnsetFinder(source.duration_s), TuningFinder()
    meter = audio.LoudnessMeter(STEREO_RATE_HZ)
    channels = min(2, channels)
    mixer = audio.MonoMixer(STEREO_RATE_HZ)
    halved = _Halved()
    samples = 0
    expected = max(1.0, source.duration_s * STEREO_RATE_HZ)
    with closing(audio.decode(source.path, STEREO_RATE_HZ, channels, source.duration_s)) as blocks:
        for block in blocks:
            report("listening to the rhythm", min(1.0, samples / expected))
            samples += block.shape[1]
            meter.add(block)
            mono = mixer.mix(block.mean(axis=0), block) if channels > 1 else block[0]
            half = halved.add(mono)
            onsets.add(half)
            tuning.add(half)
    half = halved.finish()
    onsets.add(half)
    tuning.add(half)
    heard_onsets = onsets.finish()
    tuning_cents = tuning.finish()
    chroma = ChromaFinder(tuning_cents, source.duration_s)
    done = 0
    with closing(audio.decode(source.path, RATE_HZ, 1, source.duration_s)) as blocks:
        for block in blocks:
            report("listening to the harmony", min(1.0, 2 * done / expected))
            done += block.shape[1]
            chroma.add(block[0])
    return Heard(
        heard_onsets,
        chroma.finish(),
        samples / STEREO_RATE_HZ,
        meter.integrated_lufs(),
        tuning_cents,
    )


class _Halved:
    """A stream of mono samples at half the rate."""

    def __init__(self) -> None:
        import soxr

        self._resampler = soxr.ResampleStream(STEREO_RATE_HZ, RATE_HZ, 1, dtype="float32")

    def add(self, samples: Samples) -> Samples:
        halved: Samples = self._resampler.resample_chunk(np.ascontiguousarray(samples))
        return halved

    def finish(self) -> Samples:
        halved: Samples = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        return halved


def find_beats(
    model: AnalysisModel,
    heard: Heard,
    given_bpm: float | None,
    beats_per_bar: int | None,
    report: Report,
) -> Rhythm:
    """The beats of a song and their bars.

    The tempo, its half and its double are tried, unless it is given; the one with the clearest bars
    is taken.
    """
    onsets = heard.onsets
    if onsets.audible_s is None:
        return Rhythm(0.0, None)
    path = tempo.tempo_path(onsets.band(0), given_bpm, part_of(report, 0.0, 0.2))
    if path.regularity < MIN_REGULARITY:
        return Rhythm(path.regularity, None)
    periods = path.at_each_frame(len(onsets.strengths))
    candidates = []
    for number, level in enumerate(LEVELS[:1] if given_bpm else LEVELS):
        bpm = FPS * 60 / float(np.median(periods) * level)
        if level != 1.0 and not tempo.SLOWEST_BPM < bpm < tempo.FASTEST_BPM:
            continue
        tried = part_of(report, 0.2 + 0.8 * number / 3, 0.2 + 0.8 * (number + 1) / 3)
        times_s = beats.track(onsets, periods * level, tried)
        if len(times_s) < MIN_BEATS:
            continue
        moments_s = beats.with_off_beats(onsets, times_s)
        bars = metre.find_bars(model, onsets, heard.chroma, moments_s, beats_per_bar)
        likely = PREFERENCE * float(tempo.preference(np.array([bpm]))[0])
        candidates.append((bars.score + likely + LEAD * (level == 1.0), bars))
    if not candidates:
        return Rhythm(path.regularity, None)
    return Rhythm(path.regularity, max(candidates, key=lambda scored: scored[0])[1])


def find_chords(model: AnalysisModel, heard: Heard, bars: Bars | None) -> Harmony | None:
    """The chords of a song from its beginning to its end; None if no pitches stand out.

    They change on beats only, or on a regular grid if there are none.
    """
    if harmony.clarity(heard.chroma) < MIN_CLARITY:
        return None
    if bars is None:
        edges_s = np.append(np.arange(0, heard.duration_s, GRID_S), heard.duration_s)
        costs = np.full(len(edges_s) - 1, ON_GRID)
    else:
        edges_s = np.append(bars.times_s, max(heard.duration_s, bars.times_s[-1]))
        if edges_s[0] > 0:
            edges_s = np.insert(edges_s, 0, 0.0)
        costs = change_costs(bars, len(edges_s) - 1)
    chroma = harmony.between(heard.chroma, edges_s)
    scores = model.chords(harmony.normalised(chroma))
    return find_harmony(scores, costs, edges_s, harmony.is_audible(chroma))
