"""Ends a command at a signal, so that it removes its temporary files."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

# Windows has no SIGHUP, which reports that the terminal was closed.
_ENDINGS = ("SIGTERM", "SIGHUP")


def ending_signals() -> list[signal.Signals]:
    """The signals that end a command. One that is ignored, as `nohup` does, stays ignored."""
    known = [one for one in signal.Signals if one.name in _ENDINGS]
    return [one for one in known if signal.getsignal(one) is signal.SIG_DFL]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise SystemExit in the block at SIGTERM, and when the terminal is closed."""
    numbers = ending_signals()

    def end(number: int, _frame: object) -> NoReturn:
        # Shells send a second one, which must not interrupt the removal of files.
        _handle(numbers, signal.SIG_IGN)
        if number != signal.SIGTERM:
            # Writing to a terminal that is gone would raise an error in place of this one.
            for output in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), output)
        raise SystemExit(128 + number)

    _handle(numbers, end)
    try:
        yield
    finally:
        _handle(numbers, signal.SIG_DFL)


def _handle(numbers: list[signal.Signals], how: "signal._HANDLER") -> None:
    for number in numbers:
        signal.signal(number, how)
