"""Loads the weights of a Demucs variant, from this machine or, the first time, from its release."""

from collections.abc import Callable
from functools import partial

from studio.errors import DiskFull, ModelUnusable, WeightsMissing
from studio.inference.reachable import any_reachable, hub_address
from studio.inference.variants import BUNDLED, Where, or_bundled
from studio.separation import limits
from studio.separation.catalogue import (
    RELEASES,
    Catalogue,
    Variant,
    read_bag,
)
from studio.separation.checkpoints import load_file
from studio.separation.engines import EngineSettings, Weights, build
from studio.separation.hub import HUB_PREFIX, HubAccess, hub_repository, release_bag
from studio.separation.network import Bag

RELEASE_URL = "https://dl.fbaipublicfiles.com"


def load(
    catalogue: Catalogue,
    name: str,
    settings: EngineSettings,
    reserve: Callable[[int], None] = lambda _: None,
) -> Bag:
    """The loaded bag of a variant. Raises WeightsMissing or ModelUnusable, each with the mend.

    `reserve(bytes)` is asked for disk space before a variant of the hub is downloaded.
    """
    variant = catalogue.find(name)
    if variant.missing:
        raise WeightsMissing(
            f"The bag {name}.yaml in {catalogue.local_dir} needs {', '.join(variant.missing)}, "
            f"which is not there. Put it into that folder (a {variant.missing[0][:-12]}.th of the "
            f"Demucs release serves too), or use the bundled variant {BUNDLED!r}.",
            missing=list(variant.missing),
        )
    if variant.damage:
        mend = (
            f" Mend the file in {catalogue.local_dir}, or use the bundled variant {BUNDLED!r}."
            if variant.where is Where.LOCAL
            else ""
        )
        raise ModelUnusable(f"The variant {name!r} cannot be loaded: {variant.damage}.{mend}")
    _check_diffq(variant)
    try:
        if variant.where is Where.AVAILABLE:
            _fetch(catalogue, name, reserve)
            variant = catalogue.find(name)
        segment_s = variant.segment_s
        files = [
            Weights(path, segment_s, partial(load_file, path, segment_s)) for path in variant.files
        ]
        return build(files, variant.weights, settings)
    except (WeightsMissing, ModelUnusable, DiskFull):
        raise
    except (Exception, SystemExit) as error:
        raise ModelUnusable(
            f"The weights of {name!r} cannot be loaded: {type(error).__name__}: {error}. Replace "
            f"the files{or_bundled(name)}."
        ) from error


def _check_diffq(variant: Variant) -> None:
    from importlib.util import find_spec

    if variant.needs_diffq and find_spec("diffq") is None:
        raise ModelUnusable(
            f"The variant {variant.name!r} is quantised and needs the package diffq: run "
            "`pip install diffq` (it needs a C compiler) and restart the server."
        )


def _fetch(catalogue: Catalogue, name: str, reserve: Callable[[int], None]) -> None:
    """Download a variant into the usual caches."""
    from demucs.pretrained import get_model

    _require_network(catalogue, name)
    try:
        if name in RELEASES:
            get_model(name)
        else:
            _fetch_from_hub(catalogue.hub, name, reserve)
    except OSError as error:
        raise _missing(catalogue, name, f"the download failed ({type(error).__name__})") from error


def _fetch_from_hub(hub: HubAccess, name: str, reserve: Callable[[int], None]) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    repository, bag_name = hub_repository(name)
    bag_file = f"{bag_name}.yaml"
    try:
        [bag_path] = hub.fetch(repository, [bag_file], limits.MAX_BAG_BYTES, reserve)
        bag = read_bag(bag_path)
        networks = [f"{name}.safetensors" for name in bag["models"]]
        hub.fetch(repository, networks, limits.MAX_DOWNLOAD_BYTES, reserve)
    except HfHubHTTPError as error:
        raise WeightsMissing(
            f"The hub repository {repository} has no bag {bag_file} with safetensors, or it "
            f"is not public ({type(error).__name__}). Check the name{or_bundled(name)}."
        ) from error


def _require_network(catalogue: Catalogue, name: str) -> None:
    """Fail within seconds, and say what to do, where no release can be reached."""
    hosts = hub_address()
    hosts += [] if name.startswith(HUB_PREFIX) else [RELEASE_URL]
    if not any_reachable(hosts):
        raise _missing(catalogue, name, "no network")


def _missing(catalogue: Catalogue, name: str, reason: str) -> WeightsMissing:
    signatures = _release_signatures(name)
    return WeightsMissing(
        f"The weights of {name!r} are not on this machine and cannot be downloaded: {reason}. "
        f"Put {name.rpartition('/')[2]}.yaml and {', '.join(signatures) or 'its weights'} into "
        f"{catalogue.local_dir}, or use the bundled variant {BUNDLED!r}.",
        missing=signatures,
    )


def _release_signatures(name: str) -> list[str]:
    if name not in RELEASES:
        return []
    bag = read_bag(release_bag(name))
    return [f"{signature}.safetensors" for signature in bag["models"]]
