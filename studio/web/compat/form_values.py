"""The values of requests of other programs, each refused in the words of its API."""

from collections.abc import Callable, Sequence

from studio.errors import InvalidOption
from studio.settings.values import boolean


class FormValues:
    """The values of the fields of a request.

    `last` finds the value of a field that counts, None if it was not sent. `refused` makes the
    error for a field, its value and what to do instead; `listed` joins the values that are allowed.
    """

    def __init__(
        self,
        last: Callable[[str], str | None],
        refused: Callable[[str, str, str], InvalidOption],
        listed: Callable[[Sequence[str]], str],
    ) -> None:
        self.last = last
        self._refused = refused
        self._listed = listed

    def one_of(self, name: str, allowed: Sequence[str]) -> str | None:
        value = self.last(name)
        if value is not None and value not in allowed:
            raise self._refused(name, value, f"use {self._listed(allowed)}")
        return value

    def flag(self, name: str) -> bool | None:
        value = self.last(name)
        if value is None:
            return None
        try:
            return boolean(value)
        except ValueError as error:
            raise self._refused(name, value, str(error)) from None
