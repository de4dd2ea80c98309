"""Speech becomes text over real HTTP: from the upload to every format, with every option."""

import io
import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from werkzeug.http import parse_options_header

from studio.audio import ffmpeg_path
from studio.inference.hardware import has_vnni
from studio.transcription.engine import RATE_HZ
from tests.support.problems import assert_problem
from tests.support.server import Server
from tests.support.sounds import convert, decode_all, write_wav
from tests.support.speech import (
    MAX_WRONG,
    MAX_WRONG_ELSEWHERE,
    RECORDING,
    TRACK,
    Spoken,
    again,
    data,
    late_s,
    text,
    transcribed,
    watch,
    word_of,
    write_speech,
    wrong,
)
from tests.support.subtitles import read_lrc, read_srt, read_vtt

CONTENT_TYPES = {
    "txt": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "json": "application/json",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "lrc": "text/plain; charset=utf-8",
    "plain.lrc": "text/plain; charset=utf-8",
    "ass": "text/x-ssa; charset=utf-8",
    "ultrastar.txt": "text/plain; charset=utf-8",
}


@pytest.fixture(scope="module")
def done(speaker: Server) -> str:
    """The recording, transcribed with the usual options."""
    return transcribed(speaker, RECORDING)


def name_of(answer: requests.Response) -> str:
    """The file name that a client takes from a download."""
    return parse_options_header(answer.headers["Content-Disposition"])[1]["filename"]


def test_speech_becomes_text(speaker: Server, recording: Spoken, tmp_path: Path) -> None:
    file_id = speaker.upload(write_speech(tmp_path / "speech.wav", times=6))
    answer = speaker.process(file_id, "whisper", temperature=0.0)
    assert answer.status_code == 202
    assert (answer.json()["model"], answer.json()["variant"]) == ("whisper", "mini")
    assert answer.json()["status"] in ("queued", "processing")
    seen = watch(speaker, file_id, lambda status: status["status"] == "completed")
    status = seen[-1]
    progress = [one["progress"] for one in seen]
    assert progress == sorted(progress)
    assert min(progress) >= 0.0 and progress[-1] == 1.0
    known = ["waiting", "starting", "loading model", "transcribing", "done"]
    places = [known.index(one["stage"]) for one in seen]
    assert places == sorted(places)
    assert status["tracks"] == ["transcription"]
    result = status["jobs"][0]["result"]
    assert (result["engine"], result["source"]) == ("faster-whisper", "mixture")
    assert result["precision"].endswith("(OpenVINO)") == has_vnni()
    assert (result["language"], result["note"]) == ("en", None)
    assert 0.5 < result["language_probability"] <= 1.0
    assert result["duration_s"] == pytest.approx(6 * (len(recording.sound) / RATE_HZ + 6), abs=0.1)
    assert 0.5 * result["duration_s"] < result["speech_s"] < result["duration_s"]
    said = text(speaker, file_id)
    assert wrong(" ".join([recording.text] * 6), said) <= MAX_WRONG_ELSEWHERE
    assert result["words"] == len(said.split())
    assert result["segments"] == len(said.splitlines())


def test_the_text_is_what_is_said(speaker: Server, done: str, recording: Spoken) -> None:
    answer = speaker.get(TRACK.format(done))
    assert answer.headers["Content-Type"] == CONTENT_TYPES["txt"]
    assert wrong(recording.text, answer.content.decode("utf-8")) <= MAX_WRONG


