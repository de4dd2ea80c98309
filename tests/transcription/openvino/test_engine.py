"""Whisper on OpenVINO says what CTranslate2 says."""

import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt
import pytest
from ctranslate2 import StorageView
from faster_whisper import WhisperModel

from studio.errors import ModelUnusable
from studio.inference.engine_settings import EngineSettings
from studio.transcription import faster_engine
from studio.transcription.catalogue import FASTER_WHISPER, WhisperCatalogue
from studio.transcription.engine import DecodeOptions, Speech
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.load import load
from studio.transcription.openvino import conversion, weights
from studio.transcription.openvino.conversion import EXACT, Precision
from studio.transcription.openvino.graph import FRAMES
from studio.transcription.openvino.model import OpenVinoModel
from studio.transcription.openvino.weights import MODEL_FILE, NotReadable, read_weights
from tests.support.speech import MAX_WRONG, MINI, Spoken, text_of, wrong

FOLDER = MINI / "ctranslate2"
PLAIN = DecodeOptions("en", temperatures=(0.0,))
# Start of transcript, English, transcribe.
PROMPT = [50258, 50259, 50359]
ON_CTRANSLATE2 = ("int8", "float32")
Floats = npt.NDArray[np.float32]


def with_types(folder: Path, kind: int) -> Path:
    """The bundled directory with its encoder's matrices stored as another type."""
    shutil.copytree(FOLDER, folder)
    data = (FOLDER / MODEL_FILE).read_bytes()
    variables = weights._variables(FOLDER / MODEL_FILE)
    written = [data[: data.index(b"WhisperSpec\0") + 12 + 4]]
    kept = {name: value for name, value in variables.items() if not name.endswith("_scale")}
    written.append(struct.pack("<I", len(kept)))
    for name, value in kept.items():
        scale = variables.get(f"{name}_scale")
        if name.startswith("decoder") or value.dtype == np.int16:
            number = {np.float32: 0, np.int8: 1, np.int16: 2}[value.dtype.type]
            stored: npt.NDArray[Any] = value
        else:
            floats = value.astype(np.float32)
            if scale is not None:
                floats /= scale.reshape(-1, *[1] * (value.ndim - 1))
            bits = (floats.view(np.uint32) >> 16).astype(np.uint16)
            by_kind: dict[int, npt.NDArray[Any]] = {
                0: floats,
                4: floats.astype(np.float16),
                5: bits,
            }
            stored = by_kind[kind]
            number = kind
        text = name.encode() + b"\0"
        written.append(struct.pack("<H", len(text)) + text + struct.pack("<B", stored.ndim))
        written.append(struct.pack(f"<{stored.ndim}I", *stored.shape))
        written.append(struct.pack("<BI", number, stored.nbytes) + stored.tobytes())
    written.append(struct.pack("<I", 0))
    (folder / MODEL_FILE).write_bytes(b"".join(written))
    return folder


@pytest.fixture(scope="module")
def plain() -> WhisperModel:
    """CTranslate2 in float32."""
    return WhisperModel(str(FOLDER), device="cpu", compute_type="float32", local_files_only=True)


@pytest.fixture(scope="module")
def exact(plain: WhisperModel) -> OpenVinoModel:
    """OpenVINO in float32."""
    return OpenVinoModel(FOLDER, plain.hf_tokenizer, precision=EXACT, threads=0, graphs=None)


def small(plain: WhisperModel, precision: Precision) -> OpenVinoModel:
    return OpenVinoModel(FOLDER, plain.hf_tokenizer, precision=precision, threads=1, graphs=None)


@pytest.fixture(scope="module")
def features(recording: Spoken, plain: WhisperModel) -> Floats:
    """Log-mel windows, float32 (3, 80, FRAMES): the bundled recording, the same backwards, and its
    first sentences.
    """
    sound = recording.sound
    sounds = (sound, sound[::-1].copy(), recording.part(0, 2))
    parts = [plain.feature_extractor(part)[:, :FRAMES] for part in sounds]
    return np.stack([np.pad(one, ((0, 0), (0, FRAMES - one.shape[1]))) for one in parts])


@pytest.fixture(scope="module")
def reference(features: Floats, plain: WhisperModel) -> Floats:
    """What CTranslate2 makes of them in float32."""
    return np.array(plain.encode(features))


