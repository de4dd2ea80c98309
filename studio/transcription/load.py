"""Loads a variant of Whisper, from this machine or, the first time, from its release."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from studio.errors import ModelUnusable, WeightsMissing
from studio.inference.reachable import any_reachable, hub_address
from studio.inference.variants import Where, or_bundled
from studio.transcription.catalogue import (
    FASTER_WHISPER,
    RELEASES,
    Catalogue,
    Variant,
    repository,
)
from studio.transcription.engine import SpeechEngine

OPENAI_URL = "https://openaipublic.azureedge.net"


@dataclass(frozen=True)
class SpeechSettings:
    """What the operator wants: what faster-whisper runs on, threads (0: its own choice), graphs'
    folder, device.
    """

    runtime: str
    threads: int
    graphs: Path
    device: str = "auto"


def load(catalogue: Catalogue, name: str, settings: SpeechSettings) -> SpeechEngine:
    """The loaded engine of a variant. Raises WeightsMissing or ModelUnusable, with the mend."""
    if find_spec(catalogue.engine.replace("-", "_").replace("openai_", "")) is None:
        raise ModelUnusable(
            f"WHISPER_ENGINE is {catalogue.engine}, and that package is not installed: run "
            f"`pip install {catalogue.engine}`, or set WHISPER_ENGINE={FASTER_WHISPER}."
        )
    if settings.runtime == "openvino" and find_spec("openvino") is None:
        raise ModelUnusable(
            "WHISPER_RUNTIME is openvino, but the package is not installed. Run `pip install "
            "openvino`, or set WHISPER_RUNTIME=auto."
        )
    variant = catalogue.find(name)
    if variant.damage:
        mend = "" if variant.where is Where.BUNDLED else f" Mend it{or_bundled(name)}."
        raise ModelUnusable(f"The variant {name!r} cannot be loaded: {variant.damage}.{mend}")
    if variant.where is Where.AVAILABLE:
        _fetch(catalogue, name)
        variant = catalogue.find(name)
    try:
        return _build(catalogue, variant, settings)
    except Exception as error:
        raise ModelUnusable(
            f"The weights of {name!r} cannot be loaded: {type(error).__name__}: {error}. Replace "
            f"{variant.path}{or_bundled(name)}."
        ) from error


def _build(catalogue: Catalogue, variant: Variant, settings: SpeechSettings) -> SpeechEngine:
    assert variant.path is not None
    if catalogue.engine == FASTER_WHISPER:
        from studio.transcription.faster_engine import FasterWhisper

        return FasterWhisper(
            variant.path, settings.threads, settings.runtime, settings.graphs, settings.device
        )
    from studio.transcription.openai_engine import OpenaiWhisper

    return OpenaiWhisper(variant.path, variant.name, settings.device)


def _fetch(catalogue: Catalogue, name: str) -> None:
    """Download a release into the usual cache of the engine's package."""
    is_faster = catalogue.engine == FASTER_WHISPER
    if not any_reachable(hub_address() if is_faster else [OPENAI_URL]):
        raise _missing(catalogue, name, "no network")
    assert name in RELEASES
    try:
        if is_faster:
            from faster_whisper.utils import download_model

            download_model(repository(name))
        else:
            import whisper

            whisper._download(whisper._MODELS[name], str(catalogue.cache), in_memory=False)
    except (OSError, RuntimeError) as error:
        reason = f"the download failed ({type(error).__name__})"
        raise _missing(catalogue, name, reason) from error


def _missing(catalogue: Catalogue, name: str, reason: str) -> WeightsMissing:
    path = catalogue.wanted_path(name)
    kind = "a CTranslate2 directory" if catalogue.engine == FASTER_WHISPER else "a checkpoint"
    return WeightsMissing(
        f"The weights of {name!r} are not on this machine and cannot be downloaded: {reason}. "
        f"Put {kind} at {path}{or_bundled(name)}.",
        missing=[path.name],
    )
