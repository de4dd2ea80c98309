"""What goes wrong with a transcription is told: options, weights, engines, a killed server."""

import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.transcription.engine import RATE_HZ
from tests.support.problems import assert_problem, assert_sentence, without_network
from tests.support.server import Server
from tests.support.sounds import write_wav
from tests.support.speech import (
    MAX_WRONG,
    MAX_WRONG_ELSEWHERE,
    MINI,
    RECORDING,
    Spoken,
    again,
    make_whisper,
    text,
    watch,
    write_checkpoint,
    write_speech,
    wrong,
)

FILES = (
    "model.bin",
    "config.json",
    "tokenizer.json",
    "preprocessor_config.json",
    "vocabulary.json",
)


class Touch:
    """Makes a folder when it is unpickled carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def model_dir(folder: Path) -> Path:
    """A MODEL_DIR with whole and damaged weights of both engines."""
    names = folder / "weights" / "whisper"
    for name in ("mine", "base", *(f"no-{Path(file).stem}" for file in FILES[:3]), "junk", "cut"):
        (names / name).mkdir(parents=True)
        for file in FILES:
            (names / name / file).symlink_to(MINI / "ctranslate2" / file)
    for file in FILES[:3]:
        (names / f"no-{Path(file).stem}" / file).unlink()
    whole = (MINI / "ctranslate2" / "model.bin").read_bytes()
    for name, content in (("junk", b"no model"), ("cut", whole[: len(whole) // 2])):
        (names / name / "model.bin").unlink()
        (names / name / "model.bin").write_bytes(content)
    write_checkpoint(names / "mine.pt")
    (names / "base.pt").symlink_to("mine.pt")
    checkpoint = (names / "mine.pt").read_bytes()
    (names / "cut.pt").write_bytes(checkpoint[: len(checkpoint) // 2])
    (names / "junk.pt").write_bytes(b"no model")
    (names / "evil.pt").write_bytes(pickle.dumps(Touch(folder / "was run")))
    return folder / "weights"


def lonely(folder: Path, **settings: object) -> Server:
    """A server without network and with empty caches."""
    return Server(
        folder,
        MODEL_DIR=model_dir(folder),
        XDG_CACHE_HOME=folder / "cache",
        WHISPER_MODEL="mini",
        **without_network(folder),
        **settings,
    )


@pytest.fixture(scope="module")
def faster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = lonely(tmp_path_factory.mktemp("faster")).start()
    yield server
    server.stop_later()


@pytest.fixture(scope="module")
def openai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = lonely(tmp_path_factory.mktemp("openai"), WHISPER_ENGINE="openai-whisper").start()
    yield server
    server.stop_later()


@pytest.fixture(scope="module")
def file_id(faster: Server) -> str:
    return faster.upload(RECORDING)


# code, what the sentence names, the options
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("unknown_variant", "'basse'", {"model_variant": "basse"}),
    ("unknown_variant", "'../mine'", {"model_variant": "../mine"}),
    ("unknown_variant", "'mine.pt'", {"model_variant": "mine.pt"}),
    ("unknown_variant", "'htdemux'", {"source": "vocals", "separation_variant": "htdemux"}),
    ("unknown_option", "'lang'", {"lang": "en"}),
    ("unknown_option", "'stems'", {"stems": ["vocals"]}),
    ("invalid_option", "'model_variant'", {"model_variant": ""}),
    ("invalid_option", "'language'", {"language": "xx"}),
    ("invalid_option", "'language'", {"language": "Englisch"}),
    ("invalid_option", "'language'", {"language": ""}),
    ("invalid_option", "'language'", {"language": 1}),
    ("invalid_option", "English", {"language": "de"}),
    ("invalid_option", "'tiny.en'", {"model_variant": "tiny.en", "language": "de"}),
    ("invalid_option", "'tiny.en'", {"model_variant": "tiny.en", "task": "translate"}),
    ("invalid_option", "'task'", {"task": "sing"}),
    ("invalid_option", "'source'", {"source": "drums"}),
    ("invalid_option", "separation_variant", {"separation_variant": "mini"}),
    ("invalid_option", "'initial_prompt'", {"initial_prompt": "a" * 1001}),
    ("invalid_option", "'initial_prompt'", {"initial_prompt": ["a"]}),
    ("invalid_option", "'hotwords'", {"hotwords": "a" * 501}),
    ("invalid_option", "'word_timestamps'", {"word_timestamps": "yes"}),
    ("invalid_option", "'vad'", {"vad": 1}),
    ("invalid_option", "'beam_size'", {"beam_size": 0}),
    ("invalid_option", "'beam_size'", {"beam_size": 21}),
    ("invalid_option", "'beam_size'", {"beam_size": "5"}),
    ("invalid_option", "'beam_size'", {"beam_size": 2.5}),
    ("invalid_option", "temperature", {"temperature": 1.5}),
    ("invalid_option", "temperature", {"temperature": -0.1}),
    ("invalid_option", "temperature", {"temperature": []}),
    ("invalid_option", "temperature", {"temperature": [0.0, "hot"]}),
    ("invalid_option", "'batch_size'", {"batch_size": 0}),
    ("invalid_option", "'batch_size'", {"batch_size": 65}),
]


@pytest.mark.parametrize(
    ("code", "names", "options"), CASES, ids=[str(number) for number in range(len(CASES))]
)
def test_an_option_that_cannot_be_used(
    faster: Server, file_id: str, code: str, names: str, options: dict[str, Any]
) -> None:
    assert_problem(faster.process(file_id, "whisper", **options), code, names)
    assert faster.get(f"/status/{file_id}").json()["jobs"] == []


def failure(server: Server, **options: Any) -> dict[str, Any]:
    """The error of a job that fails."""
    file_id = server.upload(RECORDING)
    answer = server.process(file_id, "whisper", **options)
    assert answer.status_code == 202, answer.text
    status = server.wait(file_id)
    assert status["status"] == "failed", status
    assert status["tracks"] == []
    assert_problem(server.get(f"/download/{file_id}/transcription"), "not_ready", "failed")
    assert list((server.outputs / ".work").iterdir()) == []
    error = dict(status["error"])
    shown = error["error"].replace("Error:", "").replace(str(server.folder), "MODEL_DIR")
    assert_sentence(shown, "'mini'")
    return error


@pytest.mark.parametrize("variant", ["tiny", "turbo", "small.en"])
def test_missing_weights(faster: Server, openai: Server, variant: str) -> None:
    """Without a network the job says where they belong, and names the bundled variant."""
    error = failure(faster, model_variant=variant)
    assert (error["code"], error["missing"]) == ("weights_missing", [variant])
    assert str(faster.folder / "weights" / "whisper" / variant) in error["error"]
    error = failure(openai, model_variant=variant)
    assert (error["code"], error["missing"]) == ("weights_missing", [f"{variant}.pt"])
    assert str(openai.folder / "weights" / "whisper" / f"{variant}.pt") in error["error"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no-tokenizer", "tokenizer.json"),
        ("no-config", "config.json"),
        ("no-model", "model.bin"),
        ("junk", "junk"),
        ("cut", "cut"),
    ],
)
def test_a_damaged_directory(faster: Server, name: str, says: str) -> None:
    error = failure(faster, model_variant=name)
    assert error["code"] == "model_unusable"
    assert repr(name) in error["error"] and says in error["error"]


@pytest.mark.parametrize("name", ["junk", "cut", "evil"])
def test_a_damaged_checkpoint(openai: Server, name: str) -> None:
    error = failure(openai, model_variant=name)
    assert error["code"] == "model_unusable"
    assert repr(name) in error["error"]
    assert not (openai.folder / "was run").exists()


def test_damaged_weights_do_not_hide_the_others(faster: Server, openai: Server) -> None:
    directory_bytes = sum(file.stat().st_size for file in (MINI / "ctranslate2").iterdir())
    checkpoint_bytes = (openai.folder / "weights" / "whisper" / "mine.pt").stat().st_size
    for server, names, size_bytes in (
        (faster, {"mine", "no-tokenizer", "junk", "cut"}, directory_bytes),
        (openai, {"mine", "junk", "cut", "evil"}, checkpoint_bytes),
    ):
        about = server.get("/models").json()["models"]["whisper"]
        assert about["default"] == "mini"
        variants = about["variants"]
        assert names | {"mini", "tiny", "base", "large-v3", "turbo"} <= variants.keys()
        assert variants["mini"]["weights"] == "bundled"
        assert 0 < variants["mini"]["size_bytes"] < 40_000_000
        assert (variants["mine"]["weights"], variants["mine"]["licence"]) == ("local", "yours")
        assert (variants["base"]["weights"], variants["base"]["licence"]) == ("local", "MIT")
        assert variants["mine"]["size_bytes"] == size_bytes
        assert variants["tiny"]["weights"] == "available"
    engines = [
        server.get("/models").json()["models"]["whisper"]["variants"]["mini"]["engine"]
        for server in (faster, openai)
    ]
    assert engines == ["faster-whisper", "openai-whisper"]


@pytest.mark.parametrize("variant", [pytest.param("mini", marks=pytest.mark.slow), "mine"])
def test_weights_of_either_engine_are_used(
    faster: Server, openai: Server, recording: Spoken, variant: str
) -> None:
    texts = []
    for server, engine in ((faster, "faster-whisper"), (openai, "openai-whisper")):
        uploaded = server.upload(RECORDING)
        job = again(server, uploaded, model_variant=variant, beam_size=1)
        assert (job["variant"], job["result"]["engine"]) == (variant, engine)
        texts.append(text(server, uploaded))
        found = json.loads(text(server, uploaded, "json"))
        assert all(segment["words"] for segment in found["segments"])
        assert wrong(recording.text, texts[-1]) <= MAX_WRONG
    assert texts[0].split() == texts[1].split()


def in_caches(folder: Path) -> None:
    """Place weights as downloads of `tiny` lie, and half of those of `small`."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    for name, files in (("tiny", FILES), ("small", FILES[:1])):
        home = folder / "hub" / "hub" / f"models--Systran--faster-whisper-{name}"
        snapshot = home / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text(commit)
        for file in files:
            shutil.copy(MINI / "ctranslate2" / file, snapshot / file)
    (folder / "cache" / "whisper").mkdir(parents=True)
    make_whisper(folder / "cache" / "whisper" / "tiny.pt")


