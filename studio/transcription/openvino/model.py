"""A model that faster-whisper takes for one of CTranslate2, and that decodes on OpenVINO.

CTranslate2 decodes on a core at most as fast as its memory, and has no bf16. What is not decoding,
the alignment of words, stays with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from studio.transcription.languages import LANGUAGES
from studio.transcription.openvino.conversion import Precision
from studio.transcription.openvino.logits import Floats, Tokens
from studio.transcription.openvino.networks import Decoding, Networks
from studio.transcription.openvino.search import Found, Settings, search

# What CTranslate2 takes where it is not told: a second.
MOST_FIRST_TIME = 50


@dataclass(frozen=True)
class Result:
    """As of CTranslate2's `generate`."""

    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float


class OpenVinoModel:
    """Stands for `ctranslate2.models.Whisper`; `vocabulary` is its tokenizer.

    Without an encoder it only decodes the states that it is given.

    Raises NotReadable, LookupError, ValueError or RuntimeError where the weights are of another
    kind.
    """

    def __init__(
        self,
        model: Any,
        folder: Path,
        vocabulary: Any,
        precision: Precision,
        threads: int,
        graphs: Path | None,
        has_encoder: bool = True,
    ) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._tokens = _special_tokens(vocabulary)
        self._networks = Networks(folder, precision, threads, self._tokens.end, graphs, has_encoder)
        encoder = f", encoder {precision.encoder_kind}" if precision.encoder_bits == 32 else ""
        self.precision = f"int8{encoder} (OpenVINO)"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, features: Any, to_cpu: bool = False) -> Floats:
        """Log-mel windows, float32 (windows, mels, frames), to their states."""
        return self._networks.encode(np.asarray(features))

    def max_windows(self, beam_size: int) -> int:
        """How many windows are decoded at the same time."""
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
        max_initial_timestamp_index: int = MOST_FIRST_TIME,
        **_others: Any,
    ) -> list[Result]:
        """As CTranslate2's, for what faster-whisper asks; `features` are states.

        The prompts have one length.
        """
        is_drawn = sampling_topk != 1
        length = len(prompts[0])
        settings = Settings(
            hypotheses=num_hypotheses if is_drawn else beam_size,
            temperature=sampling_temperature if is_drawn else 0.0,
            most_tokens=min(max_length // 2, max_length - length + 1),
            suppressed=tuple(suppress_tokens),
            suppress_blank=suppress_blank,
            most_first_time=max_initial_timestamp_index,
            has_times=self._tokens.no_times not in prompts[0],
        )
        count = self.max_windows(settings.hypotheses)
        found: list[Found] = []
        for start in range(0, len(features), count):
            part = slice(start, start + count)
            found += self._decode(features[part], prompts[part], settings)
        return [Result([one.tokens], [one.score], one.no_speech) for one in found]

    def detect_language(self, features: Floats) -> list[list[tuple[str, float]]]:
        """For each of the states, the tokens of all languages and their probabilities, in order."""
        languages = {
            token: number
            for code in LANGUAGES
            if (number := self._vocabulary.token_to_id(token := f"<|{code}|>")) is not None
        }
        places = np.array(list(languages.values())) - self._tokens.end
        found = []
        for states in features:
            with Decoding(self._networks, states[None]) as decoding:
                hidden = decoding.step(np.array([[self._tokens.start]]), np.array([0]))
                scores = decoding.scores(hidden[:, 0], decoding.no_bias)
            logits = scores.rest[0, places]
            shares = np.exp(logits - logits.max())
            shares /= shares.sum()
            ranked = sorted(zip(languages, shares.tolist(), strict=True), key=lambda one: -one[1])
            found.append(ranked)
        return found

    def align(self, features: Floats, *given: Any, **settings: Any) -> Any:
        """As CTranslate2's; `features` are states."""
        from ctranslate2 import StorageView

        return self._model.align(StorageView.from_array(features), *given, **settings)

    def _decode(
        self, states: Floats, prompts: Sequence[Sequence[int]], settings: Settings
    ) -> list[Found]:
        with Decoding(self._networks, states) as decoding:
            generators = [
                _generator(one, prompt, settings)
                for one, prompt in zip(states, prompts, strict=True)
            ]
            return search(decoding, prompts, self._tokens, settings, generators)


def _generator(states: Floats, prompt: Sequence[int], settings: Settings) -> np.random.Generator:
    """Random numbers that belong to a request: the same request draws the same text."""
    if settings.temperature == 0:
        return np.random.default_rng(0)
    digest = sha256(states.tobytes() + repr((tuple(prompt), settings)).encode()).digest()
    return np.random.default_rng(list(digest))


def _special_tokens(vocabulary: Any) -> Tokens:
    """Raises LookupError where one of them is missing."""

    def number(*texts: str) -> int:
        for text in texts:
            found = vocabulary.token_to_id(text)
            if found is not None:
                return int(found)
        raise LookupError(f"the vocabulary has no {texts[0]}")

    return Tokens(
        end=number("<|endoftext|>"),
        start=number("<|startoftranscript|>"),
        no_speech=number("<|nospeech|>", "<|nocaptions|>"),
        no_times=number("<|notimestamps|>"),
        blank=number("\u0120"),
    )
