"""What MusicGen does not take is told clearly, and a job ends when it is told to."""

import time
from pathlib import Path

import pytest
import requests

from tests.support.music import make_music_model, prompt
from tests.support.problems import assert_problem
from tests.support.server import WAIT_S, Server
from tests.support.sounds import noise, write_wav

UNKNOWN = "0" * 32

TEXTS: list[tuple[str, bytes, str]] = [
    ("empty_file", b"", "is empty"),
    ("text_unreadable", b" \n\t\r\n ", "is empty"),
    ("text_unreadable", b"\xef\xbb\xbf", "is empty"),
    ("text_unreadable", b"...!?", "is empty"),
    ("text_unreadable", b"\x89PNG\r\n\x1a\n\x00\x00", "UTF-8"),
    ("text_unreadable", b"slow\x00piano", "control characters"),
    ("text_unreadable", b"slow \x1b[31mpiano", "control characters"),
    ("text_unreadable", "slow piano".encode("utf-16"), "UTF-8"),
    ("text_unreadable", b"a" * 20_001, "20,001 characters"),
    ("text_unreadable", "é".encode() * 20_001, "20,001 characters"),
    ("text_unreadable", b"a" * 1_000_000, "1,000,000 bytes"),
    ("text_unreadable", b'{"duration": 5\nslow piano', "not valid JSON"),
    ("text_unreadable", b'{"duration": 5}\n', "is empty"),
    ("text_unreadable", b"{" * 2000, "not valid JSON"),
]

OPTIONS: list[tuple[str, dict[str, object], str]] = [
    ("invalid_option", {"duration": 0.5}, "'duration'"),
    ("invalid_option", {"duration": 301}, "'duration'"),
    ("invalid_option", {"duration": "10"}, "'duration'"),
    ("invalid_option", {"duration": None}, "'duration'"),
    ("invalid_option", {"seed": -1}, "'seed'"),
    ("invalid_option", {"seed": 2**32}, "'seed'"),
    ("invalid_option", {"seed": 1.5}, "'seed'"),
    ("invalid_option", {"guidance_scale": 0.5}, "'guidance_scale'"),
    ("invalid_option", {"temperature": 2.1}, "'temperature'"),
    ("invalid_option", {"top_k": -1}, "'top_k'"),
    ("invalid_option", {"top_p": 0}, "'top_p'"),
    ("invalid_option", {"variations": 5}, "'variations'"),
    ("invalid_option", {"variations": True}, "'variations'"),
    ("invalid_option", {"loudness": 0}, "'loudness'"),
    ("invalid_option", {"continue_from": "../../etc/passwd"}, "'continue_from'"),
    ("invalid_option", {"continue_from": UNKNOWN}, "does not exist"),
    ("invalid_option", {"melody_from": UNKNOWN, "model_variant": "tune"}, "does not exist"),
    ("unknown_format", {"format": "midi"}, "'format'"),
    ("unknown_option", {"tempo": 120}, "'tempo'"),
    ("unknown_variant", {"model_variant": "huge"}, "'huge'"),
    ("unknown_variant", {"model_variant": "../tiny"}, "'../tiny'"),
]


@pytest.mark.parametrize(("code", "content", "names"), TEXTS)
def test_a_text_that_is_no_prompt(player: Server, code: str, content: bytes, names: str) -> None:
    answer = player.post("/upload", files={"file": ("prompt.txt", content)})
    assert_problem(answer, code, names)


def test_the_longest_prompt(player: Server) -> None:
    prompt(player, "🎹" * 2000)


def test_lyrics_that_are_too_long_for_a_prompt(player: Server) -> None:
    file_id = prompt(player, "é" * 2001)
    assert_problem(player.process(file_id, "musicgen"), "text_unreadable", "2,001 characters")


@pytest.mark.parametrize(("code", "options", "names"), OPTIONS)
def test_options_that_cannot_be(
    player: Server, code: str, options: dict[str, object], names: str
) -> None:
    file_id = prompt(player)
    assert_problem(player.process(file_id, "musicgen", **options), code, names)
    assert player.get(f"/status/{file_id}").json()["jobs"] == []


def test_music_that_was_not_made_yet(player: Server, tmp_path: Path) -> None:
    file_id, other = prompt(player), prompt(player)
    assert_problem(player.process(file_id, "musicgen", continue_from=other), "not_ready", other)
    assert_problem(player.process(file_id, "demucs", source="music"), "not_ready", file_id)
    assert_problem(player.process(file_id, "demucs", source="vocals"), "invalid_option", "'source'")
    assert_problem(player.process(file_id, "demucs"), "wrong_file_type", "'prompt.txt'")
    assert_problem(player.process(file_id, "whisper", source="vocals"), "wrong_file_type", "txt")
    assert_problem(player.get(f"/download/{file_id}/music"), "not_ready", "/process/musicgen/")
    song = player.upload(write_wav(tmp_path / "song.wav", noise(1.0)))
    assert_problem(player.process(song, "demucs", source="music"), "invalid_option", "song.wav")
    assert_problem(player.process(song, "musicgen"), "wrong_file_type", "'song.wav'")


def test_too_little_to_go_on_from(player: Server, tmp_path: Path) -> None:
    short = player.upload(write_wav(tmp_path / "short.wav", noise(0.4)))
    file_id = prompt(player)
    assert player.process(file_id, "musicgen", continue_from=short).status_code == 202
    status = player.wait(file_id)
    assert (status["status"], status["error"]["code"]) == ("failed", "invalid_option")
    assert "shorter than 1 s" in status["error"]["error"]


def test_missing_weights_are_told_within_seconds(player: Server) -> None:
    file_id = prompt(player)
    assert player.process(file_id, "musicgen", model_variant="small").status_code == 202
    status = player.wait(file_id, timeout_s=WAIT_S)
    assert (status["status"], status["error"]["code"]) == ("failed", "weights_missing")
    for words in ("'small'", "no network", "facebook/musicgen-small", "musicgen/small"):
        assert words in status["error"]["error"]


def test_damaged_weights_are_told(player: Server) -> None:
    models = player.folder / "weights" / "musicgen"
    make_music_model(models / "cut")
    whole = (models / "cut" / "model.safetensors").read_bytes()
    (models / "cut" / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    (models / "bare").mkdir()
    (models / "bare" / "config.json").write_text("{}")
    for name, words in (("cut", "cannot be loaded"), ("bare", "tokenizer.json, model.safetensors")):
        file_id = prompt(player)
        assert player.process(file_id, "musicgen", model_variant=name).status_code == 202
        status = player.wait(file_id)
        assert (status["status"], status["error"]["code"]) == ("failed", "model_unusable")
        assert words in status["error"]["error"]


def test_a_long_piece_is_canceled_and_leaves_nothing(player: Server) -> None:
    file_id = prompt(player)
    assert player.process(file_id, "musicgen", duration=300).status_code == 202
    progress: list[float] = []
    while len(set(progress)) < 3:
        status: dict[str, object] = player.get(f"/status/{file_id}").json()
        assert status["status"] in ("queued", "processing"), status
        progress.append(float(str(status["progress"])))
        time.sleep(0.1)
    assert progress == sorted(progress)
    canceled: requests.Response = player.post(f"/cancel/{file_id}")
    assert canceled.json()["status"] == "canceled"
    other = prompt(player)
    assert player.process(other, "musicgen", duration=1, seed=77).status_code == 202
    assert player.wait(other)["status"] == "completed"
    assert list((player.outputs / ".work").iterdir()) == []
    assert not (player.outputs / file_id).exists()
