"""The precision of Whisper on CTranslate2 depends on the CPU and the size of the model."""

import pytest

from studio.inference import hardware
from studio.transcription import faster_engine
from studio.transcription.engine import DecodeOptions
from studio.transcription.faster_engine import FasterWhisper
from tests.support.speech import MINI, Spoken, text_of, wrong

MODEL = MINI / "ctranslate2"
PLAIN = DecodeOptions("en", temperatures=(0.0,))


@pytest.mark.parametrize(
    ("flags", "machine", "precision"),
    [
        ({"avx2"}, "x86_64", "float32"),
        ({"avx2"}, "AMD64", "float32"),
        ({"avx2", "avx_vnni"}, "x86_64", "int8"),
        (set(), "aarch64", "int8"),
    ],
)
def test_a_small_model_is_float32_where_sums_of_8_bits_overflow(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], machine: str, precision: str
) -> None:
    monkeypatch.setattr(hardware, "processor_flags", lambda: frozenset(flags))
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert FasterWhisper(MODEL, 0, "ctranslate2").precision == precision
    monkeypatch.setattr(faster_engine, "MAX_FLOAT32_BYTES", 1 << 20)
    assert FasterWhisper(MODEL, 0, "ctranslate2").precision == "int8"


def test_no_words_are_lost_to_8_bits(recording: Spoken) -> None:
    """With int8 on a CPU without VNNI, most of these texts end after three words."""
    engine = FasterWhisper(MODEL, 0, "ctranslate2")
    sound = recording.part(3, 7)
    for start_ms in range(0, 200, 40):
        [segments] = engine.transcribe([sound[start_ms * 16 : 2900 * 16]], PLAIN)
        assert wrong(recording.sentences[3], text_of(segments)) <= 0.2, start_ms
