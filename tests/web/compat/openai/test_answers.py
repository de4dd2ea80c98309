"""The answers of OpenAI's audio API: models, and transcripts in each form."""

from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent
from tokenizers import Tokenizer

from scripts import voices
from tests.support.openai_audio import HEADERS, ask, client_of, newest
from tests.support.server import Server
from tests.support.speech import MINI, RECORDING, Spoken, wrong
from tests.support.subtitles import read_vtt

# The end of the text; time stamps come after it.
FIRST_SPECIAL_TOKEN = 50257


def test_models_are_listed_and_described(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == "whisper-1"
    assert {"mini", "small", "vocals:mini", "vocals:whisper-1"} < set(names)
    for name in ("whisper-1", "vocals:mini", "gpt-4o-transcribe"):
        assert client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("tiny-ish")
    assert refused.value.code == "model_not_found"


def test_json(client: OpenAI, recording: Spoken) -> None:
    with open(RECORDING, "rb") as file:
        answer = client.audio.transcriptions.create(
            model="whisper-1", file=file, temperature=0, language="en"
        )
    assert wrong(recording.text, answer.text) < 0.2
    assert answer.usage is not None and answer.usage.type == "duration"
    assert answer.usage.seconds == 20


def test_verbose_json_with_words(client: OpenAI) -> None:
    with open(RECORDING, "rb") as file:
        answer = client.audio.transcriptions.create(
            model="mini",
            file=file,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
    assert answer.language == "english"
    assert answer.duration == pytest.approx(19.281, abs=0.05)
    assert answer.segments and answer.words
    assert " ".join(one.text.strip() for one in answer.segments) == answer.text
    assert answer.segments[0].end <= answer.segments[-1].end <= answer.duration
    assert " ".join(one.word for one in answer.words) == answer.text
    assert answer.model_extra == {"task": "transcribe"}


def test_words_only_when_asked(server: Server) -> None:
    plain = ask(server, model="mini", response_format="verbose_json").json()
    assert "segments" in plain and "words" not in plain
    only = ask(
        server, model="mini", response_format="verbose_json", timestamp_granularities="word"
    ).json()
    assert "words" in only and "segments" not in only
    assert set(plain["segments"][0]) == {
        "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob",
        "compression_ratio", "no_speech_prob",
    }  # fmt: skip
    vocabulary = Tokenizer.from_file(str(MINI / "ctranslate2" / "tokenizer.json"))
    for segment in plain["segments"]:
        written = [token for token in segment["tokens"] if token < FIRST_SPECIAL_TOKEN]
        assert len(written) < len(segment["tokens"])
        assert vocabulary.decode(written).strip() == segment["text"].strip()


def test_subtitles_are_those_of_the_download_without_word_times(
    server: Server, client: OpenAI
) -> None:
    sent = server.post(
        "/upload", files={"file": ("file.flac", RECORDING.read_bytes())}, headers=HEADERS
    ).json()
    server.post(f"/process/whisper/{sent['file_id']}", headers=HEADERS)
    server.wait(sent["file_id"], headers=HEADERS)
    address = f"/download/{sent['file_id']}/transcription"
    srt, vtt = (
        server.get(f"{address}?format={name}", headers=HEADERS).content.decode()
        for name in ("srt", "vtt")
    )
    assert subtitles(client, "srt") == srt
    plain = subtitles(client, "vtt")
    assert plain.startswith("WEBVTT\n") and "<" in vtt and "<" not in plain
    assert read_vtt(plain) == read_vtt(vtt)


def subtitles(client: OpenAI, response_format: Any) -> Any:
    with open(RECORDING, "rb") as file:
        return client.audio.transcriptions.create(
            model="whisper-1", file=file, response_format=response_format
        )


def test_text_is_one_running_text(server: Server) -> None:
    transcript = ask(server, model="whisper-1", response_format="verbose_json").json()
    assert len(transcript["segments"]) > 1
    answer = ask(server, model="whisper-1", response_format="text")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text == f"{transcript['text']}\n"
    assert answer.text.count("\n") == 1


def test_lyrics(server: Server) -> None:
    answer = ask(server, model="whisper-1", response_format="lrc")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "[length:00:19]\n[la:en]\n[00:" in answer.text


def test_lyrics_have_the_name_of_the_file_in_their_own_request(
    server: Server, tmp_path: Path
) -> None:
    """The same bytes may come from two clients."""
    for name in ("first", "Second"):
        path = tmp_path / f"{name}.flac"
        path.write_bytes(RECORDING.read_bytes())
        assert f"[ti:{name}]" in ask(server, path, response_format="lrc").text


def test_a_stream_adds_up_to_the_text(client: OpenAI, long: Path, server: Server) -> None:
    deltas: list[str] = []
    states: list[str] = []
    file_id = ""
    with open(long, "rb") as file:
        stream = client.audio.transcriptions.create(model="mini", file=file, stream=True)
    for event in stream:
        if isinstance(event, TranscriptionTextDeltaEvent):
            deltas.append(event.delta)
            file_id = file_id or newest(server)
            states.append(server.get(f"/status/{file_id}", headers=HEADERS).json()["status"])
        else:
            assert isinstance(event, TranscriptionTextDoneEvent)
            assert "".join(deltas) == event.text
    assert states[0] == "processing" and len(deltas) >= 3
    with open(long, "rb") as file:
        again = client.audio.transcriptions.create(model="mini", file=file, stream=True)
    assert [event.delta for event in again if event.type == "transcript.text.delta"] == deltas


# The client calls its own methods for translations deprecated.
DEPRECATED = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")


@DEPRECATED
@pytest.mark.parametrize(
    ("model", "says"),
    [("whisper-1", "'mini' supports English only"), ("turbo", "'turbo' does not translate")],
)
def test_a_variant_that_cannot_translate_says_so(client: OpenAI, model: str, says: str) -> None:
    with pytest.raises(openai.BadRequestError, match=f"{says}.* such as 'small'") as refused:
        client.audio.translations.create(model=model, file=RECORDING)
    assert refused.value.param == "task"


@DEPRECATED
@pytest.mark.voices
def test_translations(tmp_path: Path) -> None:
    (tmp_path / "weights" / "whisper").mkdir(parents=True)
    (tmp_path / "weights" / "whisper" / "base").symlink_to(voices.weights())
    server = Server(tmp_path, WHISPER_MODEL="base").start()
    prompt = voices.prompt("fr", "conf-adminmenu-menu8")
    try:
        with client_of(server) as client:
            heard = client.audio.transcriptions.create(
                model="whisper-1", file=prompt.path, response_format="verbose_json"
            )
            answer = client.audio.translations.create(
                model="whisper-1", file=prompt.path, response_format="verbose_json"
            )
    finally:
        server.stop_later()
    assert (heard.language, answer.language) == ("french", "english")
    assert "usagers" in heard.text and answer.segments
    assert " the " in answer.text.lower() and "usagers" not in answer.text
