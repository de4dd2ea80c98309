"""Loads a variant of Whisper, from this machine or, the first time, from its release."""

from importlib.util import find_spec

from studio.errors import ModelUnusable
from studio.inference import hub
from studio.inference.devices import MPS, choose_device, fallback_note
from studio.inference.engine_choice import require_openvino
from studio.inference.engine_settings import EngineSettings
from studio.inference.reachable import hub_address
from studio.inference.transfer import OnTransfer, RemoteFile, download
from studio.inference.variants import Where, download_errors, load_errors, or_bundled
from studio.settings.folders import pip_install
from studio.transcription.catalogue import (
    FASTER_WHISPER,
    WhisperCatalogue,
    WhisperVariant,
    repository,
)
from studio.transcription.engine import SpeechEngine

OPENAI_URL = "https://openaipublic.azureedge.net"
# As faster-whisper asks for them.
FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")


def load(catalogue: WhisperCatalogue, name: str, settings: EngineSettings) -> SpeechEngine:
    """The loaded engine of a variant. Raises WeightsMissing or ModelUnusable, with the remedy."""
    if settings.engine == "openvino":
        require_openvino("WHISPER_RUNTIME")
    fetch(catalogue, name)
    variant = catalogue.find(name)
    if variant.damage:
        remedy = "" if variant.where is Where.BUNDLED else f" Replace it{or_bundled(name)}."
        raise ModelUnusable(f"The variant {name!r} cannot be loaded: {variant.damage}.{remedy}")
    with load_errors(name, f"Replace {variant.path}{or_bundled(name)}."):
        return _build(catalogue, variant, settings)


def device_note(engine: str, device: str) -> str | None:
    """Why an engine that is not loaded yet will not run on a GPU; None if it will, or need not."""
    from studio.transcription.cuda import NOT_ON_MPS, device_index

    if engine != FASTER_WHISPER and device != MPS:
        return choose_device(device).note
    try:
        if device == MPS:
            raise RuntimeError(NOT_ON_MPS)
        device_index(device)
    except (RuntimeError, ImportError) as error:
        return fallback_note(error, device)
    return None


def _build(
    catalogue: WhisperCatalogue, variant: WhisperVariant, settings: EngineSettings
) -> SpeechEngine:
    assert variant.path is not None
    if catalogue.engine == FASTER_WHISPER:
        from studio.transcription.faster_engine import FasterWhisper

        return FasterWhisper(
            variant.path, settings.threads, settings.engine, settings.graphs, settings.device
        )
    from studio.transcription.openai_engine import OpenaiWhisper

    return OpenaiWhisper(variant.path, variant.name, settings.device)


def fetch(catalogue: WhisperCatalogue, name: str, on_transfer: OnTransfer = lambda _: None) -> None:
    """Download a release into the usual cache of the engine's package if it is not there.

    Raises WeightsMissing, ModelUnusable or DiskFull.
    """
    if find_spec(catalogue.package) is None:
        raise ModelUnusable(
            f"WHISPER_ENGINE is {catalogue.engine}, and that package is not installed: run "
            f"`{pip_install(catalogue.engine)}`, or set WHISPER_ENGINE={FASTER_WHISPER}."
        )
    if catalogue.find(name).where is not Where.AVAILABLE:
        return
    path = catalogue.wanted_path(name)
    if catalogue.engine == FASTER_WHISPER:
        put = f"Put a CTranslate2 directory at {path}"
        with download_errors(name, hub_address(), [path.name], put):
            names = hub.list_files(repository(name), FILES)
            hub.fetch(repository(name), names, on_transfer)
    else:
        with download_errors(name, [OPENAI_URL], [path.name], f"Put a checkpoint at {path}"):
            download([_checkpoint(catalogue, name)], on_transfer)


def _checkpoint(catalogue: WhisperCatalogue, name: str) -> RemoteFile:
    """The checkpoint of openai-whisper, whose address contains its SHA-256."""
    import whisper

    url = str(whisper._MODELS[name])
    checksum, _, file_name = url.rpartition("/")
    path = catalogue.cache / file_name
    return RemoteFile(url, path, hub.declared_bytes(url), checksum.rpartition("/")[2])
