"""What clients say of live sound, in every spelling, and what they send that is something else."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.live.events import SessionError
from studio.transcription.live.receive import receiver
from tests.support.live_client import Client, chunk
from tests.support.receiving import FRAGMENTS, heard, pieces
from tests.support.server import Server
from tests.support.sounds import convert, decode_all, level_db, tone, write_wav
from tests.support.speech import RECORDING, Spoken

Encode = Callable[[Speech], bytes]


def integers(kind: str) -> Encode:
    """Samples as signed integers, such as "<i4"."""
    scale = 2 ** (8 * np.dtype(kind).itemsize - 1) - 1
    return lambda sound: np.round(sound.astype(np.float64) * scale).astype(kind).tobytes()


def floats(kind: str) -> Encode:
    return lambda sound: sound.astype(kind).tobytes()


def int24(order: str) -> Encode:
    def encode(sound: Speech) -> bytes:
        wide = np.round(sound.astype(np.float64) * (2**23 - 1)).astype(f"{order}i4")
        rows: npt.NDArray[np.uint8] = wide.reshape(-1).view(np.uint8).reshape(-1, 4)
        return (rows[:, :3] if order == "<" else rows[:, 1:]).tobytes()

    return encode


def uint8(sound: Speech) -> bytes:
    return np.round(sound * 127 + 128).astype("u1").tobytes()


FORMATS: list[tuple[str, Encode]] = [
    *(
        (f"audio/pcm;rate=16000;{said}", integers("<i2"))
        for said in (
            *("encoding=int16", "encoding=s16le", "encoding=linear16", "encoding=LINEAR-PCM"),
            *("encoding=pcm_s16le", "encoding=signed-integer;bits=16", "codec=pcm", "format=S16LE"),
            *(
                "bits=16",
                "bitDepth=16",
                "bitsPerSample=16",
                "endianness=little-endian",
                "endian=LE",
            ),
            "",
        )
    ),
    *(
        (f"audio/pcm;{said}", integers(">i2"))
        for said in (
            *(
                "encoding=s16be",
                "bits=16;endianness=big-endian",
                "byteOrder=big",
                "encoding=int16be",
            ),
        )
    ),
    ("audio/L16;rate=16000", integers(">i2")),
    ("audio/l16; rate=16000; channels=1", integers(">i2")),
    ("audio/L16;rate=16000;endianness=little-endian", integers("<i2")),
    ("audio/L16;rate=16000;encoding=s16le", integers("<i2")),
    ("audio/L24;rate=16000", int24(">")),
    ("audio/L8;rate=16000", uint8),
    ("audio/pcm;encoding=int24", int24("<")),
    ("audio/pcm;bits=24", int24("<")),
    ("audio/pcm;encoding=s24be", int24(">")),
    ("audio/pcm;encoding=int32", integers("<i4")),
    ("audio/pcm;bits=32", integers("<i4")),
    ("audio/pcm;encoding=s32be", integers(">i4")),
    ("audio/pcm;encoding=float32", floats("<f4")),
    ("audio/pcm;encoding=Float32;bits=32", floats("<f4")),
    ("audio/pcm;encoding=float", floats("<f4")),
    ("audio/pcm;encoding=f32be", floats(">f4")),
    ("audio/pcm;encoding=float;endianness=big", floats(">f4")),
    ("audio/pcm;encoding=f64le", floats("<f8")),
    ("audio/pcm;bits=8", uint8),
    ("audio/pcm;encoding=u8", uint8),
    ("audio/pcm;encoding=unsigned-integer;bits=8", uint8),
    ("audio/pcm;encoding=int8", integers("i1")),
    ("audio/pcm;encoding=signed-integer;bits=8", integers("i1")),
]


@pytest.mark.parametrize(("mime_type", "encode"), FORMATS, ids=[mime for mime, _ in FORMATS])
def test_samples_are_read_as_they_are_described(mime_type: str, encode: Encode) -> None:
    sound = tone(0.5, 440.0, RATE_HZ)
    read = heard(receiver(mime_type), [encode(sound)])
    assert len(read) == len(sound)
    assert np.abs(read - sound).max() < (0.01 if encode in (uint8,) or "8" in mime_type else 1e-3)


@pytest.mark.parametrize(
    "said",
    [
        "rate=48000",
        "sampleRate=48000",
        "samplerate=48000",
        "sample-rate=48000",
        "SAMPLE_RATE=48000",
    ],
)
def test_the_rate_in_any_spelling(said: str) -> None:
    sound = tone(1.0, 440.0, 48_000)
    read = heard(receiver(f"audio/pcm;{said}"), [integers("<i2")(sound)])
    assert len(read) == pytest.approx(RATE_HZ, abs=2)
    expected = tone(1.0, 440.0, RATE_HZ)[: len(read)]
    assert np.abs(read[800:-800] - expected[800 : len(read) - 800]).max() < 0.01


@pytest.mark.parametrize("said", ["channels", "channelCount", "numChannels"])
@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_the_channels_in_any_spelling(said: str, channels: int) -> None:
    sound = np.stack([tone(0.5, 200.0 + 100 * number, RATE_HZ) for number in range(channels)], 1)
    read = heard(receiver(f"audio/pcm;encoding=f32le;{said}={channels}"), [floats("<f4")(sound)])
    assert np.abs(read - sound.mean(1)).max() < 1e-6


@pytest.mark.parametrize("channels", [2, 4, 8])
def test_channels_in_opposite_phase_are_heard(channels: int) -> None:
    """Their mean is silence; one of them is listened to."""
    sound = tone(2.0, 440.0, RATE_HZ)
    mirrored = np.stack([sound * (-1) ** number for number in range(channels)], 1)
    mime_type = f"audio/pcm;rate=16000;channels={channels}"
    read = heard(receiver(mime_type), pieces(integers("<i2")(mirrored), 8000))
    assert len(read) == len(sound)
    assert level_db(read) == pytest.approx(level_db(sound), abs=0.5)


@pytest.mark.parametrize("kind", ["webm", "ogg", "mp4"])
def test_recordings_in_opposite_phase_are_heard(tmp_path: Path, kind: str) -> None:
    sound = tone(3.0, 440.0, RATE_HZ)
    wav = write_wav(tmp_path / "mirrored.wav", np.stack([sound, -sound]), RATE_HZ)
    options = ["-c:a", "alac", *FRAGMENTS] if kind == "mp4" else ["-c:a", "libvorbis"]
    path = convert(wav, tmp_path / f"mirrored.{kind}", *options)
    read = heard(receiver(f"audio/{kind}"), pieces(path.read_bytes(), 4000))
    assert level_db(read) == pytest.approx(level_db(sound), abs=1.0)


@pytest.mark.parametrize(
    ("mime_type", "names"),
    [
        ("audio/pcm;encoding=mulaw", "'mulaw'"),
        ("audio/pcm;encoding=adpcm", "'adpcm'"),
        ("audio/pcm;encoding=opus", "'opus'"),
        ("audio/pcm;encoding=base64", "'base64'"),
        ("audio/pcm;encoding=int12", "'int12'"),
        ("audio/pcm;encoding=float16", "float16"),
        ("audio/pcm;encoding=uint16", "uint16"),
        ("audio/pcm;bits=20", "'20'"),
        ("audio/pcm;bits=sixteen", "'sixteen'"),
        ("audio/pcm;bits=8;encoding=int16", "bits is both"),
        ("audio/pcm;rate=16000;sampleRate=48000", "rate is both"),
        ("audio/pcm;encoding=s16le;endianness=big", "order is both"),
        ("audio/pcm;endianness=middle", "'middle'"),
        ("audio/pcm;samplerate=hi", "'hi'"),
        ("audio/pcm;speed=2", "'speed'"),
        ("audio/pcm;rate", "rate is ''"),
        ("audio/pcm;16000", "'16000'"),
        ("audio/L16", "requires a rate"),
        ("audio/L16;channels=2", "requires a rate"),
        ("audio/L20;rate=16000", "audio/L20"),
        ("audio/L16;rate=16000;bits=24", "bits is both"),
        ("audio/webm;codecs=vp8,opus", "'vp8'"),
        ("audio/ogg;codecs=speex", "'speex'"),
        ("audio/mp4;codecs=ac-3", "'ac-3'"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(mime_type: str, names: str) -> None:
    with pytest.raises(SessionError) as refused:
        receiver(mime_type)
    assert refused.value.code == "unknown_mime_type"
    assert names in refused.value.message
    assert len(refused.value.message) < 400


@pytest.mark.parametrize(
    "mime_type",
    [
        *(
            "audio/webm",
            "audio/webm;codecs=opus",
            'audio/webm; codecs="opus"',
            "audio/WebM;codecs=pcm",
        ),
        *("audio/ogg", "audio/ogg; codecs=opus", "audio/ogg;codecs=vorbis"),
        *(
            "audio/mp4",
            "audio/mp4;codecs=mp4a.40.2",
            "audio/mp4; codecs=opus",
            "audio/mp4;codecs=alac",
        ),
    ],
)
def test_the_types_of_browsers_are_known(mime_type: str) -> None:
    receiver(mime_type).close()


def test_odd_floats_do_no_harm() -> None:
    samples = np.array([np.nan, np.inf, -np.inf, 3e38, -40.0, 0.5, -0.5], np.float32)
    read = heard(receiver("audio/pcm;encoding=float32"), [samples.tobytes()])
    assert read.tolist() == [0.0, 0.0, 0.0, 1.0, -1.0, 0.5, -0.5]


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    layout=st.sampled_from(
        [("uint8", 1), ("int16", 1), ("int16", 2), ("int24", 1), ("int24", 3), ("float32", 2)]
    ),
    rate=st.sampled_from([16_000, 44_100]),
    sizes=st.lists(st.integers(1, 977), min_size=1, max_size=6),
)
def test_chunks_of_any_number_of_bytes_lose_nothing(
    layout: tuple[str, int], rate: int, sizes: list[int]
) -> None:
    """A chunk may end within a sample, or within the samples of one moment."""
    encoding, channels = layout
    encode = {
        "uint8": uint8,
        "int16": integers("<i2"),
        "int24": int24("<"),
        "float32": floats("<f4"),
    }
    sound = np.stack([tone(0.2, 300.0 + number, rate) for number in range(channels)], 1)
    data = encode[encoding](sound)
    mime_type = f"audio/pcm;rate={rate};channels={channels};encoding={encoding}"
    whole = heard(receiver(mime_type), [data])
    assert np.abs(heard(receiver(mime_type), pieces(data, *sizes)) - whole).max() < 1e-6


def test_the_length_of_odd_chunks_is_counted() -> None:
    one = receiver("audio/pcm;rate=16000")
    counted = 0.0
    for size in (1, 32_001, 0, 31_999, 3):
        counted += one.seconds(bytes(size))
        one.feed(bytes(size))
    assert counted == 64_004 / 32_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The spoken recording in every container, by its name in an error."""
    folder = tmp_path_factory.mktemp("files")
    made = {
        "WebM": ("a.webm", "-c:a", "libopus"),
        "Ogg": ("a.ogg", "-c:a", "libopus"),
        "MP4": ("a.mp4", "-c:a", "aac", *FRAGMENTS),
        "WAV": ("a.wav",),
        "FLAC": ("a.flac",),
        "AIFF": ("a.aiff",),
        "CAF": ("a.caf",),
        "MP3": ("a.mp3",),
        "MP3 without a tag": ("b.mp3", "-id3v2_version", "0", "-write_xing", "0"),
        "MP3 of 22 kHz": ("c.mp3", "-id3v2_version", "0", "-ar", "22050"),
        "AAC": ("a.aac", "-c:a", "aac"),
    }
    return {
        kind: convert(RECORDING, folder / name, *options).read_bytes()
        for kind, (name, *options) in made.items()
    }


