"""OpenAI's audio API, asked by the official Python client."""

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
import requests
from openai import OpenAI
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from scripts import voices
from studio.transcription.engine import RATE_HZ
from studio.web.services import MAX_WAITING_PER_CLIENT
from tests.support.server import Server, convert, noise, until, write_wav
from tests.support.speech import RECORDING, Spoken, write_speech, wrong

KEY = "openai-0123456789abcdef"
OTHER = "others-0123456789abcdef"
HEADERS = {"Authorization": f"Bearer {KEY}"}
PATH = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("openai"),
        WHISPER_MODEL="mini",
        SEPARATION_ENGINE="torch",
        API_KEYS=f"{KEY},{OTHER}",
    )
    server.start()
    yield server
    server.stop()


def client_of(server: Server, key: str = KEY, retries: int = 0) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=retries)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[OpenAI]:
    with client_of(server) as client:
        yield client


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech of several windows, so that there are segments before the job has ended."""
    return write_speech(tmp_path_factory.mktemp("speech") / "long.wav", times=3)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, recording: Spoken) -> Path:
    """The first sentence of the recording."""
    path = tmp_path_factory.mktemp("speech") / "short.wav"
    return write_wav(path, recording.part(0, 1)[None], RATE_HZ)


def ask(server: Server, path: Path = RECORDING, **fields: Any) -> requests.Response:
    """A transcription of the recording, asked without the client."""
    files = {"file": ("spoken.flac", path.read_bytes())}
    return server.post(PATH, files=files, data=fields, headers=HEADERS)


def jobs_of(server: Server, content: bytes) -> list[dict[str, Any]]:
    """The jobs of the one temporary upload with this content."""
    found = []
    for record in server.uploads.glob("*/upload.json"):
        upload = json.loads(record.read_text("utf-8"))
        if upload["size_bytes"] == len(content) and upload["is_temporary"]:
            found.append(server.get(f"/status/{upload['file_id']}", headers=HEADERS).json()["jobs"])
    assert len(found) == 1
    return list(found[0])


def assert_error(answer: requests.Response, status: int, code: str, param: str | None) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    return str(error["message"])


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


@pytest.mark.parametrize(("name", "track"), [("text", "txt"), ("srt", "srt"), ("vtt", "vtt")])
def test_files_are_those_of_the_download(
    server: Server, client: OpenAI, name: Any, track: str
) -> None:
    sent = server.post(
        "/upload", files={"file": ("file.flac", RECORDING.read_bytes())}, headers=HEADERS
    ).json()
    server.post(f"/process/whisper/{sent['file_id']}", headers=HEADERS)
    server.get(f"/status/{sent['file_id']}?wait=60", headers=HEADERS)
    address = f"/download/{sent['file_id']}/transcription?format={track}"
    with open(RECORDING, "rb") as file:
        answer = client.audio.transcriptions.create(
            model="whisper-1", file=file, response_format=name
        )
    assert answer == server.get(address, headers=HEADERS).content.decode()


def test_lyrics(server: Server) -> None:
    answer = ask(server, model="whisper-1", response_format="lrc")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "[length:00:19]\n[la:en]\n[00:" in answer.text


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


def newest(server: Server) -> str:
    return max(
        server.uploads.glob("*/upload.json"), key=lambda path: path.stat().st_mtime
    ).parent.name


def test_the_page_can_follow_a_job_too(server: Server, tmp_path: Path) -> None:
    path = write_speech(tmp_path / "three.wav", times=3, rate_hz=22_050)
    sent = server.post(
        "/upload", files={"file": ("file.wav", path.read_bytes())}, headers=HEADERS
    ).json()
    server.post(f"/process/whisper/{sent['file_id']}", headers=HEADERS)
    seen: list[str] = []
    while True:
        address = f"/status/{sent['file_id']}?wait=30&partial_from={len(seen)}"
        status = server.get(address, headers=HEADERS).json()
        seen += [segment["text"].strip() for segment in status["partial"] or []]
        if status["status"] == "completed":
            break
    assert status["partial"] is None
    text = server.get(f"/download/{sent['file_id']}/transcription", headers=HEADERS).text
    assert seen and text.startswith("\n".join(seen))
    bad = server.get(f"/status/{sent['file_id']}?partial_from=-1", headers=HEADERS)
    assert bad.json()["code"] == "invalid_option"


# The client calls its own methods for translations deprecated.
DEPRECATED = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")


@DEPRECATED
def test_a_variant_that_cannot_translate_says_so(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="'mini' supports English only"):
        client.audio.translations.create(model="whisper-1", file=RECORDING)


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
        server.stop()
    assert (heard.language, answer.language) == ("french", "english")
    assert "usagers" in heard.text and answer.segments
    assert " the " in answer.text.lower() and "usagers" not in answer.text


def test_vocals_of_a_song(server: Server, client: OpenAI, short: Path) -> None:
    client.audio.transcriptions.create(model="vocals:mini", file=short)
    job = jobs_of(server, short.read_bytes())[0]
    assert job["options"]["source"] == "vocals"
    assert job["result"]["source"] == "vocals"


def test_options_of_the_job(server: Server, short: Path) -> None:
    answer = ask(
        server,
        short,
        model="gpt-4o-transcribe",
        prompt="x" * 1001 + "yankee",
        **{"keywords[]": ["mike", "papa"], "languages[]": ["en"], "include[]": ["logprobs"]},
        temperature="0.2",
        chunking_strategy="auto",
        anything="else",
    )
    assert answer.status_code == 200, answer.text
    job = jobs_of(server, short.read_bytes())[0]
    options = job["options"]
    assert (job["variant"], options["hotwords"], options["language"]) == (
        "mini",
        "mike, papa",
        "en",
    )
    assert options["initial_prompt"] == "x" * 994 + "yankee"
    assert options["temperature"] == 0.2


def test_json_bodies(server: Server) -> None:
    body = {
        "model": "whisper-1",
        "input_audio": {
            "data": base64.b64encode(RECORDING.read_bytes()).decode(),
            "format": "flac",
        },
        "timestamp_granularities": ["word"],
        "response_format": "verbose_json",
        "temperature": 0,
    }
    answer = server.post(PATH, json=body, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    assert answer.json()["words"]
    for audio in ("", {"data": "%%%"}, {"data": ""}, None):
        refused = server.post(PATH, json={**body, "input_audio": audio}, headers=HEADERS)
        assert refused.status_code == 400, refused.text


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("recording", ("-c:a", "libopus", "-f", "webm", "-live", "1")),
        ("blob", ("-c:a", "aac", "-f", "mp4", "-movflags", "frag_keyframe")),
        ("voice.ogg", ("-c:a", "libopus", "-f", "webm")),
        ("/tmp/C:\\x\\a.b\n.dat", ("-c:a", "libmp3lame", "-f", "mp3")),
    ],
)  # fmt: skip
def test_files_by_content(
    server: Server, short: Path, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    path = convert(short, tmp_path / "file", *options)
    answer = server.post(PATH, files={"file": (name, path.read_bytes())}, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["text"].split()) > 3


def test_chunked_bodies(server: Server) -> None:
    form = requests.Request(
        "POST",
        server.url,
        files={"file": ("x.flac", RECORDING.read_bytes())},
        data={"model": "mini"},
    ).prepare()
    body = form.body
    assert isinstance(body, bytes)
    pieces = (body[start : start + 5000] for start in range(0, len(body), 5000))
    headers = {**HEADERS, "Content-Type": form.headers["Content-Type"]}
    answer = server.post(PATH, data=pieces, headers=headers)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("fields", "code", "param", "says"),
    [
        ({"response_format": "diarized_json"}, "invalid_option", "response_format", "speakers"),
        ({"response_format": "xml"}, "invalid_option", "response_format", "'xml'"),
        ({"temperature": "2"}, "invalid_option", "temperature", "from 0 to 1"),
        ({"temperature": "nan"}, "invalid_option", "temperature", "'nan'"),
        ({"language": "klingon"}, "invalid_option", "language", "'klingon'"),
        ({"timestamp_granularities[]": "a"}, "invalid_option", "timestamp_granularities", "'a'"),
        ({"stream": "yes"}, "invalid_option", "stream", "true or false"),
        ({"stream": "1", "response_format": "srt"}, "invalid_option", "response_format", "json"),
        ({"keywords": "x" * 501}, "invalid_option", "keywords", "501"),
    ],
)  # fmt: skip
def test_wrong_fields(
    server: Server, fields: dict[str, str], code: str, param: str, says: str
) -> None:
    answer = ask(server, RECORDING, **fields)
    assert says in assert_error(answer, 400, code, param)
    assert answer.headers["x-should-retry"] == "false"


def test_error_classes(server: Server, client: OpenAI, tmp_path: Path) -> None:
    with (
        client_of(server, "wrong-0123456789abcdef") as stranger,
        pytest.raises(openai.AuthenticationError) as unknown,
    ):
        stranger.models.list()
    assert unknown.value.code == "invalid_api_key"
    text = tmp_path / "song.wav"
    text.write_text("no sound")
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model="whisper-1", file=text)
    assert refused.value.code == "not_audio"
    with pytest.raises(openai.NotFoundError) as missing, open(RECORDING, "rb") as file:
        client.audio.transcriptions.create(model="whisper-9", file=file)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")


def test_errors_of_paths_have_the_form(server: Server) -> None:
    assert_error(server.get("/v1/nothing"), 404, "unknown_route", None)
    assert_error(server.get(PATH), 405, "method_not_allowed", None)
    assert_error(server.post(PATH), 401, "invalid_api_key", None)
    assert_error(server.post(PATH, headers=HEADERS), 400, "unsupported_media_type", None)
    too_large = {**HEADERS, "Content-Length": "600000000", "Content-Type": "multipart/form-data"}
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as caller:
        head = "".join(f"{name}: {value}\r\n" for name, value in too_large.items())
        caller.sendall(f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode())
        caller.shutdown(socket.SHUT_WR)
        with caller.makefile("rb") as received:
            answer = received.read().decode()
    assert answer.startswith("HTTP/1.1 413") and '"error": {"message": ' in answer
    assert server.get("/elsewhere").headers["Content-Type"] == "application/problem+json"


def test_a_key_in_the_address(server: Server) -> None:
    address = server.url.replace("http://", f"http://x:{KEY}@")
    assert requests.get(f"{address}/v1/models", timeout=30).status_code == 200
    wrong_key = server.url.replace("http://", f"http://{KEY}:x@")
    assert requests.get(f"{wrong_key}/v1/models", timeout=30).status_code == 401


def test_a_cut_connection_does_not_cancel_the_job(
    server: Server, client: OpenAI, tmp_path: Path
) -> None:
    """The client gives up at once and tries again: all of it is one job."""
    path = write_speech(tmp_path / "cut.wav", times=2, rate_hz=12_000)
    with pytest.raises(openai.APITimeoutError), open(path, "rb") as file:
        client.with_options(timeout=0.3).audio.transcriptions.create(model="whisper-1", file=file)
    until(lambda: len(jobs_of(server, path.read_bytes())) == 1)
    with open(path, "rb") as file:
        answer = client.audio.transcriptions.create(model="whisper-1", file=file)
    assert len(answer.text.split()) > 50
    assert [job["status"] for job in jobs_of(server, path.read_bytes())] == ["completed"]


def test_another_key_has_an_upload_of_its_own(server: Server, client: OpenAI) -> None:
    sound = noise(1.0, seed=77)
    path = write_wav(server.folder / "own.wav", sound)
    with open(path, "rb") as file:
        client.audio.transcriptions.create(model="mini", file=file)
    jobs = jobs_of(server, path.read_bytes())
    other = {"Authorization": f"Bearer {OTHER}"}
    assert server.get(f"/status/{jobs[0]['file_id']}", headers=other).status_code == 404
    with client_of(server, OTHER) as stranger:
        stranger.audio.transcriptions.create(model="mini", file=path)
    assert server.get(f"/status/{jobs[0]['file_id']}", headers=other).status_code == 404


def test_so_many_requests_of_a_client_wait(server: Server, tmp_path: Path) -> None:
    path = write_speech(tmp_path / "wait.wav", times=4, rate_hz=11_025)
    with ExitStack() as waiting:
        for _ in range(MAX_WAITING_PER_CLIENT):
            answer = requests.post(
                server.url + PATH,
                files={"file": ("wait.wav", path.read_bytes())},
                data={"stream": "true"},
                headers=HEADERS,
                stream=True,
                timeout=120,
            )
            assert waiting.enter_context(answer).status_code == 200
        refused = ask(server, path)
        assert_error(refused, 429, "too_many_waiting", None)
        assert refused.headers["Retry-After"] == "5" and "x-should-retry" not in refused.headers
        # A status is still answered, at once.
        file_id = newest(server)
        assert server.get(f"/status/{file_id}?wait=60", headers=HEADERS).status_code == 200
    assert len(jobs_of(server, path.read_bytes())) == 1
    until(lambda: ask(server, path).status_code == 200)
