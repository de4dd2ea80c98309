"""A model with the interface of CTranslate2, for faster-whisper, that decodes on OpenVINO.

CTranslate2's decoder is limited by the memory bandwidth of one core, and has no bf16.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from studio.transcription.languages import LANGUAGES
from studio.transcription.openvino.alignment import Alignment, align_tokens
from studio.transcription.openvino.conversion import Precision
from studio.transcription.openvino.logits import Floats, Tokens
from studio.transcription.openvino.networks import Decoding, Networks
from studio.transcription.openvino.search import Hypothesis, Settings, search

# The default of CTranslate2: one second.
MAX_FIRST_TIME = 50
FILTER_WIDTH = 7
# Smaller vocabularies have no tokens for languages.
MULTILINGUAL_VOCABULARY = 51_865


@dataclass(frozen=True)
class Result:
    """Like the result of CTranslate2's `generate`."""

    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float


class OpenVinoModel:
    """Replaces `ctranslate2.models.Whisper`; `vocabulary` is its tokenizer.

    Without an encoder, it can only decode given states.

    Raises NotReadable, LookupError, ValueError or RuntimeError if the weights are not supported.
    """

    encodes_together = False
    device = "cpu"

    def __init__(
        self,
        folder: Path,
        vocabulary: Any,
        *,
        precision: Precision,
        threads: int,
        graphs: Path | None,
        has_encoder: bool = True,
    ) -> None:
        self._vocabulary = vocabulary
        self._tokens = _special_tokens(vocabulary)
        self._networks = Networks(
            folder,
            precision,
            end=self._tokens.end,
            threads=threads,
            graphs=graphs,
            has_encoder=has_encoder,
        )
        encoder = f", encoder {precision.encoder_kind}" if precision.encoder_bits == 32 else ""
        self.precision = f"int8{encoder} (OpenVINO)"
        self._aligning = Lock()

    @property
    def is_multilingual(self) -> bool:
        return self._networks.vocabulary >= MULTILINGUAL_VOCABULARY

    @property
    def n_mels(self) -> int:
        return self._networks.mels

    def encode(self, features: Any, to_cpu: bool = False) -> Floats:
        """Encode log-mel windows, float32 (windows, mels, frames)."""
        return self._networks.encode(np.asarray(features))

    def max_windows(self, beam_size: int) -> int:
        """The number of windows to decode at the same time."""
        return self._networks.max_windows(beam_size)

    def generate(
        self,
        features: Floats,
        prompts: Sequence[Sequence[int]],
        *,
        beam_size: int,
        max_length: int,
        suppress_tokens: Sequence[int],
        suppress_blank: bool,
        num_hypotheses: int = 1,
        sampling_temperature: float = 1.0,
        sampling_topk: int = 1,
        max_initial_timestamp_index: int = MAX_FIRST_TIME,
        **_others: Any,
    ) -> list[Result]:
        """Like CTranslate2's method, for the calls of faster-whisper; `features` are states.

        All prompts must have the same length.
        """
        is_drawn = sampling_topk != 1
        length = len(prompts[0])
        settings = Settings(
            hypotheses=num_hypotheses if is_drawn else beam_size,
            temperature=sampling_temperature if is_drawn else 0.0,
            max_tokens=min(max_length // 2, max_length - length + 1),
            suppressed=tuple(suppress_tokens),
            suppress_blank=suppress_blank,
            max_first_time=max_initial_timestamp_index,
            has_times=self._tokens.no_times not in prompts[0],
        )
        count = self.max_windows(settings.hypotheses)
        hypotheses: list[Hypothesis] = []
        for start in range(0, len(features), count):
            part = slice(start, start + count)
            hypotheses += self._decode(features[part], prompts[part], settings)
        return [Result([one.tokens], [one.score], one.no_speech) for one in hypotheses]

    def detect_language(self, features: Floats) -> list[list[tuple[str, float]]]:
        """For each window, the language tokens and their probabilities, in descending order."""
        languages = {
            token: number
            for code in LANGUAGES
            if (number := self._vocabulary.token_to_id(token := f"<|{code}|>")) is not None
        }
        places = np.array(list(languages.values())) - self._tokens.end
        rankings = []
        for states in features:
            with Decoding(self._networks, states[None]) as decoding:
                hidden = decoding.step(np.array([[self._tokens.start]]), np.array([0]))
                scores = decoding.scores(hidden[:, 0], decoding.no_bias)
            logits = scores.rest[0, places]
            shares = np.exp(logits - logits.max())
            shares /= shares.sum()
            ranked = sorted(zip(languages, shares.tolist(), strict=True), key=lambda one: -one[1])
            rankings.append(ranked)
        return rankings

    def align(
        self,
        features: Floats,
        start_sequence: Sequence[int],
        text_tokens: Sequence[Sequence[int]],
        num_frames: int,
        *,
        median_filter_width: int = FILTER_WIDTH,
    ) -> list[Alignment]:
        """Like CTranslate2's method; `features` are states, and `num_frames` counts those of the
        spectrum, two for each state."""
        frames = num_frames // 2
        # Each run needs memory for the keys and values of its window.
        with self._aligning:
            return [
                self._align(states[None], start_sequence, text, frames, median_filter_width)
                for states, text in zip(features, text_tokens, strict=True)
            ]

    def _align(
        self,
        states: Floats,
        start: Sequence[int],
        text: Sequence[int],
        frames: int,
        filter_width: int,
    ) -> Alignment:
        if not text:
            return Alignment([], [])
        tokens = np.array([[*start, self._tokens.no_times, *text, self._tokens.end]])
        # The state before each token of the text.
        before = len(start) + np.arange(len(text))
        with Decoding(self._networks, states) as decoding:
            hidden = decoding.step(tokens, np.array([0]), before)
            weights = decoding.attention(frames)
            probabilities = np.exp(decoding.log_probabilities(hidden[0], np.array(text)))
        path = align_tokens(weights, len(start), filter_width)
        return Alignment(path, probabilities.tolist())

    def _decode(
        self, states: Floats, prompts: Sequence[Sequence[int]], settings: Settings
    ) -> list[Hypothesis]:
        with Decoding(self._networks, states) as decoding:
            generators = [
                _generator(one, prompt, settings)
                for one, prompt in zip(states, prompts, strict=True)
            ]
            return search(decoding, prompts, self._tokens, settings, generators)


def _generator(states: Floats, prompt: Sequence[int], settings: Settings) -> np.random.Generator:
    """A generator seeded from the request, so that equal requests draw equal text."""
    if settings.temperature == 0:
        return np.random.default_rng(0)
    digest = sha256(states.tobytes() + repr((tuple(prompt), settings)).encode()).digest()
    return np.random.default_rng(list(digest))


def _special_tokens(vocabulary: Any) -> Tokens:
    """Raises LookupError if a token is missing."""

    def number(*texts: str) -> int:
        for text in texts:
            token = vocabulary.token_to_id(text)
            if token is not None:
                return int(token)
        raise LookupError(f"the vocabulary has no {texts[0]}")

    return Tokens(
        end=number("<|endoftext|>"),
        start=number("<|startoftranscript|>"),
        no_speech=number("<|nospeech|>", "<|nocaptions|>"),
        no_times=number("<|notimestamps|>"),
        blank=number("\u0120"),
    )
