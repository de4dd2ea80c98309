"""Reads files of settings, and finds names that look like misspelled settings."""

import difflib
from collections.abc import Collection, Iterable
from pathlib import Path

# Share of equal letters from which a name looks like a setting; API_KEY and API_KEYS have 0.93.
SIMILAR = 0.85
MIN_CHARACTERS = 5
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_utf_8(path: Path) -> str:
    """The text of a file of settings. Raises ValueError if it is not UTF-8."""
    content = path.read_bytes()
    if content.startswith(UTF_16):
        raise ValueError(
            f"{path} is UTF-16, as PowerShell writes it by default. Save it as UTF-8, for example "
            'with `[IO.File]::WriteAllLines("$PWD/.env", (Get-Content .env))` in PowerShell.'
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} is not UTF-8: line {line} has the byte 0x{content[error.start]:02x}. Save it "
            "as UTF-8."
        ) from None


def misspelled(names: Iterable[str], settings: Collection[str]) -> dict[str, str]:
    """Names that look like misspelled settings, with the setting that each resembles."""
    suggestions = {}
    for name in sorted(set(names) - set(settings)):
        if len(name) >= MIN_CHARACTERS:
            close = difflib.get_close_matches(name.upper(), settings, n=1, cutoff=SIMILAR)
            if close:
                suggestions[name] = close[0]
    return suggestions
