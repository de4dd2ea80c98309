"""Loads a variant of MusicGen, from this machine or, the first time, from its release."""

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studio.downloads import any_reachable, hub_address
from studio.errors import ModelUnusable, WeightsMissing
from studio.generation import parts
from studio.generation.catalogue import Catalogue, Variant, repository
from studio.generation.model import Kind, MusicModel
from studio.graphs import NotConvertible, cuda_device
from studio.weights import BUNDLED, Where

log = logging.getLogger(__name__)

FILES = ("*.json", "model*.safetensors", "spiece.model")


@dataclass(frozen=True)
class EngineSettings:
    """What the operator wants: engine, precision, threads (0: its own choice), graphs' folder."""

    engine: str
    precision: str
    threads: int
    graphs: Path


def load(catalogue: Catalogue, name: str, settings: EngineSettings) -> MusicModel:
    """The loaded variant. Raises WeightsMissing or ModelUnusable, each with the mend."""
    if find_spec("transformers") is None:
        raise ModelUnusable("MusicGen needs a package: run `pip install transformers`.")
    variant = catalogue.find(name)
    if variant.where is Where.AVAILABLE:
        _fetch(catalogue, name)
        variant = catalogue.find(name)
    if variant.damage:
        raise ModelUnusable(
            f"The variant {name!r} cannot be loaded: {variant.damage}. Put the missing files there "
            "as `save_pretrained` of transformers writes them."
        )
    try:
        return _build(variant, settings)
    except ModelUnusable:
        raise
    except Exception as error:
        log.warning("the variant %s cannot be loaded", name, exc_info=error)
        raise ModelUnusable(
            f"The weights of {name!r} cannot be loaded ({type(error).__name__}). Replace the files "
            f"in {variant.folder}."
        ) from error


def expected(settings: EngineSettings) -> str:
    """The engine that variants run on."""
    if settings.engine == "openvino":
        return "openvino"
    if device := cuda_device():
        return f"torch ({device})"
    return "torch" if settings.engine == "torch" or not find_spec("openvino") else "openvino"


def _build(variant: Variant, settings: EngineSettings) -> MusicModel:
    from studio.generation.listener import TextListener

    assert variant.folder is not None
    config = parts.read_config(variant.folder)
    kind = parts.read_kind(variant.folder, config)
    listener = TextListener(variant.folder, config)
    engine = expected(settings)
    if engine == "openvino":
        return _on_openvino(variant.folder, config, kind, listener, settings)
    note = None
    if settings.engine == "auto" and engine == "torch":
        note = "OpenVINO is not installed; PyTorch was used, which is slower on a CPU."
    return _on_torch(variant.folder, config, kind, listener, settings, note)


def _on_torch(
    folder: Path, config: Any, kind: Kind, listener: Any, settings: EngineSettings, note: str | None
) -> MusicModel:
    import torch

    from studio.generation.torch_engine import TorchCodec, TorchDecoder

    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = cuda_device() or "cpu"
    decoder, codec = TorchDecoder(folder, config, device), TorchCodec(folder, config, device)
    name, precision = ("torch", "f32") if device == "cpu" else (f"torch ({device})", "f16")
    return MusicModel(kind, listener, decoder, codec, name, precision, note)


def _on_openvino(
    folder: Path, config: Any, kind: Kind, listener: Any, settings: EngineSettings
) -> MusicModel:
    if find_spec("openvino") is None:
        raise ModelUnusable(
            "MUSICGEN_ENGINE is openvino, but the package is not installed. Run `pip install "
            "openvino`, or set MUSICGEN_ENGINE=auto."
        )
    from studio.generation.openvino_engine import build

    try:
        decoder, codec, precision = build(
            folder, config, kind, settings.precision, settings.threads, settings.graphs
        )
    except NotConvertible as error:
        note = f"PyTorch was used: {error}."
    except RuntimeError as error:
        log.warning("OpenVINO refused the network", exc_info=error)
        note = "OpenVINO refused this network; PyTorch was used, which is slower on a CPU."
    else:
        return MusicModel(kind, listener, decoder, codec, "openvino", precision)
    return _on_torch(folder, config, kind, listener, settings, note)


def _fetch(catalogue: Catalogue, name: str) -> None:
    """Download a release into the hub's cache."""
    if not any_reachable(hub_address()):
        raise _missing(catalogue, name, "no network")
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(repository(name), allow_patterns=list(FILES))
    except (OSError, RuntimeError) as error:
        reason = f"the download failed ({type(error).__name__})"
        raise _missing(catalogue, name, reason) from error


def _missing(catalogue: Catalogue, name: str, reason: str) -> WeightsMissing:
    bundled = catalogue.find(BUNDLED)
    instead = "" if bundled.damage else f", or use the bundled variant {BUNDLED!r}"
    return WeightsMissing(
        f"The weights of {name!r} are not on this machine and cannot be downloaded: {reason}. Put "
        f"the files of {repository(name)} into {catalogue.local_dir / name}{instead}.",
        missing=[parts.CONFIG, parts.WEIGHTS, parts.TOKENIZER],
    )
