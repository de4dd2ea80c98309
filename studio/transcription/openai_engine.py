"""Whisper with openai-whisper on PyTorch, the reference for the other engine."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from studio.inference.devices import MPS, Device, choose_device, fallback_note
from studio.transcription.cuda import NOT_ON_MPS
from studio.transcription.engine import (
    MAX_COMPRESSION_RATIO,
    MAX_NO_SPEECH_PROBABILITY,
    MIN_AVERAGE_LOG_PROBABILITY,
    DecodeOptions,
    Speech,
    TimedText,
    is_silence,
)
from studio.transcription.languages import ENGLISH
from studio.transcription.openai_weights import read_whisper
from studio.transcription.token_times import fitting
from studio.transcription.transcript import Segment, Word


class OpenaiWhisper:
    """A loaded checkpoint or CTranslate2 directory: float32 on a CPU, float16 on a CUDA device.

    `variant` names the release, whose heads for word times are then known.
    """

    name = "openai-whisper"

    def __init__(self, path: Path, variant: str, device: str = "auto") -> None:
        import whisper

        # The module stores its key-value cache in hooks, so only one caller at a time.
        self._lock = Lock()
        # Its word times need operations that PyTorch lacks on this device.
        missing = fallback_note(RuntimeError(NOT_ON_MPS), MPS)
        chosen = Device(note=missing) if device == MPS else choose_device(device)
        self.note = chosen.note
        if path.is_dir():
            self._model = read_whisper(path, chosen.name)
        else:
            self._model = whisper.load_model(str(path), chosen.name)
        heads = whisper._ALIGNMENT_HEADS.get(variant)
        if heads is not None:
            self._model.set_alignment_heads(heads)
        self._on_cuda = self._model.device.type == "cuda"
        self.precision = "float16" if self._on_cuda else "float32"

    @cached_property
    def languages(self) -> frozenset[str]:
        from whisper.tokenizer import LANGUAGES

        if not self._model.is_multilingual:
            return ENGLISH
        # Each model has the first ones of the list.
        return frozenset(list(LANGUAGES)[: self._model.num_languages])

    def detect_language(self, speech: Speech) -> tuple[str, float]:
        if not self._model.is_multilingual:
            return "en", 1.0
        from whisper.audio import log_mel_spectrogram, pad_or_trim

        mel = log_mel_spectrogram(pad_or_trim(speech), self._model.dims.n_mels)
        with self._lock:
            _, probabilities = self._model.detect_language(mel.to(self._model.device))
        language = max(probabilities, key=lambda code: float(probabilities[code]))
        return language, float(probabilities[language])

    def transcribe(
        self, windows: Sequence[Speech], options: DecodeOptions
    ) -> Iterator[list[Segment]]:
        prompt = " ".join(text for text in (options.hotwords, options.initial_prompt) if text)
        for window in windows:
            with self._lock:
                result = self._model.transcribe(
                    window,
                    language=options.language,
                    task=options.task,
                    beam_size=options.beam_size if options.beam_size > 1 else None,
                    temperature=options.temperatures,
                    initial_prompt=prompt or None,
                    carry_initial_prompt=bool(prompt),
                    word_timestamps=options.word_timestamps,
                    sample_len=options.max_tokens,
                    compression_ratio_threshold=MAX_COMPRESSION_RATIO,
                    logprob_threshold=MIN_AVERAGE_LOG_PROBABILITY,
                    no_speech_threshold=MAX_NO_SPEECH_PROBABILITY,
                    condition_on_previous_text=False,
                    fp16=self._on_cuda,
                )
            yield [s for s in map(_segment, result["segments"]) if not is_silence(s)]

    def align(self, speech: Speech, texts: Sequence[str], language: str) -> list[TimedText]:
        from whisper.audio import HOP_LENGTH, log_mel_spectrogram, pad_or_trim
        from whisper.timing import find_alignment
        from whisper.tokenizer import get_tokenizer

        tokenizer = get_tokenizer(
            self._model.is_multilingual,
            num_languages=self._model.num_languages,
            language=language,
            task="transcribe",
        )
        tokens = fitting(map(tokenizer.encode, texts), self._model.dims.n_text_ctx)
        mel = log_mel_spectrogram(pad_or_trim(speech), self._model.dims.n_mels)
        together = [token for one in tokens for token in one]
        frames = len(speech) // HOP_LENGTH
        with self._lock:
            words = find_alignment(
                self._model, tokenizer, together, mel.to(self._model.device), frames
            )
        return _joined([len(one) for one in tokens], words)


def _joined(lengths: Sequence[int], words: Sequence[Any]) -> list[TimedText]:
    """The times of texts with so many tokens, from those of the words in them."""
    found: list[TimedText] = []
    at_s, place = 0.0, 0
    rest = list(words)
    for end in accumulate(lengths):
        own = []
        while rest and place < end:
            own.append(rest.pop(0))
            place += len(own[-1].tokens)
        start_s = float(own[0].start) if own else at_s
        at_s = float(own[-1].end) if own else at_s
        probability = float(np.mean([word.probability for word in own])) if own else 0.0
        found.append(TimedText(start_s, at_s, probability))
    return found


def _segment(segment: dict[str, Any]) -> Segment:
    words = tuple(
        Word(
            word["word"],
            float(word["start"]),
            float(word["end"]),
            round(float(word["probability"]), 4),
        )
        for word in segment.get("words", ())
    )
    return Segment(
        round(float(segment["start"]), 3),
        round(float(segment["end"]), 3),
        segment["text"],
        words,
        round(float(segment["avg_logprob"]), 4),
        round(float(segment["no_speech_prob"]), 4),
        round(float(segment["compression_ratio"]), 4),
        tokens=tuple(segment["tokens"]),
    )
