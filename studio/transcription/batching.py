"""Windows of a batch are decoded together, though each is transcribed on a thread of its own.

So each window is decoded again by itself where its text is improbable, as if it were alone. When
all threads of a batch wait for the network, their windows are encoded or decoded in one call.
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


class WindowModel(Protocol):
    """What a batch needs of a model; everything else is passed through.

    `encode` takes log-mel windows (windows, mels, frames) to states (windows, frames / 2, width),
    and `generate` takes those and a prompt each to results in the manner of CTranslate2.
    """

    def encode(self, features: Any, to_cpu: bool = False) -> Any: ...

    @property
    def generate(self) -> Callable[..., Sequence[Any]]: ...

    def max_windows(self, beam_size: int) -> int:
        """How many windows are decoded at the same time."""


@dataclass(eq=False)
class _Call:
    """A request of one member of a batch, and its answer."""

    member: int
    request: Any
    answer: Any = None
    error: BaseException | None = None
    is_answered: bool = False


class Barrier:
    """Collects requests of `members` threads, and answers them on the thread that serves.

    When all members that have not left wait for an answer, `reply` gets their requests in the
    order of the members, whenever each of them came: batches do not depend on timing. What it
    raises, each of them raises.
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
        """The calling member asks for nothing more."""
        with self._changed:
            self._members -= 1
            self._changed.notify_all()

    def serve(self) -> None:
        """Answer until all members have left."""
        with self._changed:
            while self._members:
                # Waiting members do nothing else, so that the lock can be held meanwhile.
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
    """Stands for a `ctranslate2.models.Whisper` whose callers may be members of a batch."""

    def __init__(self, model: WindowModel) -> None:
        self._model = model
        self._here = local()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def barrier(self, members: int) -> Barrier:
        """A batch of so many threads; each enters `member`, another one serves."""
        return Barrier(members, self._reply)

    @contextmanager
    def member(self, barrier: Barrier, number: int) -> Iterator[None]:
        """Calls of this thread wait for the others of the batch until it leaves the block."""
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

    def _reply(self, requests: Sequence[Any]) -> list[Any]:
        """States of each `_Encode` and the result of each `_Generate`, in their order."""
        answers: list[Any] = [
            self._model.encode(request.features, to_cpu=True)
            if isinstance(request, _Encode)
            else None
            for request in requests
        ]
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
