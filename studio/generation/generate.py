"""One generation job: a prompt becomes tracks in a folder, frame by frame."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio import audio
from studio.audio import Sound, SoundWriter
from studio.generation import chroma, loudness, tracks
from studio.generation.continuation import Beginning
from studio.generation.model import Codes, MusicModel, States
from studio.generation.options import GenerationOptions
from studio.generation.sampling import Sampler
from studio.generation.sources import Source
from studio.generation.stream import CodecStream
from studio.generation.windows import Run, plan, steps
from studio.inference.devices import join_notes
from studio.jobs.job import Report

# Sound is decoded when so many new frames are there.
BATCH_FRAMES = 100
MOST_UNKNOWN_SHARE = 0.5


@dataclass(frozen=True)
class Order:
    """What is to be made: a prompt, checked options with a seed, and the sounds they name."""

    prompt: str
    options: GenerationOptions
    continued: Source | None = None
    melody: Source | None = None


def generate(
    model: MusicModel,
    order: Order,
    work: Path,
    report: Report,
    reserve: Callable[[int], None],
) -> dict[str, Any]:
    """Write the tracks of an order into `work`; their description, for the job's record.

    Tracks are 32-bit float WAV; `gain` in the answer is what fixed-point formats need.
    `reserve(bytes)` is asked for disk space before anything is written.
    """
    started_s = time.monotonic()
    options, kind = order.options, model.kind
    report("listening", 0.0)
    new_frames = round(options.duration * kind.frames_a_second)
    given_s = order.continued.duration_s if order.continued else 0.0
    expected = round(given_s * kind.sample_rate_hz) + new_frames * kind.frame_samples
    reserve(expected * kind.channels * 4 * options.variations)
    names = tracks.names(options.variations)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                SoundWriter(
                    work / f"{name}.wav", "wav", kind.sample_rate_hz, kind.channels, expected
                )
            )
            for name in names
        ]
        samples, done = _write(model, order, new_frames, writers, report)
    peaks = [writer.peak for writer in writers]

    def on_block(_share: float) -> None:
        report("encoding", 1.0)

    levels = [
        _level(work / f"{name}.wav", peak, kind.sample_rate_hz, options.loudness, on_block)
        for name, peak in zip(names, peaks, strict=True)
    ]
    gain = audio.shared_gain([level.peak for level in levels])
    if options.format != "wav":
        for name in names:
            target = work / f"{name}.{options.format}"
            audio.encode(work / f"{name}.wav", target, options.format, gain, on_block)
    elapsed_s = time.monotonic() - started_s
    made_s = new_frames * kind.frame_samples / kind.sample_rate_hz
    return {
        "engine": model.engine,
        "precision": model.precision,
        "note": _note(model, order),
        "music": names,
        "format": options.format,
        "sample_rate_hz": kind.sample_rate_hz,
        "channels": kind.channels,
        "samples": samples,
        "duration_s": round(samples / kind.sample_rate_hz, 3),
        "generated_s": round(made_s, 3),
        "seed": options.seed,
        "steps": done,
        "loudness_lufs": [level.lufs for level in levels],
        "gain": round(gain, 6),
        "elapsed_s": round(elapsed_s, 3),
        "real_time_factor": round(elapsed_s / made_s, 4),
    }


def _write(
    model: MusicModel,
    order: Order,
    new_frames: int,
    writers: list[SoundWriter],
    report: Report,
) -> tuple[int, int]:
    """Make the music and write it; samples of each track, and steps that were done."""
    options, kind = order.options, model.kind
    beginning = Beginning(model, order.continued, options.variations)
    for block in beginning.sound():
        report("listening", 0.0)
        _append(writers, block)
    windows = plan(kind, new_frames, beginning.frames)
    total, done = steps(kind, windows), 0
    assert options.seed is not None
    sampling = options.sampling(kind.guidance_scale)
    sampler = Sampler(sampling, options.seed, options.variations)
    told = _told(model, order)
    run = Run(kind, model.decoder, told, windows, beginning.codes, sampler, sampling.is_guided)

    def on_step() -> None:
        nonlocal done
        done += 1
        report("generating", done / total)

    report("generating", 0.0)
    stream = CodecStream(model.codec, kind)
    for codes, is_last in _batches(run.frames(on_step), beginning):
        for block in beginning.joined(stream.push(codes, is_last)):
            _append(writers, block)
    return beginning.samples + new_frames * kind.frame_samples, done


def _batches(frames: Iterator[Codes], beginning: Beginning) -> Iterator[tuple[Codes, bool]]:
    """The frames in batches, and whether a batch is the last; those of the beginning go first."""
    held: list[Codes] = [beginning.codes]
    for frame in frames:
        if len(held) > BATCH_FRAMES:
            yield np.concatenate(held, axis=2), False
            held = []
        held.append(frame)
    yield np.concatenate(held, axis=2), True


def _append(writers: list[SoundWriter], block: Sound) -> None:
    """Write float32 (tracks, channels, samples), or the same (channels, samples) to each."""
    for number, writer in enumerate(writers):
        writer.write(block if block.ndim == 2 else block[number])


def _told(model: MusicModel, order: Order) -> Callable[[float], States]:
    """What the decoder is told in a window that begins at a time: a melody goes on."""
    melody = None
    if order.melody is not None:
        with closing(
            audio.decode(order.melody.path, chroma.RATE_HZ, 1, order.melody.duration_s)
        ) as blocks:
            melody = chroma.melody(blocks)
    always = model.listener.states(order.prompt, melody)

    def told(start_s: float) -> States:
        if melody is None:
            return always
        return model.listener.states(order.prompt, chroma.from_second(melody, start_s))

    return told


@dataclass(frozen=True)
class _Level:
    """Loudness (None: silence) and peak of a track."""

    lufs: float | None
    peak: float


def _level(
    path: Path,
    peak: float,
    rate_hz: int,
    wanted_lufs: float | None,
    on_block: Callable[[float], None],
) -> _Level:
    """Measure a track; bring it to the wanted loudness, as far as its peak allows."""
    found = loudness.integrated_lufs(_checked(audio.read_blocks(path), on_block), rate_hz)
    if found is None or wanted_lufs is None:
        return _Level(None if found is None else round(found, 2), peak)
    gain = float(10 ** ((wanted_lufs - found) / 20))
    gain *= audio.shared_gain([peak * gain])
    changed = path.with_name(f".{path.name}")
    audio.encode(path, changed, "wav", gain, on_block)
    changed.replace(path)
    return _Level(round(found + 20 * math.log10(gain), 2), peak * gain)


def _checked(blocks: Iterator[Sound], on_block: Callable[[float], None]) -> Iterator[Sound]:
    """The same blocks; a cancel is noticed at each."""
    for block in blocks:
        on_block(1.0)
        yield block


def _note(model: MusicModel, order: Order) -> str | None:
    """What the caller should know about the result."""
    unknown = None
    if model.listener.unknown_share(order.prompt) > MOST_UNKNOWN_SHARE:
        unknown = "The model does not know most of the prompt's words; describe it in English."
    return join_notes(model.note, model.decoder.note, model.codec.note, unknown)
