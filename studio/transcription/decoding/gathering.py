"""Threads whose requests are answered together, on the thread that waits for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition
from typing import Any


@dataclass(eq=False)
class _Asked:
    request: Any
    answer: Any = None
    error: BaseException | None = None
    is_answered: bool = False


class Gathering:
    """`members` threads that ask, and one that serves.

    When all members that have not left wait for an answer, `reply` gives them all, in order; what
    it raises, each of them raises.
    """

    def __init__(self, members: int, reply: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        self._members = members
        self._reply = reply
        self._waiting: list[_Asked] = []
        self._changed = Condition()

    def ask(self, request: Any) -> Any:
        asked = _Asked(request)
        with self._changed:
            self._waiting.append(asked)
            self._changed.notify_all()
            while not asked.is_answered:
                self._changed.wait()
        if asked.error is not None:
            raise asked.error
        return asked.answer

    def leave(self) -> None:
        """One member fewer: nobody waits for it any longer."""
        with self._changed:
            self._members -= 1
            self._changed.notify_all()

    def serve(self) -> None:
        """Answer until all members have left."""
        with self._changed:
            while self._members:
                # Those that wait do nothing, so that the lock may be held meanwhile.
                if len(self._waiting) == self._members:
                    self._answer_all()
                else:
                    self._changed.wait()

    def _answer_all(self) -> None:
        together, self._waiting = self._waiting, []
        try:
            answers = self._reply([one.request for one in together])
            for one, answer in zip(together, answers, strict=True):
                one.answer = answer
        except Exception as error:
            for one in together:
                one.error = error
        for one in together:
            one.is_answered = True
        self._changed.notify_all()
