"""Whisper through faster-whisper, on OpenVINO or CTranslate2: the engine of the server."""

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from studio.inference.devices import fallback_note
from studio.inference.hardware import has_vnni, overflows_in_8_bits
from studio.inference.process import release_free_memory
from studio.inference.worker_threads import WorkerThreads
from studio.transcription.batching import BatchedModel, WindowModel
from studio.transcription.ctranslate2_model import CTranslate2Model
from studio.transcription.cuda import CudaModel, device_index
from studio.transcription.engine import (
    MAX_COMPRESSION_RATIO,
    MAX_NO_SPEECH_PROBABILITY,
    MIN_AVERAGE_LOG_PROBABILITY,
    RATE_HZ,
    DecodeOptions,
    Speech,
    TimedText,
    is_silence,
    plain_text,
    whole_words,
)
from studio.transcription.faster_whisper_model import load_model, match_mel_bands
from studio.transcription.interruption import current_check, interruptible
from studio.transcription.languages import ENGLISH, LANGUAGES
from studio.transcription.openvino.conversion import COMPACT, fastest
from studio.transcription.openvino.model import OpenVinoModel
from studio.transcription.openvino.pipeline import without_ctranslate2
from studio.transcription.openvino.weights import NotReadable
from studio.transcription.token_times import fitting, timed_texts
from studio.transcription.transcript import Segment, Word

log = logging.getLogger(__name__)

# Start of transcript, language, task.
START_TOKENS = 3
# A whole window of the encoder.
SILENCE_S = 30
# Less than `tiny`, the smallest released model, has even in int8.
MAX_FLOAT32_BYTES = 32 << 20


