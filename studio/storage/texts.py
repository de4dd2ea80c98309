"""Reads text files that callers give: prompts and lyrics."""

import unicodedata
from pathlib import Path

from studio.errors import TextUnreadable

MAX_BYTES_PER_CHARACTER = 4
BYTE_ORDER_MARK_BYTES = 3


def read_text(path: Path, max_characters: int, kind: str) -> str:
    """The text of a UTF-8 file. `kind` names such texts in errors. Raises TextUnreadable."""
    size_bytes = path.stat().st_size
    if size_bytes > MAX_BYTES_PER_CHARACTER * max_characters + BYTE_ORDER_MARK_BYTES:
        raise TextUnreadable(
            f"The text has {size_bytes:,} bytes; {kind} may have at most {max_characters:,} "
            "characters. Shorten it."
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TextUnreadable("The text is not UTF-8. Save it in this encoding.") from None
    if len(text) > max_characters:
        raise TextUnreadable(
            f"The text has {len(text):,} characters; {kind} may have at most "
            f"{max_characters:,}. Shorten it."
        )
    if any(unicodedata.category(letter) == "Cc" and letter not in "\t\r\n" for letter in text):
        raise TextUnreadable("The file contains control characters. Save it as plain text.")
    return text
