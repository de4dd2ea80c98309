"""Loads the weights of a Demucs variant, from this machine or, the first time, from its release."""

import logging
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studio.errors import ModelUnusable, WeightsMissing
from studio.inference.engine_settings import EngineSettings
from studio.inference.hub import declared_bytes
from studio.inference.reachable import any_reachable, hub_address
from studio.inference.transfer import DownloadFailed, OnTransfer, RemoteFile, download
from studio.inference.variants import BUNDLED, Where, download_errors, load_errors, or_bundled
from studio.separation import limits
from studio.separation.catalogue import (
    RELEASES,
    DemucsCatalogue,
    DemucsVariant,
    read_bag,
)
from studio.separation.checkpoints import load_file
from studio.separation.engines import Weights, build
from studio.separation.hub import HUB_PREFIX, HubAccess, hub_repository, release_bag
from studio.separation.network import Bag
from studio.settings.folders import pip_install

log = logging.getLogger(__name__)

# requirements.txt leaves it out where pip cannot install its dependencies.
INSTALL_DEMUCS = "--no-deps demucs==4.1.0"
RELEASE_URL = "https://dl.fbaipublicfiles.com"


def load(
    catalogue: DemucsCatalogue,
    name: str,
    settings: EngineSettings,
    reserve: Callable[[int], None] = lambda _: None,
) -> Bag:
    """The loaded bag of a variant. Raises WeightsMissing or ModelUnusable, each with the remedy.

    `reserve(bytes)` is asked for disk space before a variant of the hub is downloaded.
    """
    fetch(catalogue, name, reserve)
    variant = catalogue.find(name)
    if variant.missing:
        raise WeightsMissing(
            f"The bag {name}.yaml in {catalogue.local_dir} needs {', '.join(variant.missing)}, "
            f"which is missing. Copy it into that folder (a {variant.missing[0][:-12]}.th from "
            f"the Demucs release also works), or use the bundled variant {BUNDLED!r}.",
            missing=list(variant.missing),
            variant=name,
            reason=f"{', '.join(variant.missing)} is missing",
        )
    if variant.damage:
        remedy = (
            f" Replace the file in {catalogue.local_dir}, or use the bundled variant {BUNDLED!r}."
            if variant.where is Where.LOCAL
            else ""
        )
        raise ModelUnusable(f"The variant {name!r} cannot be loaded: {variant.damage}.{remedy}")
    _check_diffq(variant)
    segment_s = variant.segment_s
    files = [
        Weights(path, segment_s, partial(load_file, path, segment_s)) for path in variant.files
    ]
    with load_errors(name, f"Replace the files{or_bundled(name)}."):
        return build(files, variant.weights, settings)


def _check_diffq(variant: DemucsVariant) -> None:
    if variant.needs_diffq and find_spec("diffq") is None:
        raise ModelUnusable(
            f"The variant {variant.name!r} is quantised and needs the package diffq: run "
            f"`{pip_install('diffq')}` (it needs a C compiler) and restart the server."
        )


def fetch(
    catalogue: DemucsCatalogue,
    name: str,
    reserve: Callable[[int], None],
    on_transfer: OnTransfer = lambda _: None,
) -> None:
    """Download a variant into the usual caches if it is not on this machine.

    Raises WeightsMissing, ModelUnusable or DiskFull.
    """
    if find_spec("demucs") is None:
        raise ModelUnusable(f"Demucs is not installed: run `{pip_install(INSTALL_DEMUCS)}`.")
    variant = catalogue.find(name)
    if variant.where is not Where.AVAILABLE:
        return
    _check_diffq(variant)
    hosts = hub_address() if name.startswith(HUB_PREFIX) else [*hub_address(), RELEASE_URL]
    missing = _release_signatures(name)
    put = (
        f"Put {name.rpartition('/')[2]}.yaml and {', '.join(missing) or 'its weights'} into "
        f"{catalogue.local_dir}"
    )
    with download_errors(name, hosts, missing, put):
        if name in RELEASES:
            _fetch_release(catalogue, name, on_transfer)
        else:
            _fetch_from_hub(catalogue.hub, name, reserve, on_transfer)


def _fetch_release(catalogue: DemucsCatalogue, name: str, on_transfer: OnTransfer) -> None:
    """Download a release from the hub, otherwise from the address of its first publication."""
    try:
        _fetch_from_hub(HubAccess(), name, lambda _: None, on_transfer)
    except (DownloadFailed, WeightsMissing) as error:
        log.warning("the hub does not provide %s: %s", name, error)
        if catalogue.checkpoints is None or not any_reachable([RELEASE_URL]):
            reason = error if isinstance(error, DownloadFailed) else "the hub does not provide it"
            raise DownloadFailed(str(reason)) from error
        download(_published_files(catalogue.checkpoints, name), on_transfer)


def _published_files(folder: Path, name: str) -> list[RemoteFile]:
    """The checkpoints of a release, whose names end in the beginning of their SHA-256."""
    from demucs.pretrained import REMOTE_ROOT, _parse_remote_files

    published = _parse_remote_files(REMOTE_ROOT / "files.txt")
    files = []
    for signature in read_bag(release_bag(name))["models"]:
        url = str(published[signature])
        path = folder / url.rpartition("/")[2]
        checksum = path.stem.rpartition("-")[2]
        files.append(RemoteFile(url, path, declared_bytes(url), checksum))
    return files


def _fetch_from_hub(
    hub: HubAccess, name: str, reserve: Callable[[int], None], on_transfer: OnTransfer
) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    repository, bag_name = hub_repository(name)
    bag_file = f"{bag_name}.yaml"
    try:
        [bag_path] = hub.fetch(repository, [bag_file], limits.MAX_BAG_BYTES, reserve)
        bag = _bag(bag_path)
        networks = [f"{name}.safetensors" for name in bag["models"]]
        hub.fetch(repository, networks, limits.MAX_DOWNLOAD_BYTES, reserve, on_transfer)
    except DownloadFailed as error:
        if not isinstance(error.__cause__, HfHubHTTPError):
            raise
        cause = type(error.__cause__).__name__
        raise WeightsMissing(
            f"The hub repository {repository} has no bag {bag_file} with safetensors, or it "
            f"is not public ({cause}). Check the name{or_bundled(name)}.",
            variant=name,
            reason=f"{repository} has no {bag_file} on the hub, or is not public ({cause})",
        ) from error


def _bag(path: Path) -> dict[str, Any]:
    try:
        return read_bag(path)
    except ValueError as error:
        raise ModelUnusable(
            f"The downloaded variant cannot be loaded: {error}. Use another variant."
        ) from error


def _release_signatures(name: str) -> list[str]:
    if name not in RELEASES:
        return []
    bag = read_bag(release_bag(name))
    return [f"{signature}.safetensors" for signature in bag["models"]]