def asked(**settings: Any) -> dict[str, Any]:
    """What faster-whisper asks for."""
    return {
        "beam_size": 5,
        "max_length": 448,
        "suppress_tokens": [50257 + 105, 220],
        "suppress_blank": True,
        "return_scores": True,
        "return_no_speech_prob": True,
        **settings,
    }


def test_in_f32_the_encoder_equals_ctranslate2s(
    features: Floats, reference: Floats, exact: OpenVinoModel
) -> None:
    found = exact.encode(features)
    assert found.shape == reference.shape == (3, FRAMES // 2, 128)
    assert np.abs(found - reference).max() < 1e-4


@pytest.mark.parametrize("kind", ["f32", pytest.param("bf16", marks=pytest.mark.slow)])
def test_in_8_bits_the_encoder_is_as_near_as_ctranslate2s(
    features: Floats, reference: Floats, plain: WhisperModel, kind: str
) -> None:
    found = small(plain, Precision(8, kind, 8, kind)).encode(features)
    other = WhisperModel(str(FOLDER), device="cpu", compute_type="int8", local_files_only=True)
    error, most = (
        np.abs(one - reference).mean() for one in (found, np.array(other.encode(features)))
    )
    assert error < 1.1 * most


@pytest.mark.parametrize(
    "beam_size", [1, 5, *(pytest.param(size, marks=pytest.mark.slow) for size in (2, 20))]
)
def test_in_f32_the_text_and_its_probability_equal_ctranslate2s(
    reference: Floats, plain: WhisperModel, exact: OpenVinoModel, beam_size: int
) -> None:
    settings = asked(beam_size=beam_size)
    for states in reference[[0, 2]]:
        view = StorageView.from_array(states[None])
        (theirs,) = plain.model.generate(view, [PROMPT], **settings)
        (ours,) = exact.generate(states[None], [PROMPT], **settings)
        assert ours.sequences_ids == theirs.sequences_ids
        assert len(ours.sequences_ids[0]) > 10
        assert ours.scores == pytest.approx(theirs.scores, abs=1e-3)
        assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-4)


@pytest.mark.parametrize("prompt", [[50361, 1002, 1003, *PROMPT], [*PROMPT, 50363]])
def test_other_prompts_lead_to_what_ctranslate2_says(
    reference: Floats, plain: WhisperModel, exact: OpenVinoModel, prompt: list[int]
) -> None:
    """Text before the start of the transcript, and no timestamps."""
    states = reference[:1]
    (theirs,) = plain.model.generate(StorageView.from_array(states), [prompt], **asked())
    (ours,) = exact.generate(states, [prompt], **asked())
    assert ours.sequences_ids == theirs.sequences_ids
    assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-4)


def test_the_number_of_tokens_is_bounded_as_ctranslate2_bounds_it(
    reference: Floats, plain: WhisperModel, exact: OpenVinoModel
) -> None:
    for most in (4, 7, 20, 31):
        view = StorageView.from_array(reference[:1])
        settings = asked(max_length=most)
        (theirs,) = plain.model.generate(view, [PROMPT], **settings)
        (ours,) = exact.generate(reference[:1], [PROMPT], **settings)
        assert len(ours.sequences_ids[0]) == len(theirs.sequences_ids[0]) > 0


def test_languages_have_the_probabilities_that_ctranslate2_gives(
    reference: Floats, plain: WhisperModel, exact: OpenVinoModel
) -> None:
    (theirs,) = plain.model.detect_language(StorageView.from_array(reference[:1]))
    (ours,) = exact.detect_language(reference[:1])
    assert ours[0][0] == theirs[0][0] == "<|en|>"
    expected = dict(theirs)
    assert dict(ours) == {name: pytest.approx(expected[name], abs=1e-5) for name, _ in ours}