class FasterWhisper:
    """A loaded CTranslate2 directory: int8 on a CPU, float16 on a CUDA device.

    Small models are float32 on CPUs without VNNI, where oneDNN's 8-bit sums overflow.

    `threads` is how many it uses on a CPU, 0 for all cores. `runtime` is what it runs on there:
    `ctranslate2`, `openvino`, or `auto`, which takes OpenVINO where it is known to be quicker.
    OpenVINO's graphs of large models are kept in `graphs`. `note` says why a CUDA device is not
    used.
    """

    name = "faster-whisper"

    def __init__(
        self,
        folder: Path,
        threads: int,
        runtime: str = "auto",
        graphs: Path | None = None,
        device: str = "auto",
    ) -> None:
        self.note: str | None = None
        self._extracting = Lock()
        precision = _precision_on_cpu(folder)
        on_cpu = partial(load_model, folder, precision, device="cpu", cpu_threads=threads)
        model: WindowModel
        if on_cuda := self._on_cuda(folder, device):
            self._model, self.precision = on_cuda, "float16"
            model = CudaModel(on_cuda.model, lambda: on_cpu().model)
        elif on_openvino := _on_openvino(folder, threads, runtime, graphs):
            self._model, model = on_openvino
            self.precision = model.precision
        else:
            self._model, self.precision = on_cpu(), precision
            drawer = partial(_drawer, folder, self._model.hf_tokenizer, threads, graphs)
            model = CTranslate2Model(self._model.model, drawer)
        self._model.model = self._batched = BatchedModel(model)

    def _on_cuda(self, folder: Path, device: str) -> Any:
        """The model on a CUDA device that has run it; None for the CPU."""
        try:
            if (index := device_index(device)) is None:
                return None
            model = load_model(folder, "float16", device="cuda", device_index=index)
            # cuBLAS is loaded at the first product only, and each kernel when it is first used.
            silence = model.feature_extractor(np.zeros(SILENCE_S * RATE_HZ, np.float32))
            states = model.encode(silence[:, : model.feature_extractor.nb_max_frames])
            start = model.hf_tokenizer.token_to_id("<|startoftranscript|>")
            model.model.generate(states, [[start]], beam_size=2, max_length=4)
        except (RuntimeError, ValueError) as error:
            self.note = fallback_note(error, device)
            log.warning(self.note)
            return None
        return model

    @property
    def _is_multilingual(self) -> bool:
        return bool(self._model.model.is_multilingual)

    @cached_property
    def languages(self) -> frozenset[str]:
        if not self._is_multilingual:
            return ENGLISH
        number = self._model.hf_tokenizer.token_to_id
        return frozenset(code for code in LANGUAGES if number(f"<|{code}|>") is not None)

    def detect_language(self, speech: Speech) -> tuple[str, float]:
        if not self._is_multilingual:
            return "en", 1.0
        language, probability, _ = self._model.detect_language(speech)
        return language, float(probability)

    def max_windows(self, beam_size: int) -> int:
        return int(self._batched.max_windows(beam_size))

    def transcribe(
        self, windows: Sequence[Speech], options: DecodeOptions
    ) -> Iterator[list[Segment]]:
        settings: dict[str, Any] = {
            "language": options.language,
            "task": options.task,
            "beam_size": options.beam_size,
            "temperature": list(options.temperatures),
            # faster-whisper uses an `initial_prompt` for the first pass of a window only.
            "hotwords": self._hints(options),
            "word_timestamps": options.word_timestamps,
            "max_new_tokens": self._max_new_tokens(options),
            "compression_ratio_threshold": MAX_COMPRESSION_RATIO,
            "log_prob_threshold": MIN_AVERAGE_LOG_PROBABILITY,
            "no_speech_threshold": MAX_NO_SPEECH_PROBABILITY,
            "condition_on_previous_text": False,
            "vad_filter": False,
        }
        count = self.max_windows(options.beam_size)
        for start in range(0, len(windows), count):
            part = windows[start : start + count]
            if len(part) == 1:
                decoded, _ = self._model.transcribe(part[0], **settings)
                yield _segments(decoded, options.task)
            else:
                yield from self._together(part, settings)

    def align(self, speech: Speech, texts: Sequence[str], language: str) -> list[TimedText]:
        extractor = self._model.feature_extractor
        with self._extracting:
            features = extractor(speech, padding=0)[:, : extractor.nb_max_frames]
        frames = features.shape[1]
        features = np.pad(features, ((0, 0), (0, extractor.nb_max_frames - frames)))
        vocabulary = self._model.hf_tokenizer
        encoded = (
            vocabulary.encode(plain_text(text), add_special_tokens=False).ids for text in texts
        )
        tokens = fitting(encoded, int(self._model.max_length))
        states = self._model.encode(features)
        together = [token for one in tokens for token in one]
        [aligned] = self._batched.align(states, self._start(language), [together], frames)
        return timed_texts(tokens, aligned.alignments, aligned.text_token_probs)

    def _start(self, language: str) -> list[int]:
        """The tokens before a transcript in a language."""
        names = ["startoftranscript"]
        if self._is_multilingual:
            names += [language, "transcribe"]
        return [int(self._model.hf_tokenizer.token_to_id(f"<|{name}|>")) for name in names]

    def _together(self, windows: Sequence[Speech], settings: dict[str, Any]) -> list[list[Segment]]:
        """Each window on a thread of its own; what they decode at the same time is one batch."""
        barrier = self._batched.barrier(len(windows))
        check = current_check()

        def decode(number: int, window: Speech) -> list[Segment]:
            with interruptible(check), self._batched.member(barrier, number):
                # Spectra are made at once, the text when it is read.
                with self._extracting:
                    decoded, _ = self._model.transcribe(window, **settings)
                return _segments(decoded, str(settings["task"]))

        with WorkerThreads(len(windows)) as threads:
            results = [threads.submit(decode, *one) for one in enumerate(windows)]
            barrier.serve()
        release_free_memory()
        return [result.result() for result in results]

    def _max_new_tokens(self, options: DecodeOptions) -> int | None:
        """What faster-whisper must be told for `max_tokens` of text.

        It adds the length of the prompt, and CTranslate2 takes half of the sum for the text, or
        the sum without the prompt and one more, whichever is less.
        """
        if options.max_tokens is None:
            return None
        prompt = START_TOKENS if self._is_multilingual else 1
        if hints := self._hints(options):
            prompt += 1 + min(len(self._tokens(hints)), self._max_hint_tokens)
        together = max(2 * options.max_tokens, prompt + options.max_tokens - 1)
        return max(1, min(together, int(self._model.max_length)) - prompt)

    def _tokens(self, text: str) -> list[int]:
        encoded = self._model.hf_tokenizer.encode(f" {text.strip()}", add_special_tokens=False)
        return list(encoded.ids)

    @property
    def _max_hint_tokens(self) -> int:
        """So many tokens from the beginning of hotwords does faster-whisper take."""
        return int(self._model.max_length) // 2 - 1

    def _hints(self, options: DecodeOptions) -> str | None:
        """The hotwords, and as much of the end of the prompt as fits after them."""
        hotwords = (options.hotwords or "").strip()
        prompt = (options.initial_prompt or "").strip()
        tokens = self._tokens(prompt)
        room = self._max_hint_tokens - (len(self._tokens(hotwords)) if hotwords else 0)
        if len(tokens) > room:
            # Text that is cut inside a character grows by a few tokens when it is read again.
            room = max(0, room - 7)
            prompt = self._model.hf_tokenizer.decode(tokens[len(tokens) - room :]).strip()
        return " ".join(filter(None, [hotwords, prompt])) or None


