"""Whisper's encoder on OpenVINO says what CTranslate2's own says."""

import shutil
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from faster_whisper import WhisperModel

from studio.errors import ModelUnusable
from studio.transcription import faster_engine, openvino_encoder
from studio.transcription.catalogue import FASTER_WHISPER, Catalogue
from studio.transcription.engine import DecodeOptions
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.load import load
from studio.transcription.openvino_encoder import (
    FRAMES,
    MODEL_FILE,
    NotReadable,
    OpenVinoEncoder,
    read_encoder,
)
from tests.speech import MINI, Spoken, text_of

FOLDER = MINI / "ctranslate2"
PLAIN = DecodeOptions("en", temperatures=(0.0,))
Floats = npt.NDArray[np.float32]


def with_types(folder: Path, kind: int) -> Path:
    """The bundled directory with its encoder's matrices stored as another type."""
    shutil.copytree(FOLDER, folder)
    data = (FOLDER / MODEL_FILE).read_bytes()
    variables = openvino_encoder._variables(FOLDER / MODEL_FILE)
    written = [data[: data.index(b"WhisperSpec\0") + 12 + 4]]
    kept = {name: value for name, value in variables.items() if not name.endswith("_scale")}
    written.append(struct.pack("<I", len(kept)))
    for name, value in kept.items():
        scale = variables.get(f"{name}_scale")
        if name.startswith("decoder") or value.dtype == np.int16:
            number = {np.float32: 0, np.int8: 1, np.int16: 2}[value.dtype.type]
            stored = value
        else:
            floats = openvino_encoder._as_floats(value, scale)
            bits = (floats.view(np.uint32) >> 16).astype(np.uint16)
            stored = {0: floats, 4: floats.astype(np.float16), 5: bits}[kind]
            number = kind
        text = name.encode() + b"\0"
        written.append(struct.pack("<H", len(text)) + text + struct.pack("<B", stored.ndim))
        written.append(struct.pack(f"<{stored.ndim}I", *stored.shape))
        written.append(struct.pack("<BI", number, stored.nbytes) + stored.tobytes())
    written.append(struct.pack("<I", 0))
    (folder / MODEL_FILE).write_bytes(b"".join(written))
    return folder


@pytest.fixture(scope="module")
def features(recording: Spoken) -> Floats:
    """Two log-mel windows of the bundled recording, float32 (2, 80, FRAMES)."""
    model = WhisperModel(str(FOLDER), device="cpu", local_files_only=True)
    sound = recording.sound
    parts = [model.feature_extractor(part)[:, :FRAMES] for part in (sound, sound[::-1].copy())]
    return np.stack([np.pad(one, ((0, 0), (0, FRAMES - one.shape[1]))) for one in parts])


@pytest.fixture(scope="module")
def reference(features: Floats) -> Floats:
    """What CTranslate2 makes of them in float32."""
    model = WhisperModel(str(FOLDER), device="cpu", compute_type="float32", local_files_only=True)
    return np.array(model.encode(features))


def test_in_f32_it_equals_ctranslate2(features: Floats, reference: Floats) -> None:
    found = OpenVinoEncoder(FOLDER, "f32", 0)(features)
    assert found.shape == reference.shape == (2, FRAMES // 2, 128)
    assert np.abs(found - reference).max() < 1e-4


def test_in_bf16_it_is_nearer_than_int8(features: Floats, reference: Floats) -> None:
    found = OpenVinoEncoder(FOLDER, "bf16", 1)(features)
    model = WhisperModel(str(FOLDER), device="cpu", compute_type="int8", local_files_only=True)
    small = np.array(model.encode(features))
    assert np.abs(found - reference).mean() < np.abs(small - reference).mean()


@pytest.mark.parametrize(("kind", "most"), [(0, 1e-6), (4, 1e-3), (5, 1e-2)])
def test_weights_of_every_type_are_read(tmp_path: Path, kind: int, most: float) -> None:
    expected = read_encoder(FOLDER / MODEL_FILE)
    found = read_encoder(with_types(tmp_path / "other", kind) / MODEL_FILE)
    assert set(found) == {name for name in expected if not name.endswith("_scale")}
    for name, value in found.items():
        assert value.dtype == np.float32
        assert np.abs(value - expected[name]).max() <= most * np.abs(expected[name]).max()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"\7" + data[1:],
        lambda data: data.replace(b"WhisperSpec", b"WhisperOther"[:11]),
        lambda data: data[:100_000],
        lambda data: data[:0],
    ],
    ids=["another format", "another network", "cut off", "empty"],
)
def test_other_files_are_refused(tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    path = tmp_path / MODEL_FILE
    path.write_bytes(spoil((FOLDER / MODEL_FILE).read_bytes()))
    with pytest.raises(NotReadable, match=r"model\.bin"):
        read_encoder(path)


def test_the_text_stays_and_the_precision_tells(recording: Spoken) -> None:
    said = {}
    for encoder in ("ctranslate2", "openvino"):
        engine = FasterWhisper(FOLDER, 0, encoder)
        ((segments,),) = [list(engine.transcribe([recording.sound], PLAIN))]
        said[engine.precision.split()[-1]] = text_of(segments).split()
    own, other = said["int8"], said["bf16" if faster_engine.native_bf16() else "f32"]
    differing = sum(a != b for a, b in zip(own, other, strict=False)) + abs(len(own) - len(other))
    assert differing <= 0.05 * len(own)


def test_auto_takes_ctranslate2_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faster_engine, "native_bf16", lambda: False)
    assert FasterWhisper(FOLDER, 0).precision == "int8"
    assert FasterWhisper(FOLDER, 0, "openvino").precision == "int8, encoder f32"


def test_auto_stays_on_ctranslate2_where_the_weights_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(openvino_encoder, "_FORMAT_VERSION", 0)
    monkeypatch.setattr(faster_engine, "native_bf16", lambda: True)
    assert FasterWhisper(FOLDER, 0).precision == "int8"
    catalogue = Catalogue(MINI, tmp_path, tmp_path, FASTER_WHISPER)
    with pytest.raises(ModelUnusable, match=r"'mini' cannot be loaded.*NotReadable"):
        load(catalogue, "mini", 0, "openvino")
