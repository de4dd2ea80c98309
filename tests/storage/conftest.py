from collections.abc import Iterator

import pytest

from scripts.services.object_store import ObjectStore
from tests.support.object_store import object_store


@pytest.fixture(scope="package")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A real object store."""
    with object_store(tmp_path_factory.mktemp("swift") / "store") as store:
        yield store
