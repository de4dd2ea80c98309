"""Loads a variant of MusicGen, from this machine or, the first time, from its release."""

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studio.errors import ModelUnusable
from studio.generation import parts
from studio.generation.catalogue import MusicGenCatalogue, MusicGenVariant, repository
from studio.generation.model import CodecSpec, Decoder, MusicModel
from studio.generation.shape import shape_of
from studio.inference import hub
from studio.inference.devices import MPS, Device
from studio.inference.engine_choice import run_on_best, torch_name
from studio.inference.engine_settings import EngineSettings
from studio.inference.graph_cache import NotConvertible
from studio.inference.reachable import hub_address
from studio.inference.transfer import OnTransfer
from studio.inference.variants import Where, download_errors, load_errors
from studio.settings.folders import pip_install

FILES = ("*.json", "model*.safetensors", "spiece.model")


@dataclass(frozen=True)
class _Parts:
    """What every engine shares of a directory."""

    folder: Path
    config: Any
    spec: CodecSpec
    listener: Any


def load(catalogue: MusicGenCatalogue, name: str, settings: EngineSettings) -> MusicModel:
    """The loaded variant. Raises WeightsMissing or ModelUnusable, each with the remedy."""
    if find_spec("transformers") is None:
        raise ModelUnusable(
            f"The package transformers is not installed: run `{pip_install('transformers')}`."
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


def _build(variant: MusicGenVariant, settings: EngineSettings) -> MusicModel:
    from studio.generation.listener import TextListener

    assert variant.folder is not None
    config = parts.read_config(variant.folder)
    spec = parts.read_codec_spec(variant.folder, config)
    shared = _Parts(variant.folder, config, spec, TextListener(variant.folder, config))
    return run_on_best(
        settings,
        "MUSICGEN_ENGINE",
        on_gpu=partial(_on_gpu, shared),
        on_openvino=partial(_on_openvino, shared, settings),
        on_torch=partial(_on_torch, shared, settings),
    )


def _on_gpu(shared: _Parts, device: Device) -> MusicModel:
    """The model on a GPU. Raises RuntimeError if the GPU cannot run it."""
    return _on_cuda(shared, device.name) if device.is_cuda else _on_mps(shared)


def _on_cuda(shared: _Parts, device: str) -> MusicModel:
    from studio.generation.cuda.decoder import CudaDecoder
    from studio.generation.torch_engine import TorchCodec, TorchDecoder

    folder, config, spec = shared.folder, shared.config, shared.spec
    codec = TorchCodec(folder, config, device)
    decoder: Decoder
    try:
        shape = shape_of(config, spec)
    except NotConvertible:
        decoder = TorchDecoder(folder, config, device)
    else:
        decoder = CudaDecoder(
            folder, shape, spec, device, lambda: TorchDecoder(folder, config, "cpu")
        )
        decoder.rehearse(spec)
    return MusicModel(spec, shared.listener, decoder, codec, torch_name(device), "f16")


def _on_mps(shared: _Parts) -> MusicModel:
    from studio.generation.torch_engine import TorchCodec, TorchDecoder

    decoder = TorchDecoder(shared.folder, shared.config, MPS)
    decoder.rehearse(shared.spec)
    codec = TorchCodec(shared.folder, shared.config, MPS)
    return MusicModel(shared.spec, shared.listener, decoder, codec, torch_name(MPS), "f32")


def _on_torch(shared: _Parts, settings: EngineSettings, note: str | None) -> MusicModel:
    import torch

    from studio.generation.torch_engine import TorchCodec, TorchDecoder

    if settings.threads:
        torch.set_num_threads(settings.threads)
    decoder = TorchDecoder(shared.folder, shared.config, "cpu")
    codec = TorchCodec(shared.folder, shared.config, "cpu")
    return MusicModel(shared.spec, shared.listener, decoder, codec, torch_name("cpu"), "f32", note)


def _on_openvino(shared: _Parts, settings: EngineSettings, note: str | None) -> MusicModel:
    from studio.generation.openvino.engine import build

    decoder, codec, precision = build(
        shared.folder,
        shared.config,
        shared.spec,
        precision=settings.precision,
        threads=settings.threads,
        graphs=settings.graphs,
    )
    return MusicModel(shared.spec, shared.listener, decoder, codec, "openvino", precision, note)


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
