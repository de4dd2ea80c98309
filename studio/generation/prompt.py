"""Reads prompts: text whose first line may contain options as JSON."""

import json
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.errors import TextUnreadable

MAX_CHARACTERS = 2000
MAX_BYTES = 4 * MAX_CHARACTERS + 3


@dataclass(frozen=True)
class PromptFile:
    """A description of music, and unchecked options."""

    text: str
    options: dict[str, Any] = field(default_factory=dict)


def read_prompt(path: Path) -> PromptFile:
    """Read the prompt in a text file. Raises TextUnreadable."""
    if path.stat().st_size > MAX_BYTES:
        raise TextUnreadable(
            f"The text has {path.stat().st_size:,} bytes; a prompt may have at most "
            f"{MAX_CHARACTERS:,} characters. Shorten it."
        )
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TextUnreadable("The text is not UTF-8. Save it in this encoding.") from None
    if len(text) > MAX_CHARACTERS:
        raise TextUnreadable(
            f"The text has {len(text):,} characters; a prompt may have at most "
            f"{MAX_CHARACTERS:,}. Shorten it."
        )
    if any(unicodedata.category(letter) == "Cc" and letter not in "\t\r\n" for letter in text):
        raise TextUnreadable("The file contains control characters. Save it as plain text.")
    options, text = _split(text)
    text = " ".join(text.split())
    if not any(unicodedata.category(letter)[0] in "LNS" for letter in text):
        raise TextUnreadable("The prompt is empty. Describe the music in a sentence.")
    return PromptFile(text, options)


def _split(text: str) -> tuple[dict[str, Any], str]:
    """Split the options of the first line from the rest."""
    first, _, rest = text.lstrip().partition("\n")
    if not first.startswith("{"):
        return {}, text
    try:
        options = json.loads(first)
    except (ValueError, RecursionError) as error:
        raise TextUnreadable(
            f"The first line begins with {{ but is not valid JSON: {error}. Write options such as "
            '{"duration": 20} on one line, and the prompt below it.'
        ) from None
    return options, rest