KINDS = ["WebM", "Ogg", "MP4", "WAV", "FLAC", "AIFF", "CAF", "MP3", "MP3 without a tag"]
KINDS += ["MP3 of 22 kHz", "AAC"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mime_type", ["audio/pcm;rate=16000", "audio/pcm;channels=2;bits=8"])
def test_a_file_that_is_sent_as_samples_is_recognised(
    files: dict[str, bytes], kind: str, mime_type: str
) -> None:
    """Nothing of it is taken: what follows the first chunk would be noise, or invented words."""
    one = receiver(mime_type)
    for piece in pieces(files[kind], 4000)[:20]:
        with pytest.raises(SessionError) as refused:
            one.seconds(piece)
        assert refused.value.code == "bad_audio"
        assert f"the kind {kind.split(maxsplit=1)[0]}," in refused.value.message


@pytest.mark.parametrize("kind", ["WebM", "Ogg", "MP4", "WAV", "FLAC"])
def test_a_file_is_recognised_in_tiny_pieces(files: dict[str, bytes], kind: str) -> None:
    one = receiver("audio/pcm;rate=16000")
    samples = 0
    with pytest.raises(SessionError, match=kind):
        for piece in pieces(files[kind], 1):
            one.seconds(piece)
            samples += len(one.feed(piece))
    assert samples <= 8


def test_a_file_in_the_middle_of_samples_is_refused_alone(files: dict[str, bytes]) -> None:
    one = receiver("audio/pcm;rate=16000")
    one.feed(bytes(32_000))
    with pytest.raises(SessionError, match="WebM"):
        one.seconds(files["WebM"][:4000])
    assert one.seconds(bytes(32_000)) == 1.0


@pytest.mark.parametrize(("said", "kind"), list(itertools.permutations(["WebM", "Ogg", "MP4"], 2)))
def test_a_file_of_another_container_is_named(
    files: dict[str, bytes], said: str, kind: str
) -> None:
    with pytest.raises(SessionError, match=f"of the kind {kind}.*audio/{kind.lower()}") as refused:
        receiver(f"audio/{said.lower()}").feed(files[kind][:4000])
    assert refused.value.code == "bad_audio"


@pytest.mark.parametrize("value", [0, 255, 1, 127, 251])
def test_steady_samples_are_no_file(value: int) -> None:
    for bits in (8, 16, 24, 32):
        assert receiver(f"audio/pcm;bits={bits}").seconds(bytes([value]) * 48_000) > 0


@pytest.mark.parametrize(
    ("codec", "name"), [("pcm_f32le", "pcm.webm"), ("libvorbis", "v.webm"), ("alac", "alac.mp4")]
)
def test_other_codecs_of_browsers(tmp_path: Path, codec: str, name: str) -> None:
    more = FRAGMENTS if name.endswith("mp4") else ["-f", "matroska"]
    path = convert(RECORDING, tmp_path / name, "-c:a", codec, *more)
    true = decode_all(RECORDING, RATE_HZ, 1)[0]
    read = heard(receiver(f"audio/{path.suffix[1:]}"), pieces(path.read_bytes(), 5000))
    assert len(read) == pytest.approx(len(true), abs=0.1 * RATE_HZ)


@pytest.mark.parametrize("kind", ["webm", "ogg", "mp4"])
def test_the_first_moments_of_a_recording_are_kept(tmp_path: Path, kind: str) -> None:
    """ffmpeg may not throw away the packets by which it knows the stream."""
    options = ["-c:a", "alac", *FRAGMENTS] if kind == "mp4" else ["-c:a", "libopus"]
    path = convert(RECORDING, tmp_path / f"spoken.{kind}", *options)
    true = decode_all(RECORDING, RATE_HZ, 1)[0]
    read = heard(receiver(f"audio/{kind}"), [path.read_bytes()])
    assert len(read) == pytest.approx(len(true), abs=RATE_HZ // 200)


def test_a_recording_of_safari_is_understood(
    live_server: Server, recording: Spoken, files: dict[str, bytes]
) -> None:
    """And one in float32, as an AudioWorklet has it: the words are those that were said."""
    sound = recording.sound
    sent = [
        ("audio/mp4", files["MP4"]),
        ("audio/pcm;rate=16000;encoding=float32", floats("<f4")(sound)),
    ]
    texts = []
    with Client(live_server) as client:
        client.greeting()
        for mime_type, data in sent:
            for piece in pieces(data, 20_001):
                client.emit("audio", chunk(piece, mime_type))
            events = client.finish()
            assert not [data for name, data in events if name == "error"]
            texts.append(events[-1][1]["text"])
    assert texts[0] == texts[1] != ""