@pytest.mark.parametrize("beam_size", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_a_batch_says_what_each_window_says_alone(
    reference: Floats, exact: OpenVinoModel, beam_size: int
) -> None:
    """Windows end at different times, and more of them are given than are decoded together."""
    order = [0, 2, 2, 0, 2, 2, 2, 2]
    alone = [
        exact.generate(one[None], [PROMPT], **asked(beam_size=beam_size))[0] for one in reference
    ]
    found = exact.generate(reference[order], [PROMPT] * 8, **asked(beam_size=beam_size))
    for number, one in zip(order, found, strict=True):
        assert one.sequences_ids == alone[number].sequences_ids
        assert one.scores == pytest.approx(alone[number].scores, abs=1e-4)


def drawn(model: OpenVinoModel, states: Floats, temperature: float, count: int, **more: Any) -> Any:
    settings = asked(
        beam_size=1,
        num_hypotheses=count,
        sampling_topk=0,
        sampling_temperature=temperature,
        **more,
    )
    (found,) = model.generate(states[None], [PROMPT], **settings)
    return found


def test_what_is_drawn_at_a_low_temperature_is_the_likeliest(
    reference: Floats, exact: OpenVinoModel
) -> None:
    (likeliest,) = exact.generate(reference[:1], [PROMPT], **asked(beam_size=1))
    found = drawn(exact, reference[0], 1e-3, 3)
    assert found.sequences_ids == likeliest.sequences_ids
    assert found.scores == pytest.approx(likeliest.scores, abs=1e-4)


@pytest.mark.slow
def test_what_is_drawn_is_as_probable_as_what_ctranslate2_draws(
    reference: Floats, exact: OpenVinoModel
) -> None:
    # The seed is that of threads which draw for the first time: those of a new model.
    ctranslate2.set_random_seed(7)
    new = WhisperModel(str(FOLDER), device="cpu", compute_type="float32", local_files_only=True)
    settings = asked(beam_size=1, sampling_topk=0, sampling_temperature=0.4)
    view = StorageView.from_array(np.repeat(reference[:1], 20, axis=0))
    theirs = [found.scores[0] for found in new.model.generate(view, [PROMPT] * 20, **settings)]
    # Each bound of the length is another request, so that something else is drawn.
    bounds = range(448, 418, -3)
    ours = [drawn(exact, reference[0], 0.4, 1, max_length=most).scores[0] for most in bounds]
    assert len(set(ours)) > 5
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=0.05)
    assert min(ours) > min(theirs) - 0.5


