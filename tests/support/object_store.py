"""An object store for a test, with its credentials in the environment."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.services.object_store import CREDENTIALS, KINDS, ObjectStore


@contextmanager
def object_store(folder: Path) -> Iterator[ObjectStore]:
    """A running store with an empty bucket."""
    store = ObjectStore(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        try:
            store.start(*KINDS)
            store.create_bucket()
            yield store
        finally:
            store.kill(*KINDS)
