"""Options and other parameters in the query of an address, and spellings that people use."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from studio.transcription.languages import LANGUAGES, NAMES, language_code
from studio.transcription.live.settings import LiveSettings
from studio.transcription.options import TranscriptionOptions
from tests.support.problems import assert_problem
from tests.support.server import Server
from tests.support.sounds import noise, write_wav


@pytest.fixture(scope="module")
def done(server: Server, short_wav: Path) -> str:
    return server.separate(short_wav)


@pytest.fixture(scope="module")
def file_id(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A song of which no job is asked."""
    song = write_wav(tmp_path_factory.mktemp("song") / "song.wav", noise(0.5, seed=61))
    return server.upload(song)


def ask(server: Server, model: str, file_id: str, query: str, **body: Any) -> requests.Response:
    more = {"json": body} if body else {}
    return server.post(f"/process/{model}/{file_id}?{query}", **more)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("model_variant=mini", {}),
        ("format=mp3", {"format": "mp3"}),
        ("overlap=0.5&shifts=0", {"overlap": 0.5, "shifts": 0}),
        ("stems=vocals", {"stems": ["vocals"]}),
        ("stems=vocals&stems=drums&format=flac", {"stems": ["drums", "vocals"], "format": "flac"}),
    ],
)
@pytest.mark.parametrize("path", ["process/demucs", "separate"])
def test_options_in_the_query(
    server: Server, short_wav: Path, path: str, query: str, wanted: dict[str, Any]
) -> None:
    file_id = server.upload(short_wav)
    answer = server.post(f"/{path}/{file_id}?{query}")
    assert answer.status_code in (200, 202), answer.text
    job = answer.json()
    assert job["variant"] == ("mini" if "mini" in query else "tiny")
    assert {name: job["options"][name] for name in wanted} == wanted
    server.post(f"/cancel/{file_id}")


def test_options_of_every_type_in_the_query(server: Server, short_wav: Path) -> None:
    file_id = server.upload(short_wav)
    query = "model_variant=mini&vad=false&word_timestamps=TRUE&beam_size=2&language=English"
    query += "&temperature=0.2&temperature=0.4&initial_prompt=1%202"
    answer = ask(server, "whisper", file_id, query)
    assert answer.status_code == 202, answer.text
    options = answer.json()["options"]
    assert (options["vad"], options["word_timestamps"], options["beam_size"]) == (False, True, 2)
    assert (options["language"], options["initial_prompt"]) == ("en", "1 2")
    assert options["temperature"] == [0.2, 0.4]
    server.post(f"/cancel/{file_id}")


def test_query_and_body_are_taken_together(server: Server, short_wav: Path) -> None:
    file_id = server.upload(short_wav)
    same = {"stems": ["vocals"], "overlap": 0.5}
    first = ask(server, "demucs", file_id, "overlap=0.5", stems="vocals")
    second = ask(server, "demucs", file_id, "stems=vocals&overlap=.5", **same)
    assert (first.status_code, second.json()["job_id"]) == (202, first.json()["job_id"])
    assert {name: first.json()["options"][name] for name in same} == same
    server.post(f"/cancel/{file_id}")


@pytest.mark.parametrize(
    ("model", "query", "body", "code", "names"),
    [
        ("demucs", "variant=mini", {}, "unknown_option", "'variant'"),
        ("demucs", "formatt=mp3&overlap=0.5", {}, "unknown_option", "webhook"),
        ("demucs", "_=123", {}, "unknown_option", "'_'"),
        ("demucs", "format=aac", {}, "unknown_format", "'aac'"),
        ("demucs", "format=", {}, "unknown_format", "''"),
        ("demucs", "shifts=many", {}, "invalid_option", "'many'"),
        ("demucs", "shifts=1.5", {}, "invalid_option", "'1.5'"),
        ("demucs", "shifts=21", {}, "invalid_option", "21"),
        ("demucs", "overlap=nan", {}, "invalid_option", "nan"),
        ("demucs", "format=mp3&format=wav", {}, "invalid_option", "2 times"),
        ("demucs", "format=mp3", {"format": "wav"}, "invalid_option", "in the body"),
        ("demucs", "stems=vocals", {"stems": ["bass"]}, "invalid_option", "'stems'"),
        ("demucs", "model_variant=htdemux", {}, "unknown_variant", "'htdemux'"),
        ("demucs", "stems=vocals,bass", {}, "unknown_stem", "'vocals,bass'"),
        ("demucs", "webhook=ftp://example.org", {}, "invalid_option", "webhook"),
        ("whisper", "vad=perhaps", {}, "invalid_option", "'perhaps'"),
        ("whisper", "language=Klingon", {}, "invalid_option", "'Klingon'"),
        ("whisper", "temperature=warm", {}, "invalid_option", "'warm'"),
    ],
)
def test_wrong_options_in_the_query(
    server: Server,
    file_id: str,
    model: str,
    query: str,
    body: dict[str, Any],
    code: str,
    names: str,
) -> None:
    assert_problem(ask(server, model, file_id, query, **body), code, names)
    assert server.get(f"/status/{file_id}").json()["jobs"] == []


