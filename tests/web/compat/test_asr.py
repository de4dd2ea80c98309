"""The API of whisper-asr-webservice, with the requests of its clients."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import requests

from studio.transcription.engine import RATE_HZ
from tests.support.server import Server
from tests.support.speech import MAX_WRONG_ELSEWHERE, RECORDING, Spoken, wrong

KEY = "asr-0123456789abcdef"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("asr"), WHISPER_MODEL="mini", API_KEYS=KEY).start()
    yield server
    server.stop_later()


@pytest.fixture(scope="module")
def bazarr(server: Server) -> Iterator[tuple[requests.Session, str]]:
    """Bazarr's session and its endpoint, whose address carries the key."""
    with requests.Session() as session:
        session.headers["User-Agent"] = "Subliminal/2.1"
        yield session, server.url.replace("http://", f"http://x:{KEY}@")


@pytest.fixture(scope="module")
def samples(recording: Spoken) -> bytes:
    """What Bazarr's ffmpeg makes of a video: 16-bit mono samples at 16 kHz, without a header."""
    return (recording.sound * 32767).astype("<i2").tobytes()


def test_bazarr_detects_the_language_and_gets_subtitles(
    bazarr: tuple[requests.Session, str], samples: bytes, recording: Spoken
) -> None:
    """Its two requests, as its provider `whisperai` sends them."""
    session, endpoint = bazarr
    detected = session.post(
        f"{endpoint}/detect-language",
        params={"encode": "false"},
        files={"audio_file": samples},
        timeout=(10, 300),
    )
    assert detected.status_code == 200, detected.text
    assert detected.json()["detected_language"] == "english"
    assert detected.json()["language_code"] == "en"
    answer = session.post(
        f"{endpoint}/asr",
        params={"task": "transcribe", "language": "en", "output": "srt", "encode": "false"},
        files={"audio_file": samples},
        timeout=(10, 300),
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Asr-Engine"] == "audio-studio"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audio_file.srt"'
    subtitles = answer.content.decode()
    assert subtitles.startswith("1\n00:00:0")
    said = " ".join(
        line for line in subtitles.splitlines() if line and not re.match(r"\d+$|.* --> ", line)
    )
    assert wrong(recording.text, said) <= MAX_WRONG_ELSEWHERE


# Its parts are joined by a character without a width.
PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.flac"


def asr(server: Server, file: Any = None, path: str = "/asr", **query: str) -> requests.Response:
    with open(RECORDING, "rb") as recording:
        return server.post(
            path,
            params=query,
            files={"audio_file": file or ("speech.flac", recording)},
            headers={"X-API-Key": KEY},
        )


def test_files_are_transcribed_in_all_outputs(server: Server, recording: Spoken) -> None:
    text = asr(server).text
    assert wrong(recording.text, text) <= MAX_WRONG_ELSEWHERE
    named = asr(server, (PERSIAN, RECORDING.read_bytes()), output="vtt")
    assert named.text.startswith("WEBVTT\n") and "<" not in named.text
    assert quote(PERSIAN) in named.headers["Content-Disposition"]
    assert asr(server, output="tsv").text.startswith("start\tend\ttext\n")
    plain = json.loads(asr(server, output="json").text)
    assert plain["language"] == "en"
    assert plain["text"].split() == text.split()
    assert {"id", "start", "end", "text", "avg_logprob"} <= plain["segments"][0].keys()
    assert "words" not in plain["segments"][0]
    worded = json.loads(asr(server, output="json", word_timestamps="true").text)
    assert worded["segments"][0]["words"][0].keys() == {"word", "start", "end", "probability"}
    # All are formats of one job; the second file name makes another upload with its results.
    uploads = [path for path in server.uploads.iterdir() if not path.name.startswith(".")]
    same = [path for path in uploads if (path / "source.flac").exists()]
    assert len(same) == 2
    for upload in same:
        assert len(list((server.outputs / upload.name).iterdir())) == 1


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"output": "doc"}, "`output` is 'doc'"),
        ({"task": "sing"}, "`task` is 'sing'"),
        ({"language": "klingon"}, "`language` is 'klingon'"),
        ({"encode": "maybe"}, "`encode` is 'maybe'"),
    ],
)
def test_a_wrong_value_is_named(server: Server, query: dict[str, str], named: str) -> None:
    answer = asr(server, **query)
    assert answer.status_code == 422
    assert named in answer.json()["detail"]


def test_errors_have_the_form_of_this_api(server: Server) -> None:
    silence = np.zeros(2 * RATE_HZ, "<i2").tobytes()
    for answer, status, code in (
        (server.post("/asr"), 401, "unauthorized"),
        (server.get("/asr", headers={"X-API-Key": KEY}), 405, "method_not_allowed"),
        (server.post("/asr", headers={"X-API-Key": KEY}), 415, "unsupported_media_type"),
        (asr(server, ("a", b"no audio")), 400, "not_audio"),
        (asr(server, ("a", b""), encode="false"), 400, "empty_file"),
        (asr(server, silence, "/detect-language", encode="false"), 400, "not_audio"),
    ):
        assert answer.status_code == status, answer.text
        assert answer.json().keys() == {"detail", "code"}
        assert answer.json()["code"] == code
    assert asr(server, silence, encode="false", output="srt").text == ""


def test_speech_in_the_middle_is_enough_to_detect_the_language(
    server: Server, recording: Spoken
) -> None:
    part = (recording.part(0, 2) * 32767).astype("<i2")
    sound = np.concatenate([np.zeros(35 * RATE_HZ, "<i2"), part, np.zeros(25 * RATE_HZ, "<i2")])
    answer = asr(server, sound.tobytes(), "/detect-language", encode="false")
    assert answer.json()["language_code"] == "en"
