"""openai-whisper computes with the weights of a CTranslate2 directory what CTranslate2 computes."""

from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
import torch
from whisper.audio import log_mel_spectrogram, pad_or_trim
from whisper.tokenizer import get_tokenizer

from studio.transcription.openai_weights import read_whisper
from studio.transcription.openvino.weights import NotReadable
from tests.support.speech import MINI, Spoken

# openai-whisper leaves the file of its tokens to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

WEIGHTS = MINI / "ctranslate2"


@pytest.fixture(scope="module")
def model() -> Any:
    return read_whisper(WEIGHTS)


@pytest.fixture(scope="module")
def reference() -> Any:
    return ctranslate2.models.Whisper(str(WEIGHTS), compute_type="float32", intra_threads=1)


@pytest.fixture(scope="module")
def mel(recording: Spoken) -> torch.Tensor:
    return log_mel_spectrogram(pad_or_trim(recording.sound), 80)[None]


def test_the_encoder_is_the_same(model: Any, reference: Any, mel: torch.Tensor) -> None:
    with torch.no_grad():
        ours = model.encoder(mel).numpy()
    theirs = np.array(reference.encode(ctranslate2.StorageView.from_array(mel.numpy())))
    assert np.abs(ours - theirs).max() <= 1e-4


def test_the_decoder_is_the_same(model: Any, reference: Any, mel: torch.Tensor) -> None:
    names = get_tokenizer(True, language="en", task="transcribe")
    # Without timestamps, for which each has rules of its own.
    start = list(names.sot_sequence_including_notimestamps)
    (result,) = reference.generate(
        ctranslate2.StorageView.from_array(mel.numpy()),
        [start],
        beam_size=1,
        length_penalty=0.0,
        return_scores=True,
        suppress_blank=False,
        suppress_tokens=[],
    )
    tokens = [*result.sequences_ids[0], names.eot]
    assert len(tokens) > 20
    with torch.no_grad():
        read = torch.tensor([[*start, *tokens[:-1]]])
        logits = model.decoder(read, model.encoder(mel))[0, len(start) - 1 :]
    assert logits.argmax(1).tolist() == tokens
    chosen = logits.log_softmax(1)[torch.arange(len(tokens)), torch.tensor(tokens)]
    assert float(chosen.sum()) == pytest.approx(result.scores[0], abs=1e-2)


def test_another_format_is_reported(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"no model")
    with pytest.raises(NotReadable):
        read_whisper(tmp_path)
