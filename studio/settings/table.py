"""The fields of the settings in `studio/settings/sections/`."""

import dataclasses
from collections.abc import Callable
from typing import Any


def setting(default: Any, parse: Callable[[str], Any], help_text: str) -> Any:
    return dataclasses.field(default=default, metadata={"parse": parse, "help": help_text})


def secret(default: Any, parse: Callable[[str], Any], help_text: str) -> Any:
    """A setting whose value never appears in errors or in the repr."""
    metadata = {"parse": parse, "help": help_text, "secret": True}
    return dataclasses.field(default=default, repr=False, metadata=metadata)
