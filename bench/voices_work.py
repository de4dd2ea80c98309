"""What a process of the benchmark on people's voices does: one engine, one language."""

import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scripts import voices
from studio.family import JobContext
from studio.inference.process import prepare_process
from studio.sources import Source
from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.openai_weights import read_whisper
from studio.transcription.options import TranscriptionOptions
from studio.transcription.result import TRANSCRIPT_FILE
from studio.transcription.transcribe import transcribe
from tests.support.sounds import decode_all

PAUSE_S = 0.9
GRAPHS = voices.FOLDER / "graphs"
# Whisper's runtime and the options of each row of this server.
SERVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "this server, OpenVINO": ("openvino", {}),
    "this server, OpenVINO, greedy": ("openvino", {"beam_size": 1}),
    "this server, OpenVINO, `batch_size` 8": ("openvino", {"batch_size": 8}),
    "this server, CTranslate2": ("ctranslate2", {}),
    "this server, CTranslate2, greedy": ("ctranslate2", {"beam_size": 1}),
    "this server, CTranslate2, `batch_size` 8": ("ctranslate2", {"batch_size": 8}),
}

Transcribe = Callable[[Path, Speech], str]
"""The text of a recording, which is given as a file and as float32 (samples,) at RATE_HZ."""


def work(engine: str, language: str, count: str, answer: str) -> None:
    """Transcribe the prompts of a language, alone and together, and write down the texts."""
    prepare_process()
    run = transcriber(engine)
    prompts = voices.prompts(language, int(count))
    sounds = [decode_all(prompt.path, RATE_HZ, 1)[0] for prompt in prompts]
    run(prompts[0].path, sounds[0])
    began_s = time.monotonic()
    alone = [run(prompt.path, sound) for prompt, sound in zip(prompts, sounds, strict=True)]
    alone_s = time.monotonic() - began_s
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = Path(name) / "together.wav"
        sound = one_recording(sounds, path)
        began_s = time.monotonic()
        together = run(path, sound)
        together_s = time.monotonic() - began_s
    made = {"alone": alone, "together": together, "alone_s": alone_s, "together_s": together_s}
    Path(answer).write_text(json.dumps(made, ensure_ascii=False), "utf-8")


def one_recording(sounds: list[Speech], path: Path) -> Speech:
    """All sounds with pauses between them, also as a file."""
    import soundfile

    pause = np.zeros(round(PAUSE_S * RATE_HZ), np.float32)
    whole = np.concatenate([part for sound in sounds for part in (sound, pause)])
    soundfile.write(path, whole, RATE_HZ, subtype="FLOAT")
    return whole


def transcriber(engine: str) -> Transcribe:
    """A loaded engine by its name in the tables."""
    if engine in SERVERS:
        runtime, options = SERVERS[engine]
        model = FasterWhisper(voices.weights(), 0, runtime, GRAPHS)
        return partial(_by_server, model, TranscriptionOptions(**options))
    return {"openai": _openai, "faster": _library, "openvi": _genai}[engine[:6]]()


def _by_server(
    model: FasterWhisper, options: TranscriptionOptions, path: Path, sound: Speech
) -> str:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        duration_s = len(sound) / RATE_HZ
        transcribe(model, Source(path, duration_s), JobContext(options, Path(name)))
        text: str = json.loads((Path(name) / TRANSCRIPT_FILE).read_text("utf-8"))["text"]
    return text


def _library() -> Transcribe:
    from faster_whisper import WhisperModel

    model = WhisperModel(str(voices.weights()), "cpu", compute_type="int8")

    def run(path: Path, _: Speech) -> str:
        segments, _info = model.transcribe(str(path), beam_size=5, word_timestamps=True)
        return " ".join(segment.text for segment in segments)

    return run


def _openai() -> Transcribe:
    import whisper

    model = read_whisper(voices.weights())
    model.set_alignment_heads(whisper._ALIGNMENT_HEADS["base"])

    def run(_: Path, sound: Speech) -> str:
        found = model.transcribe(sound, beam_size=5, word_timestamps=True, fp16=False)
        return str(found["text"])

    return run


def _genai() -> Transcribe:
    from bench import genai

    folder = voices.FOLDER / "genai"
    if not (folder / "config.json").exists():
        genai.make_graphs(voices.weights(), folder)
    pipeline = genai.transcriber(folder, beam_size=5)
    return lambda _, sound: pipeline(sound)
