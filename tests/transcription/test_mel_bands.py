"""A model that reads spectra of 128 bands, as large-v3 does, works without a configuration file."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from studio.transcription.engine import DecodeOptions
from studio.transcription.faster_engine import FasterWhisper
from tests.support.speech import MAX_WRONG_ELSEWHERE, MINI, Spoken, text_of, wrong

FOLDER = MINI / "ctranslate2"
NAME = b"encoder/conv1/weight\0"
# Number of dimensions, shape, type and number of bytes.
HEADER = struct.Struct("<B3IBI")
BANDS = 128
PLAIN = DecodeOptions("en", temperatures=(0.0,))
Weights = npt.NDArray[np.int8]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model, whose first layer hears 128 bands in place of 80."""
    folder = tmp_path_factory.mktemp("models") / "wide"
    shutil.copytree(FOLDER, folder)
    (folder / "preprocessor_config.json").unlink()
    data = (FOLDER / "model.bin").read_bytes()
    header_at = data.index(NAME) + len(NAME)
    dimensions, *shape, kind, length = HEADER.unpack_from(data, header_at)
    start = header_at + HEADER.size
    weights = np.frombuffer(data, np.int8, length, start).reshape(shape)
    wide = stretched(weights)
    header = HEADER.pack(dimensions, *wide.shape, kind, wide.nbytes)
    changed = data[:header_at] + header + wide.tobytes() + data[start + length :]
    (folder / "model.bin").write_bytes(changed)
    return folder


def stretched(weights: Weights) -> Weights:
    """Weights (outputs, bands, taps) for narrower bands of the same sound."""
    bands = weights.shape[1]
    old, new = (np.arange(1, count + 1) / (count + 1) for count in (bands, BANDS))
    wide = [[np.interp(new, old, row) for row in output.T] for output in weights]
    scaled: Weights = np.rint(np.swapaxes(wide, 1, 2) * bands / BANDS).astype(np.int8)
    return scaled


@pytest.mark.parametrize("runtime", ["ctranslate2", "openvino"])
@pytest.mark.parametrize("configured", [None, 80, BANDS])
def test_speech_is_understood(
    folder: Path, recording: Spoken, tmp_path: Path, runtime: str, configured: int | None
) -> None:
    if configured is not None:
        folder = Path(shutil.copytree(folder, tmp_path / "configured"))
        settings = {"feature_size": configured}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    engine = FasterWhisper(folder, 0, runtime)
    [segments] = engine.transcribe([recording.part(0, 2)], PLAIN)
    true = " ".join(recording.sentences[:2])
    assert wrong(true, text_of(segments)) <= MAX_WRONG_ELSEWHERE
