"""Decodes the windows of a batch together, although each is transcribed on its own thread.

A window with an improbable text can thus be decoded again on its own. When all threads of a batch
are waiting for the network, their windows are encoded or decoded in one call.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from threading import Condition, local
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from studio.transcription.interruption import may_go_on

Floats = npt.NDArray[np.float32]

# faster-whisper asks for the words of less, in which models find no path, or a wrong one.
MIN_ALIGNED_FRAMES = 4


class WindowModel(Protocol):
    """The methods of a model that batches use; all others are passed through.

    `encode` maps log-mel windows (windows, mels, frames) to states (windows, frames / 2, width),
    and `generate` maps states and prompts to results like those of CTranslate2.
    `encodes_together`: whether encoding several windows in one call is faster, as on a GPU.
    """

    @property
    def encodes_together(self) -> bool: ...

    def encode(self, features: Any, to_cpu: bool = False) -> Any: ...

    @property
    def generate(self) -> Callable[..., Sequence[Any]]: ...

    @property
    def align(self) -> Callable[..., Sequence[Any]]: ...

    def max_windows(self, beam_size: int) -> int:
        """The number of windows to decode at the same time."""


@dataclass(eq=False)
class _Call:
    """A call by one member of a batch, and its result."""

    member: int
    request: Any
    answer: Any = None
    error: BaseException | None = None
    is_answered: bool = False


class BatchBarrier:
    """Collects the requests of `members` threads, and answers them on the serving thread.

    When all remaining members are waiting, `reply` gets their requests in the order of the members,
    so batches do not depend on timing. An exception of `reply` is raised in every member.
    """

    def __init__(self, members: int, reply: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        self._members = members
        self._reply = reply
        self._waiting: list[_Call] = []
        self._changed = Condition()

    def ask(self, member: int, request: Any) -> Any:
        call = _Call(member, request)
        with self._changed:
            self._waiting.append(call)
            self._changed.notify_all()
            while not call.is_answered:
                self._changed.wait()
        if call.error is not None:
            raise call.error
        return call.answer

    def leave(self) -> None:
        """Leave the batch; the calling member makes no more requests."""
        with self._changed:
            self._members -= 1
            self._changed.notify_all()

    def serve(self) -> None:
        """Answer requests until all members have left."""
        with self._changed:
            while self._members:
                # All members are waiting, so the lock can be held meanwhile.
                if len(self._waiting) == self._members:
                    self._answer_all()
                else:
                    self._changed.wait()

    def _answer_all(self) -> None:
        calls, self._waiting = sorted(self._waiting, key=lambda call: call.member), []
        try:
            answers = self._reply([call.request for call in calls])
            for call, answer in zip(calls, answers, strict=True):
                call.answer = answer
        except Exception as error:
            for call in calls:
                call.error = error
        for call in calls:
            call.is_answered = True
        self._changed.notify_all()


@dataclass(frozen=True)
class _Encode:
    features: Any


@dataclass(frozen=True)
class _Generate:
    states: Floats
    prompt: tuple[int, ...]
    settings: dict[str, Any] = field(compare=False)

    @property
    def kind(self) -> tuple[int, str]:
        """Windows of the same kind can be decoded together."""
        return len(self.prompt), repr(sorted(self.settings.items()))


class BatchedModel:
    """Replaces a `ctranslate2.models.Whisper`; its callers may be members of a batch."""

    def __init__(self, model: WindowModel) -> None:
        self._model = model
        self._here = local()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def barrier(self, members: int) -> BatchBarrier:
        """A barrier for a batch of threads; each enters `member`, and another thread serves."""
        return BatchBarrier(members, self._reply)

    @contextmanager
    def member(self, barrier: BatchBarrier, number: int) -> Iterator[None]:
        """In this block, calls of this thread wait for the other members of the batch."""
        self._here.batch = barrier, number
        try:
            yield
        finally:
            self._here.batch = None
            barrier.leave()

    def encode(self, features: Any, to_cpu: bool = False) -> Any:
        may_go_on()
        if batch := getattr(self._here, "batch", None):
            barrier, number = batch
            return barrier.ask(number, _Encode(features))
        return self._model.encode(features, to_cpu=to_cpu)

    def generate(
        self, features: Any, prompts: Sequence[Sequence[int]], **settings: Any
    ) -> Sequence[Any]:
        may_go_on()
        if batch := getattr(self._here, "batch", None):
            barrier, number = batch
            (states,), (prompt,) = features, prompts
            return [barrier.ask(number, _Generate(states, tuple(prompt), settings))]
        return self._model.generate(features, prompts, **settings)

    def align(
        self,
        features: Any,
        start_sequence: Sequence[int],
        text_tokens: Sequence[Sequence[int]],
        num_frames: int,
        **settings: Any,
    ) -> Sequence[Any]:
        frames = max(MIN_ALIGNED_FRAMES, num_frames)
        aligned: Sequence[Any] = self._model.align(
            features, start_sequence, text_tokens, frames, **settings
        )
        return aligned

    def _reply(self, requests: Sequence[Any]) -> list[Any]:
        """The states for each `_Encode` and the result for each `_Generate`, in order."""
        answers: list[Any] = [None] * len(requests)
        numbers = [n for n, request in enumerate(requests) if isinstance(request, _Encode)]
        features = [requests[number].features for number in numbers]
        for number, states in zip(numbers, self._encode_all(features), strict=True):
            answers[number] = states
        numbers = [n for n, request in enumerate(requests) if isinstance(request, _Generate)]
        numbers.sort(key=lambda number: requests[number].kind)
        for _, alike in groupby(numbers, key=lambda number: requests[number].kind):
            group = list(alike)
            states = np.stack([requests[number].states for number in group])
            prompts = [requests[number].prompt for number in group]
            results = self._model.generate(states, prompts, **requests[group[0]].settings)
            for number, result in zip(group, results, strict=True):
                answers[number] = result
        return answers

    def _encode_all(self, features: Sequence[Any]) -> Sequence[Any]:
        """The states of windows, each (1, mels, frames)."""
        if len(features) < 2 or not self._model.encodes_together:
            return [self._model.encode(window, to_cpu=True) for window in features]
        stacked = np.concatenate([np.asarray(window) for window in features])
        return np.split(self._model.encode(stacked, to_cpu=True), len(features))
