from collections.abc import Iterator

import pytest

from tests.support.object_store import CREDENTIALS, ObjectStore, object_store


@pytest.fixture(scope="package")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A real object store."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with object_store(tmp_path_factory.mktemp("swift") / "store") as store:
            yield store
