"""Writes a file as a whole."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path`, which it replaces, or becomes, if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Files in progress belong to the server with whose name they begin.
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
