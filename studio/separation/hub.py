"""Demucs's releases outside of this machine: their names on the hub, and what the caches hold.

PyTorch is not imported here: listing models must not take seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from studio.errors import ModelUnusable
from studio.inference.hub import fetch
from studio.inference.transfer import OnTransfer

HUB_PREFIX = "hf://"
HUB_NAMESPACE = "adefossez"


def is_hub_name(name: str) -> bool:
    """Whether a name is `hf://NAMESPACE/NAME` or `hf://NAME` with names that the hub allows."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    bag = name.removeprefix(HUB_PREFIX).rpartition("/")[2]
    if not name.startswith(HUB_PREFIX) or not bag:
        return False
    try:
        validate_repo_id(hub_repository(name)[0])
    except HFValidationError:
        return False
    return True


def hub_repository(name: str) -> tuple[str, str]:
    """Repository and bag name on the hub of a variant, with or without `hf://`.

    The names of the repositories are those of `demucs.hf.hf_repo_name`.
    """
    namespace, _, bag = name.removeprefix(HUB_PREFIX).rpartition("/")
    if bag == "htdemucs":
        repository = "HTDemucs"
    elif bag.startswith("htdemucs_"):
        repository = f"HTDemucs-{bag.removeprefix('htdemucs_')}"
    else:
        repository = f"Demucs-{bag}"
    return f"{namespace or HUB_NAMESPACE}/{repository}", bag


@dataclass(frozen=True)
class HubAccess:
    """Which repositories callers may name, and where their files are kept.

    `repositories` holds `NAMESPACE/NAME`; None allows all. `folder` is a separate cache, so that
    callers' downloads can be counted; None: the hub's default cache.
    """

    repositories: frozenset[str] | None = None
    folder: Path | None = None

    def allows(self, name: str) -> bool:
        """Whether a variant `hf://...` may be used."""
        return self.repositories is None or hub_repository(name)[0] in self.repositories

    def cached_file(self, repository: str, filename: str) -> Path | None:
        """A file of a repository in this cache or the usual one."""
        from huggingface_hub import try_to_load_from_cache

        for folder in (self.folder, None):
            path = try_to_load_from_cache(repository, filename, cache_dir=folder)
            if isinstance(path, str):
                return Path(path)
        return None

    def fetch(
        self,
        repository: str,
        filenames: list[str],
        max_bytes: int,
        reserve: Callable[[int], None],
        on_transfer: OnTransfer = lambda _: None,
    ) -> list[Path]:
        """Download files of a repository, of `max_bytes` in all; their paths.

        `reserve(bytes)` is called with the size of all before any is downloaded. Raises
        ModelUnusable when they are too large, and DownloadFailed.
        """

        def check(size_bytes: int) -> None:
            if size_bytes > max_bytes:
                raise ModelUnusable(
                    f"{', '.join(filenames)} in the hub repository {repository} must declare a "
                    f"size of at most {max_bytes:,} bytes. Use another variant."
                )
            reserve(size_bytes)

        return fetch(repository, filenames, on_transfer, self.folder, check)


def release_bag(name: str) -> Path:
    """The definition of a released bag, which the demucs package carries."""
    spec = find_spec("demucs")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "remote" / f"{name}.yaml"