@pytest.mark.parametrize(
    "engine", ["faster-whisper", pytest.param("openai-whisper", marks=pytest.mark.slow)]
)
def test_downloaded_weights_are_used(tmp_path: Path, recording: Spoken, engine: str) -> None:
    in_caches(tmp_path)
    sentence = write_wav(tmp_path / "sentence.wav", recording.part(0, 1)[None], RATE_HZ)
    server = lonely(tmp_path, WHISPER_ENGINE=engine).start()
    try:
        variants = server.get("/models").json()["models"]["whisper"]["variants"]
        assert variants["tiny"]["weights"] == "downloaded"
        assert variants["small"]["weights"] == "available"
        # The checkpoint of openai-whisper has random weights; its text would be tried again.
        uploaded = server.upload(RECORDING if engine == "faster-whisper" else sentence)
        options = {"language": "en", "beam_size": 1, "temperature": 0.0}
        job = again(server, uploaded, model_variant="tiny", **options)
        assert job["result"]["engine"] == engine
        if engine == "faster-whisper":
            assert wrong(recording.text, text(server, uploaded)) <= MAX_WRONG
    finally:
        server.stop_later()


@pytest.mark.slow
def test_a_transcription_that_is_killed_runs_again(tmp_path: Path, recording: Spoken) -> None:
    server = lonely(tmp_path).start()
    try:
        uploaded = server.upload(write_speech(tmp_path / "long.wav", times=3))
        server.process(uploaded, "whisper", beam_size=20, temperature=0.0)
        seen = watch(server, uploaded, lambda status: status["progress"] > 0.1)
        assert seen[-1]["status"] == "processing"
        server.kill()
        server.start()
        done = server.wait(uploaded)
        assert done["status"] == "completed"
        assert len(done["jobs"]) == 1
        said = text(server, uploaded)
        assert wrong(" ".join([recording.text] * 3), said) <= MAX_WRONG_ELSEWHERE
        assert list((server.outputs / ".work").iterdir()) == []
    finally:
        server.kill()
