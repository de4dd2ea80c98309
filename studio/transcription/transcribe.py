"""Runs a transcription job, window by window."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np

from studio import audio
from studio.family import JobContext
from studio.inference.device_use import device_use
from studio.inference.devices import join_notes
from studio.jobs.job import part_of
from studio.sources import Source
from studio.transcription import pitches
from studio.transcription.alignment.align import aligned
from studio.transcription.alignment.lyrics import read_lyrics
from studio.transcription.alignment.onsets import LevelMeter
from studio.transcription.engine import RATE_HZ, DecodeOptions, Speech, SpeechEngine
from studio.transcription.interruption import interruptible
from studio.transcription.line_breaks import count_words
from studio.transcription.options import TranscriptionOptions
from studio.transcription.result import TRANSCRIPT_FILE, TranscriptionResult
from studio.transcription.transcript import Segment, Transcript
from studio.transcription.windows import Window, all_windows, voiced_windows

NOTHING_SAID = "No speech was decoded in the file, so the text is empty."
NOT_PLACED = "{} of {} words of the lyrics were not found in the audio."
# The language is detected in this much speech, as much as a model hears at once.
DETECTION_S = 30
# Share of the progress of a job that then puts lyrics in time.
LISTENING_SHARE = 0.85

Steps = Iterable[tuple[list[Segment], float]]
"""Segments in order, and the position in the recording in seconds."""


def transcribe(
    engine: SpeechEngine, source: Source, context: JobContext[TranscriptionOptions]
) -> TranscriptionResult:
    """Write the transcript of audio into `context.work`: what is heard, or the lyrics in time.

    Progress is relative to `source.duration_s`; audio far beyond that is not decoded.
    """
    started_s = time.monotonic()
    duration_s, lyrics = source.duration_s, context.options.lyrics
    with closing(_Listener(engine, source, context.options)) as listener, device_use() as use:
        if lyrics is None:
            segments = _collected(listener.run(), "transcribing", source, context, is_shown=True)
        else:
            segments = _in_time(engine, source, listener, lyrics, context)
    transcript = Transcript(
        listener.language,
        listener.language_probability,
        duration_s,
        tuple(segments),
        translated_into="en" if context.options.task == "translate" else None,
    )
    target = context.work / TRANSCRIPT_FILE
    target.write_text(json.dumps(transcript.to_dict(), ensure_ascii=False, indent=1), "utf-8")
    if listener.pitches:
        np.save(context.work / pitches.FILE, listener.pitches.finish())
    elapsed_s = time.monotonic() - started_s
    result = TranscriptionResult(
        engine=engine.name,
        precision=engine.precision,
        note=join_notes(engine.note, use.note, None if segments else NOTHING_SAID),
        language=listener.language,
        language_probability=listener.language_probability,
        segments=len(segments),
        words=sum(count_words(segment.text) for segment in segments),
        duration_s=round(duration_s, 3),
        speech_s=round(listener.speech_s, 3),
        elapsed_s=round(elapsed_s, 3),
        real_time_factor=round(elapsed_s / max(duration_s, 1e-3), 4),
    )
    return result if lyrics is None else _with_placed(result, segments)


def _collected(
    steps: Steps,
    stage: str,
    source: Source,
    context: JobContext[TranscriptionOptions],
    is_shown: bool,
) -> list[Segment]:
    """The segments of all steps, with progress; `is_shown` makes them visible at once."""
    report = context.report
    report(stage, progress := 0.0)
    segments: list[Segment] = []
    with interruptible(lambda: report(stage, progress)):
        for added, done_s in steps:
            segments += added
            for segment in added if is_shown else ():
                context.show(segment.to_dict())
            progress = max(progress, min(1.0, done_s / max(source.duration_s, 1e-3)))
            report(stage, progress)
    return segments


def _in_time(
    engine: SpeechEngine,
    source: Source,
    listener: "_Listener",
    lyrics: str,
    context: JobContext[TranscriptionOptions],
) -> list[Segment]:
    """The lines of lyrics with times."""

    def part(start: float, end: float) -> JobContext[TranscriptionOptions]:
        return context.with_options(context.options, part_of(context.report, start, end))

    heard = _collected(
        listener.run(), "transcribing", source, part(0.0, LISTENING_SHARE), is_shown=False
    )
    steps = aligned(
        engine,
        source,
        read_lyrics(lyrics),
        heard,
        listener.language or "en",
        levels=listener.meter.finish() if listener.meter else None,
    )
    return _collected(steps, "aligning", source, part(LISTENING_SHARE, 1.0), is_shown=True)


def _with_placed(result: TranscriptionResult, lines: list[Segment]) -> TranscriptionResult:
    """A result with the number of words of lyrics that have times."""
    placed = [word.placed for line in lines for word in line.words]
    missing = len(placed) - sum(placed)
    note = NOT_PLACED.format(missing, len(placed)) if missing else None
    return result.model_copy(
        update={
            "words": len(placed),
            "placed": sum(placed),
            "note": join_notes(result.note, note),
        }
    )


class _Listener:
    """Passes the windows of a file to an engine in batches, and keeps the language.

    Of vocals it also finds the `pitches`, and the levels, if lyrics are put in time.
    """

    def __init__(
        self,
        engine: SpeechEngine,
        source: Source,
        options: TranscriptionOptions,
    ) -> None:
        self.language: str | None = options.language
        self.language_probability: float | None = None
        self.speech_s = 0.0
        is_voice = options.source == "vocals"
        self.pitches = pitches.PitchFinder() if is_voice else None
        self.meter = LevelMeter() if is_voice and options.lyrics is not None else None
        self._engine = engine
        self._options = options
        self._blocks = audio.decode(source.path, RATE_HZ, 1, source.duration_s)

    def close(self) -> None:
        self._blocks.close()

    def run(self) -> Iterator[tuple[list[Segment], float]]:
        """Yield the segments of each window, in the time of the recording, and the position.

        Without speech, while a batch fills, and before the language is detected, it yields empty
        lists, so that progress and cancellation continue to work.
        """
        find = voiced_windows if self._options.vad else all_windows
        waiting: list[Window] = []
        for window in find(self._heard()):
            if len(window.speech) > 0:
                # A copy, because a view keeps the minute that it was cut from in memory.
                waiting.append(replace(window, speech=window.speech.copy()))
            yield [], (waiting or [window])[0].start_s
            if self.language is None and _samples(waiting) >= DETECTION_S * RATE_HZ:
                self._detect(waiting)
            while self.language is not None and len(waiting) >= self._batch_size():
                yield from self._decode(waiting)
        while waiting:
            yield from self._decode(waiting)

    def _batch_size(self) -> int:
        options = self._options
        return min(options.batch_size, self._engine.max_windows(options.beam_size))

    def _heard(self) -> Iterator[Speech]:
        for block in self._blocks:
            if self.pitches:
                self.pitches.add(block[0])
            if self.meter:
                self.meter.add(block[0])
            yield block[0]

    def _detect(self, windows: list[Window]) -> str:
        """Detect the language in all windows, because the first may be a cough and a pause."""
        speech = np.concatenate([window.speech for window in windows])[: DETECTION_S * RATE_HZ]
        language, probability = self._engine.detect_language(speech)
        self.language, self.language_probability = language, round(probability, 4)
        return language

    def _decode(self, waiting: list[Window]) -> Iterator[tuple[list[Segment], float]]:
        """Remove the next batch from the `waiting` windows, and decode it."""
        language = self.language or self._detect(waiting)
        size = self._batch_size()
        batch, waiting[:size] = waiting[:size], []
        options = self._options
        decoding = DecodeOptions(
            language,
            options.task,
            options.initial_prompt,
            options.hotwords,
            options.word_timestamps,
            options.beam_size,
            options.temperatures,
        )
        decoded = self._engine.transcribe([window.speech for window in batch], decoding)
        for window, segments in zip(batch, decoded, strict=True):
            self.speech_s += window.end_s - window.start_s
            yield [one.shifted(window.start_s, window.end_s) for one in segments], window.end_s


def _samples(windows: list[Window]) -> int:
    return sum(len(window.speech) for window in windows)