def _precision_on_cpu(folder: Path) -> str:
    """float32 where overflows of int8 would cost words, and float32 costs little."""
    size_bytes = sum(file.stat().st_size for file in folder.glob("model.bin"))
    is_small = size_bytes <= MAX_FLOAT32_BYTES
    return "float32" if is_small and overflows_in_8_bits() else "int8"


def _on_openvino(
    folder: Path, threads: int, runtime: str, graphs: Path | None
) -> tuple[Any, OpenVinoModel] | None:
    """faster-whisper and its model on OpenVINO; None where CTranslate2 is to run it, or must."""
    if not _takes_openvino(runtime):
        return None
    try:
        pipeline = without_ctranslate2(folder)
        vocabulary = pipeline.hf_tokenizer
        model = OpenVinoModel(
            folder, vocabulary, precision=fastest(), threads=threads, graphs=graphs
        )
    except (NotReadable, LookupError, ValueError, RuntimeError, ImportError) as error:
        if runtime == "openvino":
            raise
        log.warning("the model stays on CTranslate2: %s", error)
        return None
    match_mel_bands(pipeline, model.n_mels)
    return pipeline, model


def _drawer(folder: Path, vocabulary: Any, threads: int, graphs: Path | None) -> OpenVinoModel:
    return OpenVinoModel(
        folder, vocabulary, precision=COMPACT, threads=threads, graphs=graphs, has_encoder=False
    )


def _takes_openvino(runtime: str) -> bool:
    if runtime == "auto":
        return find_spec("openvino") is not None and has_vnni()
    return runtime == "openvino"


def _segments(decoded: Any, task: str) -> list[Segment]:
    """The segments that faster-whisper found, without those that the model takes for silence."""
    segments = [_segment(one, task) for one in decoded]
    return [segment for segment in segments if not is_silence(segment)]


def _segment(segment: Any, task: str) -> Segment:
    words = tuple(
        Word(
            word.word,
            round(float(word.start), 3),
            round(float(word.end), 3),
            round(float(word.probability), 4),
        )
        for word in segment.words or ()
    )
    return Segment(
        round(float(segment.start), 3),
        round(float(segment.end), 3),
        segment.text,
        whole_words(words) if task == "translate" else words,
        round(float(segment.avg_logprob), 4),
        round(float(segment.no_speech_prob), 4),
        round(float(segment.compression_ratio), 4),
        tokens=tuple(segment.tokens),
    )