@pytest.mark.parametrize("file_format", CONTENT_TYPES)
def test_every_format(speaker: Server, done: str, file_format: str) -> None:
    answer = speaker.get(f"{TRACK.format(done)}?format={file_format}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == CONTENT_TYPES[file_format]
    assert name_of(answer) == f"spoken - transcription.{file_format}"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert b"\r" not in answer.content
    assert answer.content.endswith(b"\n")


def test_all_formats_hold_the_same_words(speaker: Server, done: str, recording: Spoken) -> None:
    said = text(speaker, done).split()
    shown = read_srt(text(speaker, done, "srt"))
    assert [word for _, _, lines in shown for word in " ".join(lines).split()] == said
    assert read_vtt(text(speaker, done, "vtt")) == shown
    assert " ".join(line for _, line in read_lrc(text(speaker, done, "lrc"))).split() == said
    rows = [row.split("\t") for row in text(speaker, done, "tsv").splitlines()[1:]]
    assert " ".join(row[2] for row in rows).split() == said
    found = data(speaker, done)
    assert (found["text"].split(), found["language"]) == (said, "en")
    words = [word_of(word) for segment in found["segments"] for word in segment["words"]]
    assert "".join(word.text for word in words).split() == said
    assert sorted(late_s(recording.words, words))[len(recording.words) // 2] <= 0.25
    starts = [int(row[0]) / 1000 for row in rows]
    assert starts == [segment["start_s"] for segment in found["segments"]]


def test_a_name_that_is_not_ascii_and_an_m4a(
    speaker: Server, recording: Spoken, tmp_path: Path
) -> None:
    for name, options in (
        ("夜曲.m4a", ()),
        ("pieces.m4a", ("-movflags", "+frag_keyframe+empty_moov")),
    ):
        song = convert(RECORDING, tmp_path / name, "-b:a", "96k", *options)
        file_id = transcribed(speaker, song)
        assert wrong(recording.text, text(speaker, file_id)) <= MAX_WRONG_ELSEWHERE
        answer = speaker.get(f"{TRACK.format(file_id)}?format=vtt")
        assert name_of(answer) == f"{song.stem} - transcription.vtt"


OPTIONS: dict[str, dict[str, Any]] = {
    "language": {"language": "en"},
    "beam_size": {"beam_size": 1},
    "a temperature": {"temperature": 0},
    "temperatures": {"temperature": [0.0]},
    "batch_size": {"batch_size": 4},
    "no vad": {"vad": False},
    "no vad in batches": {"vad": False, "batch_size": 4},
    "no word times": {"word_timestamps": False},
    "no word times in batches": {"word_timestamps": False, "batch_size": 3},
    "variant": {"model_variant": "mini", "task": "transcribe", "source": "mixture"},
}


QUICK = ("batch_size",)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in OPTIONS],
)
def test_every_option(speaker: Server, recording: Spoken, tmp_path: Path, name: str) -> None:
    """The text is right with each of them, on a recording of three windows or more."""
    options = OPTIONS[name]
    speech = write_speech(tmp_path / "speech.wav", times=3)
    file_id = speaker.upload(speech)
    result = again(speaker, file_id, **options)["result"]
    found = data(speaker, file_id)
    assert wrong(" ".join([recording.text] * 3), found["text"]) <= MAX_WRONG_ELSEWHERE
    has_words = [bool(segment["words"]) for segment in found["segments"]]
    assert set(has_words) == {options.get("word_timestamps", True)}
    given = "language" in options
    assert (found["language"], found["language_probability"] is None) == ("en", given)
    whole = result["speech_s"] == pytest.approx(result["duration_s"], abs=0.01)
    assert whole == (options.get("vad") is False)
    assert read_lrc(text(speaker, file_id, "lrc"))
    assert read_srt(text(speaker, file_id, "srt"))


@pytest.mark.parametrize("name", ["initial_prompt", "hotwords"])
def test_hints_are_heard(speaker: Server, done: str, name: str) -> None:
    """The bundled model learned without hints; so they are taken, and change what it is sure of."""
    before = data(speaker, done)
    job = again(speaker, done, **{name: "purple xray yankee"})
    after = json.loads(text(speaker, done, "json"))
    assert job["options"][name] == "purple xray yankee"
    assert [s["average_log_probability"] for s in before["segments"]] != [
        s["average_log_probability"] for s in after["segments"]
    ]
    again(speaker, done)


@pytest.mark.parametrize("options", [{"task": "translate"}, {"language": "de"}])
def test_the_bundled_model_knows_english_only(
    speaker: Server, done: str, options: dict[str, str]
) -> None:
    answer = speaker.process(done, "whisper", **options)
    assert_problem(answer, "invalid_option", "English")
    assert "'mini'" in answer.json()["error"]


def test_the_same_request_is_answered_at_once(speaker: Server, tmp_path: Path) -> None:
    first = transcribed(speaker, write_speech(tmp_path / "first.wav"), beam_size=2)
    job_id = speaker.get(f"/status/{first}").json()["job_id"]
    same = speaker.process(first, "whisper", temperature=0.0, beam_size=2, vad=True)
    assert (same.status_code, same.json()["job_id"]) == (200, job_id)
    second = speaker.upload(tmp_path / "first.wav", "second.wav")
    answer = speaker.process(second, "whisper", temperature=0.0, beam_size=2)
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert answer.json()["tracks"] == ["transcription"]
    assert speaker.process(second, "whisper", beam_size=3).status_code == 202
    assert speaker.wait(second)["status"] == "completed"
    assert speaker.delete(f"/cleanup/{first}").status_code == 200
    assert text(speaker, second)


def test_a_text_can_be_had_in_parts_and_only_if_it_changed(speaker: Server, done: str) -> None:
    address = f"{TRACK.format(done)}?format=json"
    whole = speaker.get(address)
    part = speaker.get(address, headers={"Range": "bytes=10-29"})
    assert (part.status_code, part.content) == (206, whole.content[10:30])
    assert part.headers["Content-Range"] == f"bytes 10-29/{len(whole.content)}"
    tag = whole.headers["ETag"]
    same = speaker.get(address, headers={"If-None-Match": tag})
    assert (same.status_code, same.content) == (304, b"")
    assert speaker.get(TRACK.format(done)).headers["ETag"] != tag


