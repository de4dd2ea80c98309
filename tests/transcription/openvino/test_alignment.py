"""Words get the times on OpenVINO that CTranslate2 gives them."""

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt
import pytest
from ctranslate2 import StorageView
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from studio.transcription.engine import DecodeOptions
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.languages import EARLIER_LANGUAGES
from studio.transcription.openvino.alignment import alignment_heads, likeliest_path
from studio.transcription.openvino.conversion import COMPACT, EXACT, Precision, fastest
from studio.transcription.openvino.graph import FRAMES
from studio.transcription.openvino.model import OpenVinoModel
from studio.transcription.openvino.pipeline import without_ctranslate2
from studio.transcription.openvino.weights import NotReadable
from tests.support.speech import MINI, Spoken

FOLDER = MINI / "ctranslate2"
# Start of transcript, English, transcribe.
START = [50258, 50259, 50359]
FRAME_S = 0.02
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def plain() -> WhisperModel:
    """CTranslate2 in float32."""
    return WhisperModel(str(FOLDER), device="cpu", compute_type="float32", local_files_only=True)


@pytest.fixture(scope="module")
def text(recording: Spoken, plain: WhisperModel) -> list[int]:
    return list(plain.hf_tokenizer.encode(" " + recording.text, add_special_tokens=False).ids)


def features(recording: Spoken, plain: WhisperModel) -> tuple[Floats, int]:
    """The spectrum of the recording as a whole window, and the number of its own frames."""
    spectrum = plain.feature_extractor(recording.sound, padding=0)[:, :FRAMES]
    frames = spectrum.shape[1]
    return np.pad(spectrum, ((0, 0), (0, FRAMES - frames)))[None], frames


def starts(found: Any) -> npt.NDArray[np.float64]:
    """When each token of an alignment begins, in seconds."""
    numbers, frames = np.array(found.alignments).T
    begins: npt.NDArray[np.float64]
    begins = frames[np.pad(np.diff(numbers), (1, 0), constant_values=1) > 0] * FRAME_S
    return begins


def small(precision: Precision, plain: WhisperModel) -> OpenVinoModel:
    return OpenVinoModel(FOLDER, plain.hf_tokenizer, precision=precision, threads=1, graphs=None)


@pytest.mark.parametrize(
    ("precision", "max_apart_s", "max_improbable"),
    [(EXACT, 0.0, 1e-3), (COMPACT, FRAME_S, 0.1), (fastest(), FRAME_S, 0.1)],
    ids=["float32", "8 bits", "fastest"],
)
def test_tokens_begin_where_ctranslate2_finds_them(
    recording: Spoken,
    plain: WhisperModel,
    text: list[int],
    precision: Precision,
    max_apart_s: float,
    max_improbable: float,
) -> None:
    """Two texts on the same sound: the right one, and the same backwards."""
    spectrum, frames = features(recording, plain)
    model = small(precision, plain)
    states = model.encode(spectrum)
    view = StorageView.from_array(states)
    for tokens in (text, text[::-1]):
        (theirs,) = plain.model.align(view, START, [tokens], frames)
        (ours,) = model.align(states, START, [tokens], frames)
        assert len(ours.text_token_probs) == len(tokens)
        apart_s = np.abs(starts(ours) - starts(theirs))
        improbable = np.abs(np.subtract(ours.text_token_probs, theirs.text_token_probs))
        assert np.median(apart_s) <= 1e-9
        if tokens is text:
            assert np.quantile(apart_s, 0.9) <= max_apart_s + 1e-9
            assert improbable.max() <= max_improbable


def test_windows_are_aligned_one_by_one(
    recording: Spoken, plain: WhisperModel, text: list[int]
) -> None:
    model = small(COMPACT, plain)
    spectrum, frames = features(recording, plain)
    states = model.encode(spectrum)
    both = model.align(np.repeat(states, 2, axis=0), START, [text, text[:5]], frames)
    alone = [model.align(states, START, [part], frames)[0] for part in (text, text[:5])]
    assert both == alone
    # More frames than there are: those of a whole window.
    (found,) = model.align(states, START, [text], 10 * FRAMES)
    assert max(frame for _, frame in found.alignments) == FRAMES // 2 - 1
    # A window without speech.
    (found,) = model.align(states, START, [[]], frames)
    assert (found.alignments, found.text_token_probs) == ([], [])


@pytest.mark.parametrize("runtime", ["openvino", "ctranslate2"])
def test_words_of_less_than_a_few_frames_have_times(
    recording: Spoken, plain: WhisperModel, runtime: str
) -> None:
    pipeline = FasterWhisper(FOLDER, 1, runtime)._model
    tokenizer = Tokenizer(pipeline.hf_tokenizer, True, task="transcribe", language="en")
    spectrum, _ = features(recording, plain)
    states = pipeline.encode(spectrum[0])
    words = tokenizer.encode(" one two three")
    for frames in range(5):
        (found,) = pipeline.find_alignment(tokenizer, [words], states, frames)
        assert [one["word"] for one in found] == [" one", " two", " three"]
        assert all(0.0 <= one["start"] <= one["end"] <= 2 * FRAME_S for one in found)


def test_words_need_no_weights_in_ctranslate2(
    recording: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("CTranslate2 loads the weights")

    with monkeypatch.context() as patched:
        patched.setattr(ctranslate2.models, "Whisper", refuse)
        engine = FasterWhisper(FOLDER, 0, "openvino")
        assert engine.languages == EARLIER_LANGUAGES
        assert engine.detect_language(recording.sound)[0] == "en"
        (segments,) = engine.transcribe([recording.sound], DecodeOptions("en", temperatures=(0.0,)))
    words = [word for segment in segments for word in segment.words]
    assert len(words) > 10
    assert all(first.start_s <= second.start_s for first, second in pairwise(words))


def test_the_pipeline_is_that_of_faster_whisper(plain: WhisperModel, tmp_path: Path) -> None:
    """A new release may add to its constructor, which is not called."""
    own, theirs = vars(without_ctranslate2(FOLDER)), vars(plain)
    assert own.keys() == theirs.keys()
    values = {name for name, value in theirs.items() if isinstance(value, int | float | dict)}
    assert len(values) >= 7
    assert {name: own[name] for name in values} == {name: theirs[name] for name in values}
    with pytest.raises(NotReadable, match=r"no tokenizer\.json"):
        without_ctranslate2(tmp_path)


def test_heads_are_those_of_the_directory_or_of_the_upper_layers(tmp_path: Path) -> None:
    assert alignment_heads(FOLDER, 4, 2) == {2: [0, 1], 3: [0, 1]}
    shutil.copy(FOLDER / "config.json", tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert alignment_heads(tmp_path, 5, 3) == {2: [0, 1, 2], 3: [0, 1, 2], 4: [0, 1, 2]}


def paths(rows: int, columns: int) -> Iterator[list[tuple[int, int]]]:
    """All paths through (rows, columns), from the first field to the last."""
    if rows == 1 and columns == 1:
        yield [(0, 0)]
        return
    for row, column in ((rows - 1, columns), (rows, columns - 1), (rows - 1, columns - 1)):
        if row and column:
            for path in paths(row, column):
                yield [*path, (rows - 1, columns - 1)]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (5, 1), (4, 5), (5, 4)])
def test_no_path_is_better_than_the_likeliest(rows: int, columns: int) -> None:
    gains = np.random.default_rng(rows * columns).normal(size=(rows, columns))
    best = max(paths(rows, columns), key=lambda path: sum(gains[field] for field in path))
    assert likeliest_path(gains) == best
