"""faster-whisper's models, with the spectra that their networks read."""

from pathlib import Path
from typing import Any

from studio.transcription.faster_whisper_import import import_faster_whisper


def load_model(folder: Path, precision: str, **settings: Any) -> Any:
    """A `faster_whisper.WhisperModel` of a CTranslate2 directory."""
    model_type = import_faster_whisper().WhisperModel
    model = model_type(str(folder), compute_type=precision, local_files_only=True, **settings)
    match_mel_bands(model, model.model.n_mels)
    return model


def match_mel_bands(model: Any, bands: int) -> None:
    """Let the model compute spectra with this many mel bands.

    Without a `preprocessor_config.json`, faster-whisper takes 80, and large-v3 reads 128.
    """
    if len(model.feature_extractor.mel_filters) == bands:
        return
    model.feat_kwargs = {**model.feat_kwargs, "feature_size": bands}
    extractor = import_faster_whisper().feature_extractor.FeatureExtractor
    model.feature_extractor = extractor(**model.feat_kwargs)
