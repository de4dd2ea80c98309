"""faster-whisper's decoding of recordings, without CTranslate2's copy of the weights."""

from pathlib import Path
from typing import Any

from studio.transcription.faster_whisper_import import import_faster_whisper
from studio.transcription.openvino.weights import NotReadable

TOKENIZER_FILE = "tokenizer.json"


def without_ctranslate2(folder: Path) -> Any:
    """A `faster_whisper.WhisperModel` of a directory whose `model` is still to be set.

    Raises NotReadable if the directory has no tokenizer, which faster-whisper would download.
    """
    from tokenizers import Tokenizer

    package = import_faster_whisper()

    class Pipeline(package.transcribe.WhisperModel):  # type: ignore[misc, name-defined]
        """Only the constructor differs: that of `WhisperModel` loads CTranslate2's model."""

        def __init__(self) -> None:
            self.logger = package.utils.get_logger()
            self.model: Any = None
            self.hf_tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
            self.feat_kwargs = self._get_feature_kwargs(str(folder))
            extractor = package.feature_extractor.FeatureExtractor
            self.feature_extractor = extractor(**self.feat_kwargs)
            self.input_stride = 2
            rate, hop = self.feature_extractor.sampling_rate, self.feature_extractor.hop_length
            self.num_samples_per_token = hop * self.input_stride
            self.frames_per_second = rate // hop
            self.tokens_per_second = rate // self.num_samples_per_token
            self.time_precision = 0.02
            self.max_length = 448

    if not (folder / TOKENIZER_FILE).is_file():
        raise NotReadable(f"{folder} has no {TOKENIZER_FILE}")
    return Pipeline()
