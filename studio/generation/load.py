"""Loads a variant of MusicGen, from this machine or, the first time, from its release."""

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studio.errors import ModelUnusable
from studio.generation import parts
from studio.generation.catalogue import MusicGenCatalogue, MusicGenVariant, repository
from studio.generation.model import CodecSpec, Decoder, MusicModel
from studio.inference import hub
from studio.inference.devices import (
    MPS,
    choose_device,
    fallback_note,
    join_notes,
    release_memory,
)
from studio.inference.engine_settings import EngineSettings
from studio.inference.graph_cache import ConversionFailed, NotConvertible
from studio.inference.reachable import hub_address
from studio.inference.transfer import OnTransfer
from studio.inference.variants import Where, download_errors, load_errors

log = logging.getLogger(__name__)

FILES = ("*.json", "model*.safetensors", "spiece.model")


@dataclass(frozen=True)
class _Parts:
    """What every engine shares of a directory."""

    folder: Path
    config: Any
    kind: CodecSpec
    listener: Any


def load(catalogue: MusicGenCatalogue, name: str, settings: EngineSettings) -> MusicModel:
    """The loaded variant. Raises WeightsMissing or ModelUnusable, each with the remedy."""
    if find_spec("transformers") is None:
        raise ModelUnusable(
            "The package transformers is not installed: run `pip install transformers`."
        )
    fetch(catalogue, name)
    variant = catalogue.find(name)
    if variant.damage:
        raise ModelUnusable(
            f"The variant {name!r} cannot be loaded: {variant.damage}. Add the missing files, in "
            "the layout of transformers' `save_pretrained`."
        )
    with load_errors(name, f"Replace the files in {variant.folder}."):
        return _build(variant, settings)


def expected(settings: EngineSettings) -> str:
    """The engine that variants run on."""
    if settings.engine != "openvino":
        device = choose_device(settings.device)
        if not device.is_cpu:
            return f"torch ({device.name})"
    return _engine_on_cpu(settings)


def _engine_on_cpu(settings: EngineSettings) -> str:
    if settings.engine == "auto" and not find_spec("openvino"):
        return "torch"
    return "openvino" if settings.engine == "auto" else settings.engine


def _build(variant: MusicGenVariant, settings: EngineSettings) -> MusicModel:
    from studio.generation.listener import TextListener

    assert variant.folder is not None
    config = parts.read_config(variant.folder)
    kind = parts.read_codec_spec(variant.folder, config)
    shared = _Parts(variant.folder, config, kind, TextListener(variant.folder, config))
    if settings.engine == "openvino":
        return _on_openvino(shared, settings, None)
    device = choose_device(settings.device)
    note = device.note
    if not device.is_cpu:
        try:
            return _on_cuda(shared, device.name) if device.is_cuda else _on_mps(shared)
        except RuntimeError as error:
            log.warning("%s cannot run the network", device.name, exc_info=error)
            note = fallback_note(error, device.name)
        release_memory()
    if _engine_on_cpu(settings) == "openvino":
        return _on_openvino(shared, settings, note)
    if settings.engine == "auto":
        slow = "OpenVINO is not installed; PyTorch was used, which is slower on a CPU."
        note = join_notes(note, slow)
    return _on_torch(shared, settings, note)


def _on_cuda(shared: _Parts, device: str) -> MusicModel:
    """The model on a CUDA device. Raises RuntimeError where the device cannot run it."""
    from studio.generation.cuda.decoder import CudaDecoder
    from studio.generation.openvino.conversion import shape_of
    from studio.generation.torch_engine import TorchCodec, TorchDecoder

    folder, config, kind = shared.folder, shared.config, shared.kind
    codec = TorchCodec(folder, config, device)
    decoder: Decoder
    try:
        shape = shape_of(config, kind)
    except NotConvertible:
        decoder = TorchDecoder(folder, config, device)
    else:
        decoder = CudaDecoder(
            folder, shape, kind, device, lambda: TorchDecoder(folder, config, "cpu")
        )
        decoder.rehearse(kind)
    return MusicModel(kind, shared.listener, decoder, codec, f"torch ({device})", "f16")


def _on_mps(shared: _Parts) -> MusicModel:
    """The model on the GPU of a Mac. Raises RuntimeError where it cannot run it."""
    from studio.generation.torch_engine import TorchCodec, TorchDecoder

    decoder = TorchDecoder(shared.folder, shared.config, MPS)
    decoder.rehearse(shared.kind)
    codec = TorchCodec(shared.folder, shared.config, MPS)
    return MusicModel(shared.kind, shared.listener, decoder, codec, f"torch ({MPS})", "f32")


def _on_torch(shared: _Parts, settings: EngineSettings, note: str | None) -> MusicModel:
    import torch

    from studio.generation.torch_engine import TorchCodec, TorchDecoder

    if settings.threads:
        torch.set_num_threads(settings.threads)
    decoder = TorchDecoder(shared.folder, shared.config, "cpu")
    codec = TorchCodec(shared.folder, shared.config, "cpu")
    return MusicModel(shared.kind, shared.listener, decoder, codec, "torch", "f32", note)


def _on_openvino(shared: _Parts, settings: EngineSettings, note: str | None) -> MusicModel:
    if find_spec("openvino") is None:
        raise ModelUnusable(
            "MUSICGEN_ENGINE is openvino, but the package is not installed. Run `pip install "
            "openvino`, or set MUSICGEN_ENGINE=auto."
        )
    from studio.generation.openvino.engine import build

    try:
        decoder, codec, precision = build(
            shared.folder,
            shared.config,
            shared.kind,
            precision=settings.precision,
            threads=settings.threads,
            graphs=settings.graphs,
        )
    except (NotConvertible, ConversionFailed) as error:
        slow = f"Fell back to PyTorch: {error}."
    except RuntimeError as error:
        log.warning("OpenVINO refused the network", exc_info=error)
        slow = "OpenVINO cannot run this network; PyTorch was used, which is slower on a CPU."
    else:
        return MusicModel(shared.kind, shared.listener, decoder, codec, "openvino", precision, note)
    return _on_torch(shared, settings, join_notes(note, slow))


def fetch(
    catalogue: MusicGenCatalogue, name: str, on_transfer: OnTransfer = lambda _: None
) -> None:
    """Download a release into the hub's cache if it is not there.

    Raises WeightsMissing or DiskFull.
    """
    if catalogue.find(name).where is not Where.AVAILABLE:
        return
    missing = [parts.CONFIG, parts.WEIGHTS, parts.TOKENIZER]
    put = f"Put the files of {repository(name)} into {catalogue.local_dir / name}"
    with download_errors(name, hub_address(), missing, put):
        names = hub.list_files(repository(name), FILES)
        hub.fetch(repository(name), names, on_transfer)
