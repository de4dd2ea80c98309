"""A model that faster-whisper takes for one of CTranslate2, and that decodes on OpenVINO.

CTranslate2 decodes on a core at most as fast as its memory, and has no bf16. What is not decoding,
the alignment of words, stays with it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from threading import local
from typing import Any

import numpy as np

from studio.transcription.decoding.conversion import Precision
from studio.transcription.decoding.gathering import Gathering
from studio.transcription.decoding.networks import Decoding, Networks
from studio.transcription.decoding.scores import Floats, Tokens
from studio.transcription.decoding.search import Found, Settings, search
from studio.transcription.languages import LANGUAGES

# What CTranslate2 takes where it is not told: a second.
MOST_FIRST_TIME = 50


@dataclass(frozen=True)
class Result:
    """As of CTranslate2's `generate`."""

    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float


@dataclass(frozen=True)
class _Request:
    states: Floats
    prompt: tuple[int, ...]
    settings: Settings

    def generator(self) -> np.random.Generator:
        """Random numbers that belong to this request: equal requests draw equal texts."""
        asked = repr((self.prompt, self.settings)).encode()
        digest = sha256(self.states.tobytes() + asked).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "little"))


class OpenVinoModel:
    """Stands for `ctranslate2.models.Whisper`; `vocabulary` is its tokenizer.

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
    ) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._tokens = _special_tokens(vocabulary)
        self._networks = Networks(folder, precision, threads, self._tokens.end, graphs)
        self._here = local()
        encoder = f", encoder {precision.encoder_kind}" if precision.encoder_bits == 32 else ""
        self.precision = f"int8{encoder} (OpenVINO)"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, features: Any, to_cpu: bool = False) -> Floats:
        """Log-mel windows, float32 (windows, mels, frames), to their states."""
        (states,) = self._ask([np.asarray(features)])
        found: Floats = states
        return found

    def most_windows(self, beam_size: int) -> int:
        """How many windows are decoded at the same time."""
        return self._networks.most_windows(beam_size)

    def gathering(self, members: int) -> Gathering:
        """A group of threads whose windows are decoded in one batch; see `joined`."""
        return Gathering(members, self._answer)

    @contextmanager
    def joined(self, group: Gathering) -> Iterator[None]:
        """This thread is a member of the group until it leaves the block."""
        self._here.group = group
        try:
            yield
        finally:
            self._here.group = None
            group.leave()

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
        """As CTranslate2's, for what faster-whisper asks; `features` are states."""
        is_drawn = sampling_topk != 1
        requests = [
            _Request(
                one,
                tuple(prompt),
                Settings(
                    hypotheses=num_hypotheses if is_drawn else beam_size,
                    temperature=sampling_temperature if is_drawn else 0.0,
                    most_tokens=min(max_length // 2, max_length - len(prompt) + 1),
                    suppressed=tuple(suppress_tokens),
                    suppress_blank=suppress_blank,
                    most_first_time=max_initial_timestamp_index,
                    has_times=self._tokens.no_times not in prompt,
                ),
            )
            for one, prompt in zip(features, prompts, strict=True)
        ]
        found: list[Found] = self._ask(requests)
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

    def _ask(self, requests: Sequence[Any]) -> list[Any]:
        """Have spectra encoded, or windows decoded: together with those of this thread's group."""
        group = getattr(self._here, "group", None)
        return [group.ask(one) for one in requests] if group else self._answer(requests)

    def _answer(self, requests: Sequence[Any]) -> list[Any]:
        """States of those that are spectra, and texts of the others, in their order."""
        decoded = iter(self._search([one for one in requests if isinstance(one, _Request)]))
        return [
            next(decoded) if isinstance(one, _Request) else self._networks.encode(one)
            for one in requests
        ]

    def _search(self, requests: Sequence[_Request]) -> list[Found]:
        """Decode windows, those together that can be, and answer in their order."""
        found: dict[int, Found] = {}
        numbers = sorted(range(len(requests)), key=lambda number: _likeness(requests[number]))
        for _, group in groupby(numbers, key=lambda number: _likeness(requests[number])):
            alike = list(group)
            most = self._networks.most_windows(requests[alike[0]].settings.hypotheses)
            for start in range(0, len(alike), most):
                part = alike[start : start + most]
                found.update(zip(part, self._decode([requests[n] for n in part]), strict=True))
        return [found[number] for number in range(len(requests))]

    def _decode(self, requests: Sequence[_Request]) -> list[Found]:
        states = np.stack([one.states for one in requests])
        with Decoding(self._networks, states) as decoding:
            return search(
                decoding,
                [one.prompt for one in requests],
                self._tokens,
                requests[0].settings,
                [one.generator() for one in requests],
            )


def _likeness(request: _Request) -> tuple[Any, ...]:
    """Windows of which this is equal can be decoded together."""
    return len(request.prompt), astuple(request.settings)


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