def test_files_lists_the_transcription(speaker: Server, tmp_path: Path) -> None:
    file_id = transcribed(speaker, write_speech(tmp_path / "listed.wav"))
    listed = speaker.get(f"/files/{file_id}").json()
    (track,) = listed["tracks"]
    assert (track["track"], track["model"], track["variant"]) == (
        "transcription",
        "whisper",
        "mini",
    )
    assert set(track["formats"]) == set(CONTENT_TYPES)
    for file_format, about in track["formats"].items():
        answer = speaker.get(about["url"])
        assert answer.headers["Content-Type"] == CONTENT_TYPES[file_format]
    after = speaker.get(f"/files/{file_id}").json()["tracks"][0]["formats"]
    assert all(about["ready"] and about["bytes"] > 0 for about in after.values())
    archive = speaker.get(listed["archive"])
    assert name_of(archive) == "listed - transcription.zip"
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        assert opened.namelist() == [f"listed - transcription.{name}" for name in CONTENT_TYPES]
        for name in CONTENT_TYPES:
            whole = speaker.get(f"{TRACK.format(file_id)}?format={name}").content
            assert opened.read(f"listed - transcription.{name}") == whole
    subtitles = speaker.get(f"{listed['archive']}?format=srt")
    with zipfile.ZipFile(io.BytesIO(subtitles.content)) as opened:
        assert opened.namelist() == ["listed - transcription.srt"]
    assert_problem(speaker.get(f"{listed['archive']}?format=mp3"), "unknown_format", "'mp3'")
    assert_problem(speaker.get(f"/download/{file_id}/vocals"), "unknown_track", "transcription")


def test_cleanup_removes_the_text(speaker: Server, tmp_path: Path) -> None:
    file_id = transcribed(speaker, write_speech(tmp_path / "gone.wav"), beam_size=3)
    assert speaker.delete(f"/cleanup/{file_id}").status_code == 200
    assert_problem(speaker.get(TRACK.format(file_id)), "unknown_file", file_id)
    assert not (speaker.outputs / file_id).exists()
    assert not (speaker.uploads / file_id).exists()


def test_a_running_transcription_is_canceled(speaker: Server, tmp_path: Path) -> None:
    file_id = speaker.upload(write_speech(tmp_path / "long.wav", times=40))
    assert speaker.process(file_id, "whisper", beam_size=20).status_code == 202
    watch(speaker, file_id, lambda status: status["progress"] > 0.0)
    answer = speaker.post(f"/cancel/{file_id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert transcribed(speaker, RECORDING, beam_size=4)  # the worker is free again
    assert speaker.get(f"/status/{file_id}").json()["status"] == "canceled"
    assert_problem(speaker.get(TRACK.format(file_id)), "not_ready", "canceled")
    assert list((speaker.outputs / ".work").iterdir()) == []


def test_a_text_is_nothing_to_listen_to(speaker: Server) -> None:
    sent = speaker.post("/upload", files={"file": ("prompt.txt", "slow piano")}).json()
    answer = speaker.process(sent["file_id"], "whisper")
    assert_problem(answer, "wrong_file_type", "'prompt.txt'")
    assert answer.status_code == 415


@pytest.mark.parametrize("channels", [(1.0, -1.0), (1.0, -1.0, 1.0, -1.0)])
def test_a_voice_in_opposite_phase_is_understood(
    speaker: Server, recording: Spoken, tmp_path: Path, channels: tuple[float, ...]
) -> None:
    voice = decode_all(RECORDING, RATE_HZ, 1)
    sound = voice * np.array(channels, np.float32)[:, None]
    file_id = transcribed(speaker, write_wav(tmp_path / "opposite.wav", sound, RATE_HZ))
    assert wrong(recording.text, text(speaker, file_id)) <= MAX_WRONG_ELSEWHERE


def test_words_of_sound_that_begins_late_have_the_times_of_a_player(
    speaker: Server, recording: Spoken, tmp_path: Path
) -> None:
    delayed = tmp_path / "late.m4a"
    command = [ffmpeg_path(), "-v", "error", "-itsoffset", "2.9", "-i", str(RECORDING)]
    subprocess.run([*command, str(delayed)], check=True)
    file_id = transcribed(speaker, delayed)
    found = [word_of(word) for one in data(speaker, file_id)["segments"] for word in one["words"]]
    true = [(word, start_s + 2.9, end_s + 2.9) for word, start_s, end_s in recording.words]
    late = late_s(true, found)
    assert len(late) > 0.8 * len(true)
    assert np.median(late) < 0.15
    first_s = read_srt(text(speaker, file_id, "srt"))[0][0]
    assert first_s == pytest.approx(true[0][1], abs=0.5)