@pytest.mark.slow
def test_the_same_request_draws_the_same_text(reference: Floats, exact: OpenVinoModel) -> None:
    """Also beside other windows, and on CTranslate2's runtime, which has no seeds of its own."""
    alone = drawn(exact, reference[0], 0.8, 5)
    settings = asked(beam_size=1, num_hypotheses=5, sampling_topk=0, sampling_temperature=0.8)
    beside = exact.generate(reference[[2, 0, 1]], [PROMPT] * 3, **settings)
    assert alone.sequences_ids == drawn(exact, reference[0], 0.8, 5).sequences_ids
    assert alone.sequences_ids == beside[1].sequences_ids


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["openvino", "ctranslate2"])
def test_three_equal_requests_have_three_equal_answers(recording: Spoken, runtime: str) -> None:
    engine = FasterWhisper(FOLDER, 0, runtime)
    noise = np.random.default_rng(3).normal(0, 0.3, len(recording.sound)).astype(np.float32)
    options = replace(PLAIN, temperatures=(0.8,))
    found = [list(engine.transcribe([recording.sound, noise], options)) for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert text_of(found[0][0])


@pytest.mark.parametrize(("kind", "most"), [(0, 1e-6), (4, 1e-3), (5, 1e-2)])
def test_weights_of_every_type_are_read(tmp_path: Path, kind: int, most: float) -> None:
    expected, _ = read_weights(FOLDER / MODEL_FILE)
    found, _ = read_weights(with_types(tmp_path / "other", kind) / MODEL_FILE)
    for name in ("conv1/weight", "layer_0/self_attention/linear_0/weight", "layer_norm/gamma"):
        values = found.floats(name)
        assert values.dtype == np.float32
        error = np.abs(values - expected.floats(name)).max()
        assert error <= most * np.abs(expected.floats(name)).max()


def test_one_scale_for_a_whole_matrix_is_read(tmp_path: Path) -> None:
    """As in directories of 16 bits; and older ones do not say that positions are not ALiBi's."""
    folder = with_types(tmp_path / "other", 0)
    read = weights._variables(folder / MODEL_FILE)
    name = "decoder/embeddings/weight"
    scales = weights._variables(FOLDER / MODEL_FILE)[f"{name}_scale"]
    assert len(scales) == len(read[name])
    values = read[name] / scales[:, None]
    scale = np.array(32767 / np.abs(values).max(), np.float32)
    given: dict[str, npt.NDArray[Any]] = {
        name: np.rint(values * scale).astype(np.int16),
        f"{name}_scale": scale,
    }
    found = weights.Weights(given, "decoder").table("embeddings/weight")
    rows = np.array([[3, 50364], [7, 9]])
    assert np.abs(found.rows(rows) - values[rows]).max() < 1e-3
    assert weights.Weights(given, "decoder").number("alibi", missing=0) == 0


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
        read_weights(path)


def heard(engine: FasterWhisper, *windows: Speech, options: DecodeOptions = PLAIN) -> list[str]:
    return [text_of(found) for found in engine.transcribe(windows, options)]


def test_the_text_stays_and_the_precision_tells(recording: Spoken) -> None:
    own, other = FasterWhisper(FOLDER, 0, "ctranslate2"), FasterWhisper(FOLDER, 0, "openvino")
    assert own.precision in ON_CTRANSLATE2
    assert other.precision in ("int8 (OpenVINO)", "int8, encoder bf16 (OpenVINO)")
    left, right = (heard(engine, recording.sound)[0].split() for engine in (own, other))
    differing = sum(a != b for a, b in zip(left, right, strict=False)) + abs(len(left) - len(right))
    assert differing <= 0.05 * len(left)


@pytest.mark.parametrize(
    "precision",
    [
        pytest.param(Precision(8, "bf16", 8, "bf16"), marks=pytest.mark.slow, id="with bf16"),
        pytest.param(Precision(8, "f32", 8, "f32"), marks=pytest.mark.slow, id="without"),
        pytest.param(Precision(32, "bf16", 8, "f32"), id="with AMX"),
        pytest.param(EXACT, id="exact"),
    ],
)
def test_what_any_processor_takes_understands_the_recording(
    recording: Spoken, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    monkeypatch.setattr(faster_engine, "fastest", lambda: precision)
    engine = FasterWhisper(FOLDER, 0, "openvino")
    assert wrong(recording.text, heard(engine, recording.sound)[0]) <= MAX_WRONG


def test_a_window_that_is_tried_again_leaves_the_others_alone(recording: Spoken) -> None:
    """Noise is tried at every temperature, speech of the same batch at the first one only."""
    engine = FasterWhisper(FOLDER, 0, "openvino")
    noise = np.random.default_rng(3).normal(0, 0.3, len(recording.sound)).astype(np.float32)
    options = replace(PLAIN, temperatures=(0.0, 0.4, 0.8))
    alone = heard(engine, recording.sound)
    found = heard(engine, recording.sound, noise, recording.sound, options=options)
    assert [found[0], found[2]] == alone * 2


@pytest.mark.slow
def test_large_graphs_are_made_elsewhere_and_kept(
    recording: Spoken, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(conversion, "KEPT_FROM_BYTES", 0)
    (tmp_path / "no-folder").write_text("a file, where the graphs' folder should be")
    said = [
        heard(FasterWhisper(FOLDER, 0, "openvino", tmp_path / graphs), recording.sound)
        for graphs in ("graphs", "graphs", "no-folder")
    ]
    assert said[0] == said[1] == said[2]
    (kept,) = (tmp_path / "graphs").iterdir()
    assert {path.stem for path in kept.glob("*.xml")} == {
        "encoder",
        "cross_attention",
        "decoder",
        "head",
    }

    def refuse(*_: object) -> None:
        raise AssertionError("it is there already")

    monkeypatch.setattr(conversion, "convert_in_subprocess", refuse)
    monkeypatch.setattr(conversion, "build", refuse)
    assert heard(FasterWhisper(FOLDER, 0, "openvino", tmp_path / "graphs"), recording.sound)
    with (kept / "head.bin").open("r+b") as file:
        file.write(b"damage")
    with pytest.raises(AssertionError, match="already"):
        FasterWhisper(FOLDER, 0, "openvino", tmp_path / "graphs")


def test_auto_takes_ctranslate2_where_it_may_be_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faster_engine, "has_vnni", lambda: False)
    assert FasterWhisper(FOLDER, 0).precision in ON_CTRANSLATE2
    assert FasterWhisper(FOLDER, 0, "openvino").precision.endswith("(OpenVINO)")


def test_auto_stays_on_ctranslate2_where_the_weights_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(weights, "_FORMAT_VERSION", 0)
    monkeypatch.setattr(faster_engine, "has_vnni", lambda: True)
    assert FasterWhisper(FOLDER, 0).precision in ON_CTRANSLATE2
    catalogue = WhisperCatalogue(MINI, tmp_path, tmp_path, FASTER_WHISPER)
    with pytest.raises(ModelUnusable, match=r"'mini' cannot be loaded.*NotReadable"):
        load(catalogue, "mini", EngineSettings("openvino", "auto", 0, tmp_path))
