"""Demucs's releases outside of this machine: their names on the hub, and what the caches hold.

PyTorch is not imported here: listing models must not take seconds.
"""

from importlib.util import find_spec
from pathlib import Path

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


def cached_file(repository: str, filename: str) -> Path | None:
    """A file of a hub repository in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, filename)
    return Path(found) if isinstance(found, str) else None


def release_bag(name: str) -> Path:
    """The definition of a released bag, which the demucs package carries."""
    spec = find_spec("demucs")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "remote" / f"{name}.yaml"