def test_a_prompt_takes_options_from_the_query(player: Server) -> None:
    text = json.dumps({"duration": 1.0, "seed": 4}) + "\nslow piano"
    sent = player.post("/upload", files={"file": ("prompt.txt", text)}).json()
    answer = ask(player, "musicgen", sent["file_id"], "duration=2&loudness=-14")
    assert answer.status_code == 202, answer.text
    options = answer.json()["options"]
    assert (options["duration"], options["seed"], options["loudness"]) == (2.0, 4, -14.0)
    player.post(f"/cancel/{sent['file_id']}")


def test_a_webhook_in_a_prompt_is_refused_by_name(player: Server) -> None:
    text = json.dumps({"webhook": "https://example.org"}) + "\nslow piano"
    sent = player.post("/upload", files={"file": ("prompt.txt", text)}).json()
    answer = ask(player, "musicgen", sent["file_id"], "")
    assert_problem(answer, "unknown_option", "must be in the request")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/download/{}/vocals?formt=mp3", "'formt'. Known: format"),
        ("/download/{}/vocals?format=mp3&quality=9", "'quality'"),
        ("/download/{}/all.zip?fmt=mp3", "'fmt'. Known: format"),
        ("/status/{}?timeout=3", "'timeout'. Known: before, wait"),
        ("/files/{}?format=mp3", "has none"),
        ("/models?model=demucs", "'model'"),
        ("/upload?model=demucs", "'model'"),
        ("/cancel/{}?job=1", "'job'"),
        ("/cleanup/{}?track=vocals", "'track'"),
    ],
)
def test_an_unknown_query_parameter_is_refused_by_name(
    server: Server, done: str, path: str, names: str
) -> None:
    method = {"/upload": "POST", "/cancel": "POST", "/cleanup": "DELETE"}.get(
        path.partition("?")[0].replace("/{}", ""), "GET"
    )
    answer = requests.request(method, server.url + path.format(done), timeout=30)
    assert_problem(answer, "unknown_option", names)
    assert server.get(f"/files/{done}").json()["tracks"]


def test_a_query_parameter_is_given_once(server: Server, done: str) -> None:
    for path in (f"/download/{done}/vocals?format=mp3&format=wav", f"/status/{done}?wait=1&wait=1"):
        assert_problem(server.get(path), "invalid_option", "2 times")


def test_monitors_may_add_what_they_like(server: Server) -> None:
    for path in ("/health", "/ready"):
        assert server.get(f"{path}?_=2").status_code == server.get(path).status_code


def test_a_browser_may_ask_before_it_sends_a_query(server: Server) -> None:
    headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "GET"}
    answer = requests.options(f"{server.url}/models?nothing=1", headers=headers, timeout=30)
    assert answer.status_code == 200


def test_a_slash_at_the_end_changes_nothing(server: Server, done: str, short_wav: Path) -> None:
    for path in (
        *("/health", "/models", f"/status/{done}", f"/files/{done}"),
        *(f"/download/{done}/vocals", f"/download/{done}/all.zip", "/docs", "/openapi.json"),
    ):
        with_slash = server.get(f"{path}/", allow_redirects=False)
        assert with_slash.status_code == 200, path
        assert len(with_slash.content) == len(server.get(path).content)
    for path in (f"/process/demucs/{done}", f"/separate/{done}"):
        assert server.post(f"{path}/").json() == server.post(path).json()
    # More than the 1 MiB that JSON may have: it is bounded as an upload.
    song = write_wav(short_wav.with_name("long.wav"), noise(8.0, seed=62))
    with open(song, "rb") as file:
        sent = server.post("/upload/", files={"file": file})
    assert sent.status_code == 201, sent.text
    assert server.post(f"/cancel/{sent.json()['file_id']}/").status_code == 409
    assert server.delete(f"/cleanup/{sent.json()['file_id']}/").status_code == 200


def test_a_list_may_be_one_text(server: Server, short_wav: Path) -> None:
    file_id = server.upload(short_wav)
    first, second = (
        server.process(file_id, stems=wanted, shifts=20).json() for wanted in ("vocals", ["vocals"])
    )
    assert first["options"]["stems"] == ["vocals"]
    assert second["job_id"] == first["job_id"]
    server.post(f"/cancel/{file_id}")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *(("en", "en"), ("EN", "en"), ("English", "en"), ("ENGLISH", "en"), (" german ", "de")),
        *(("Haitian Creole", "ht"), ("haitian  creole", "ht"), ("Mandarin", "zh")),
        *(("Castilian", "es"), ("en-US", "en"), ("pt_BR", "pt"), ("zh-Hans-CN", "zh")),
        *(("yue", "yue"), ("Cantonese", "yue"), ("haw", "haw")),
    ],
)
def test_a_language_by_code_or_name(text: str, code: str) -> None:
    assert TranscriptionOptions(language=text).language == code
    assert LiveSettings(variant="mini", language=text).language == code


@pytest.mark.parametrize("text", ["", "xx", "xx-US", "en-", "en-!", "Englisch", "en us", "-", "e"])
def test_an_unknown_language(text: str) -> None:
    assert language_code(text) is None


def test_the_names_are_those_of_whisper() -> None:
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from whisper.tokenizer import LANGUAGES as KNOWN
    from whisper.tokenizer import TO_LANGUAGE_CODE

    assert NAMES == KNOWN
    assert set(_LANGUAGE_CODES) == LANGUAGES
    assert {name: language_code(name) for name in TO_LANGUAGE_CODE} == TO_LANGUAGE_CODE
