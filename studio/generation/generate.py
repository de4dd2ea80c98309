"""Runs a generation job, frame by frame."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studio import audio
from studio.audio import Sound, SoundWriter
from studio.audio.replacing import replacing
from studio.family import JobContext, share_before_encoding
from studio.generation import chroma
from studio.generation.codec_run import CodecRun
from studio.generation.continuation import Continuation
from studio.generation.model import Codes, MusicModel, States
from studio.generation.options import GenerationOptions
from studio.generation.result import GenerationResult, track_names
from studio.generation.sampling import Sampler
from studio.generation.stream import CodecStream
from studio.generation.windows import Run, plan, steps
from studio.inference.device_use import device_use
from studio.inference.devices import join_notes
from studio.jobs.job import Report
from studio.sources import Source

# Audio is decoded in batches of this many new frames.
BATCH_FRAMES = 100
# The approximate share of encoding in the progress of a job that needs it.
ENCODING_SHARE = 0.02
MAX_UNKNOWN_SHARE = 0.5


@dataclass(frozen=True)
class Prompt:
    """A prompt: text, and the audio to continue or whose melody to follow."""

    text: str
    continued: Source | None = None
    melody: Source | None = None


def generate(
    model: MusicModel, prompt: Prompt, context: JobContext[GenerationOptions]
) -> GenerationResult:
    """Write music into `context.work`, as 32-bit float WAV. The options have a seed."""
    started_s = time.monotonic()
    options, spec, report = context.options, model.spec, context.report
    report("listening", 0.0)
    new_frames = round(options.duration * spec.frames_per_s)
    given_s = prompt.continued.duration_s if prompt.continued else 0.0
    expected = round(given_s * spec.sample_rate_hz) + new_frames * spec.frame_samples
    context.reserve(expected * spec.channels * 4 * options.variations)
    names = track_names(options.variations)
    share = share_before_encoding(options.format, ENCODING_SHARE)
    with (
        audio.track_writers(
            context.work, names, spec.sample_rate_hz, spec.channels, expected
        ) as writers,
        device_use() as use,
    ):
        written = _write(
            model,
            prompt,
            options,
            new_frames=new_frames,
            writers=writers,
            report=lambda stage, progress: report(stage, share * progress),
        )
    levels = [
        _level(
            writer.path,
            writer.peak,
            spec.sample_rate_hz,
            options.loudness,
            lambda _: report("encoding", share),
        )
        for writer in writers
    ]
    peaks = [level.peak for level in levels]
    gain = context.encode_tracks(names, options.format, peaks, share)
    elapsed_s = time.monotonic() - started_s
    made_s = new_frames * spec.frame_samples / spec.sample_rate_hz
    return GenerationResult(
        engine=model.engine,
        precision=model.precision,
        note=_note(model, prompt, use.note),
        music=names,
        format=options.format,
        sample_rate_hz=spec.sample_rate_hz,
        channels=spec.channels,
        samples=written.samples,
        duration_s=round(written.samples / spec.sample_rate_hz, 3),
        generated_s=round(made_s, 3),
        seed=options.seed,
        steps=written.steps,
        loudness_lufs=[level.lufs for level in levels],
        gain=round(gain, 6),
        elapsed_s=round(elapsed_s, 3),
        real_time_factor=round(elapsed_s / made_s, 4),
    )


@dataclass(frozen=True)
class _Written:
    """Samples per track, and the steps of the decoder."""

    samples: int
    steps: int


def _write(
    model: MusicModel,
    prompt: Prompt,
    options: GenerationOptions,
    *,
    new_frames: int,
    writers: list[SoundWriter],
    report: Report,
) -> _Written:
    """Generate and write the music."""
    spec, codec = model.spec, CodecRun(model.codec)
    continuation = Continuation(model, codec, prompt.continued, options.variations)
    for block in continuation.sound():
        report("listening", 0.0)
        _append(writers, block)
    windows = plan(spec, new_frames, continuation.frames)
    total, done = steps(spec, windows), 0
    assert options.seed is not None
    sampling = options.sampling(spec.guidance_scale)
    sampler = Sampler(sampling, options.seed, options.variations)
    conditioning = _conditioning(model, prompt, continuation.codes_start_s)
    run = Run(
        spec, model.decoder, conditioning, windows, continuation.codes, sampler, sampling.is_guided
    )

    def on_step() -> None:
        nonlocal done
        done += 1
        report("generating", done / total)

    report("generating", 0.0)
    stream = CodecStream(codec, spec)
    for codes, is_last in _batches(run.frames(on_step), continuation):
        for block in continuation.joined(stream.push(codes, is_last)):
            _append(writers, block)
    samples = continuation.samples + new_frames * spec.frame_samples
    return _Written(samples, done)


def _batches(frames: Iterator[Codes], continuation: Continuation) -> Iterator[tuple[Codes, bool]]:
    """Yield the frames in batches, each with whether it is the last. Given frames come first."""
    held: list[Codes] = [continuation.codes]
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


def _conditioning(
    model: MusicModel, prompt: Prompt, codes_start_s: float
) -> Callable[[float], States]:
    """The encoder states by the time in the codes, which begin at `codes_start_s` of the track.

    Each second of the track follows the same second of the melody.
    """
    melody = None
    if prompt.melody is not None:
        with closing(
            audio.decode(prompt.melody.path, chroma.RATE_HZ, 1, prompt.melody.duration_s)
        ) as blocks:
            melody = chroma.melody(blocks)
    always = model.listener.states(prompt.text, melody)

    def conditioning(start_s: float) -> States:
        if melody is None:
            return always
        following = chroma.from_second(melody, codes_start_s + start_s)
        return model.listener.states(prompt.text, following)

    return conditioning


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
    """Measure a track, and adjust it to the target loudness as far as its peak allows."""
    measured_lufs = audio.integrated_lufs(_checked(audio.read_blocks(path), on_block), rate_hz)
    if measured_lufs is None or wanted_lufs is None:
        return _Level(None if measured_lufs is None else round(measured_lufs, 2), peak)
    gain = float(10 ** ((wanted_lufs - measured_lufs) / 20))
    gain *= audio.shared_gain([peak * gain])
    with replacing(path) as changed:
        audio.encode(path, changed, "wav", gain, on_block)
    return _Level(round(measured_lufs + 20 * math.log10(gain), 2), peak * gain)


def _checked(blocks: Iterator[Sound], on_block: Callable[[float], None]) -> Iterator[Sound]:
    """The same blocks; checks for cancellation at each."""
    for block in blocks:
        on_block(1.0)
        yield block


def _note(model: MusicModel, prompt: Prompt, device_note: str | None) -> str | None:
    """A remark on the result for the caller."""
    unknown = None
    if model.listener.unknown_share(prompt.text) > MAX_UNKNOWN_SHARE:
        unknown = "The model does not know most words of the prompt. Describe the music in English."
    return join_notes(model.note, device_note, unknown)
