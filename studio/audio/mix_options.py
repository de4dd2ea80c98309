"""The options of mixes: levels and balance of stems, key and tempo.

All values are texts, as in a query.
"""

import re
from collections.abc import Iterable, Mapping

from studio.audio.mixing import Mix
from studio.errors import InvalidOption
from studio.settings.values import boolean

MAX_GAIN = 2.0
MAX_SEMITONES = 12
TEMPOS = (0.5, 2.0)
PAN_OF = ".pan"
"""The name of the balance of a stem begins with the stem."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{0,9})?")
_DECIBELS = re.compile(r"([+-]?[0-9]{1,3}(?:\.[0-9]{0,9})?)dB")


def parse_mix(values: Mapping[str, str], stems: Iterable[str]) -> Mix:
    """The mix that `key`, `tempo`, `peak_safe`, and the levels and balances of stems describe.

    Raises InvalidOption.
    """
    stems = list(stems)
    balances = {stem: stem + PAN_OF for stem in stems if stem + PAN_OF in values}
    return Mix(
        gains={stem: parse_gain(stem, values[stem]) for stem in stems if stem in values},
        pans={stem: _number(name, values[name], -1, 1) for stem, name in balances.items()},
        semitones=_number("key", values.get("key", "0"), -MAX_SEMITONES, MAX_SEMITONES),
        tempo=_number("tempo", values.get("tempo", "1"), *TEMPOS),
        is_peak_safe=_flag("peak_safe", values.get("peak_safe", "false")),
    )


def parse_gain(name: str, text: str) -> float:
    """A factor from a factor or decibels. Raises InvalidOption."""
    gain = -1.0
    if match := _DECIBELS.fullmatch(text):
        gain = 10 ** (float(match[1]) / 20)
    elif _NUMBER.fullmatch(text):
        gain = float(text)
    if not 0 <= gain <= MAX_GAIN:
        raise InvalidOption(
            f"`{name}` is {text[:50]!r}; it must be a factor between 0 and {MAX_GAIN:g}, or "
            "decibels up to 6dB, such as -6dB."
        )
    return gain


def _number(name: str, text: str, minimum: float, maximum: float) -> float:
    if not _NUMBER.fullmatch(text) or not minimum <= float(text) <= maximum:
        raise InvalidOption(
            f"`{name}` is {text[:50]!r}; it must be a number between {minimum:g} and {maximum:g}."
        )
    return float(text)


def _flag(name: str, text: str) -> bool:
    try:
        return boolean(text)
    except ValueError as error:
        raise InvalidOption(f"`{name}` is {text[:50]!r}; {error}.") from None
