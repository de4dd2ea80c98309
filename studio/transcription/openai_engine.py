"""Whisper with openai-whisper on PyTorch, the reference for the other engine."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from studio.inference.devices import (
    MPS,
    Device,
    choose_device,
    failure_note,
    fallback_note,
    is_device_failure,
    release_memory,
)
from studio.transcription.cuda import NOT_ON_MPS
from studio.transcription.engine import (
    MAX_COMPRESSION_RATIO,
    MAX_NO_SPEECH_PROBABILITY,
    MIN_AVERAGE_LOG_PROBABILITY,
    DecodeOptions,
    Speech,
    TimedText,
    is_silence,
    plain_text,
    whole_words,
)
from studio.transcription.languages import ENGLISH
from studio.transcription.openai_weights import read_whisper
from studio.transcription.token_times import fitting
from studio.transcription.transcript import Segment, Word

log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

CPU = "cpu"


class OpenaiWhisper:
    """A loaded checkpoint or CTranslate2 directory: float32 on a CPU, float16 on a CUDA device.

    `variant` names the release, whose heads for word times are then known. If the device fails, the
    model is loaded on the CPU, which takes over; `note` then says so.
    """

    name = "openai-whisper"

    def __init__(self, path: Path, variant: str, device: str = "auto") -> None:
        # The module stores its key-value cache in hooks, so only one caller at a time.
        self._lock = Lock()
        # Its word times need operations that PyTorch lacks on this device.
        missing = fallback_note(RuntimeError(NOT_ON_MPS), MPS)
        chosen = Device(note=missing) if device == MPS else choose_device(device)
        self.note = chosen.note
        self._device = chosen.name
        self._load = partial(_loaded, path, variant)
        reason = None
        try:
            self._model = self._load(self._device)
        except (RuntimeError, ValueError) as error:
            if self._device == CPU:
                raise
            reason = fallback_note(error, self._device)
        if reason:
            # If the weights are at fault, this fails too, and says so.
            self._use_cpu(reason)

    @property
    def precision(self) -> str:
        return "float32" if self._device == CPU else "float16"

    def _use_cpu(self, reason: str) -> None:
        log.warning("%s Continuing on the CPU.", reason)
        self._model = self._load(CPU)
        self.note, self._device = reason, CPU
        release_memory()

    def _run(self, call: Callable[[Any], _Answer]) -> _Answer:
        """The call with the model on the device, or with the one on the CPU."""
        with self._lock:
            try:
                return call(self._model)
            except RuntimeError as error:
                if self._device == CPU or not is_device_failure(error):
                    raise
                reason = failure_note(error, self._device)
            # Outside of the handler: the error holds the tensors of the failed call.
            self._use_cpu(reason)
            return call(self._model)

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
        _, probabilities = self._run(lambda model: model.detect_language(mel.to(model.device)))
        language = max(probabilities, key=lambda code: float(probabilities[code]))
        return language, float(probabilities[language])

    def max_windows(self, beam_size: int) -> int:
        return 1

    def transcribe(
        self, windows: Sequence[Speech], options: DecodeOptions
    ) -> Iterator[list[Segment]]:
        prompt = " ".join(text for text in (options.hotwords, options.initial_prompt) if text)
        for window in windows:
            result = self._run(partial(self._transcribed, window, prompt, options))
            segments = (_segment(one, options.task) for one in result["segments"])
            yield [segment for segment in segments if not is_silence(segment)]

    def _transcribed(
        self, window: Speech, prompt: str, options: DecodeOptions, model: Any
    ) -> dict[str, Any]:
        result: dict[str, Any] = model.transcribe(
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
            fp16=self.precision == "float16",
        )
        return result

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
        encoded = (tokenizer.encode(plain_text(text)) for text in texts)
        tokens = fitting(encoded, self._model.dims.n_text_ctx)
        mel = log_mel_spectrogram(pad_or_trim(speech), self._model.dims.n_mels)
        together = [token for one in tokens for token in one]
        frames = len(speech) // HOP_LENGTH
        words = self._run(
            lambda model: find_alignment(model, tokenizer, together, mel.to(model.device), frames)
        )
        return _joined([len(one) for one in tokens], words)


def _loaded(path: Path, variant: str, device: str) -> Any:
    import whisper

    is_checkpoint = not path.is_dir()
    model = whisper.load_model(str(path), device) if is_checkpoint else read_whisper(path, device)
    heads = whisper._ALIGNMENT_HEADS.get(variant)
    if heads is not None:
        model.set_alignment_heads(heads)
    return model


def _joined(lengths: Sequence[int], words: Sequence[Any]) -> list[TimedText]:
    """The times of texts with these numbers of tokens, from those of their words."""
    times: list[TimedText] = []
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
        times.append(TimedText(start_s, at_s, probability))
    return times


def _segment(segment: dict[str, Any], task: str) -> Segment:
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
        whole_words(words) if task == "translate" else words,
        round(float(segment["avg_logprob"]), 4),
        round(float(segment["no_speech_prob"]), 4),
        round(float(segment["compression_ratio"]), 4),
        tokens=tuple(segment["tokens"]),
    )
