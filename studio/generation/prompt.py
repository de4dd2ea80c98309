"""Reads prompts: text whose first line may contain options as JSON."""

import json
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.errors import TextUnreadable
from studio.storage.texts import read_text

MAX_CHARACTERS = 2000


@dataclass(frozen=True)
class PromptFile:
    """A description of music, and unchecked options."""

    text: str
    options: dict[str, Any] = field(default_factory=dict)


def read_prompt(path: Path) -> PromptFile:
    """Read the prompt in a text file. Raises TextUnreadable."""
    text = read_text(path, MAX_CHARACTERS, "a prompt")
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
