"""faster-whisper's decoding of recordings, without CTranslate2's copy of the weights."""

from pathlib import Path
from typing import Any

from studio.transcription.openvino.weights import NotReadable

TOKENIZER_FILE = "tokenizer.json"


def without_ctranslate2(folder: Path) -> Any:
    """A `faster_whisper.WhisperModel` of a directory whose `model` is still to be set.

    Raises NotReadable if the directory has no tokenizer, which faster-whisper would download.
    """
    from faster_whisper.feature_extractor import FeatureExtractor
    from faster_whisper.transcribe import WhisperModel
    from faster_whisper.utils import get_logger
    from tokenizers import Tokenizer

    class Pipeline(WhisperModel):  # type: ignore[misc]
        """Only the constructor differs: that of `WhisperModel` loads CTranslate2's model."""

        def __init__(self) -> None:
            self.logger = get_logger()
            self.model: Any = None
            self.hf_tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
            self.feat_kwargs = self._get_feature_kwargs(str(folder))
            self.feature_extractor = FeatureExtractor(**self.feat_kwargs)
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
