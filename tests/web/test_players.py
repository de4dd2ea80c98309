"""What players need: all stems as one file in one clock, and waveform data."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from studio.results import SoundResult, joined_track
from tests.support.problems import assert_problem
from tests.support.server import Server
from tests.support.sounds import RATE_HZ, level_db, noise, sound_of, tone, write_wav

STEMS = ["drums", "bass", "other", "vocals"]


@pytest.fixture(scope="module")
def done(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A separated file; its latest separation has the vocals only."""
    song = write_wav(tmp_path_factory.mktemp("songs") / "Lied 歌.wav", noise(2.0, seed=61))
    file_id = server.separate(song)
    server.process(file_id, stems=["vocals"])
    assert server.wait(file_id)["status"] == "completed"
    return file_id


@pytest.mark.parametrize("audio_format", ["flac", "wav"])
def test_all_stems_are_one_file(server: Server, done: str, audio_format: str) -> None:
    listed = server.get(f"/files/{done}").json()["stems"]
    assert listed["channels"] == [stem for stem in STEMS for _ in range(2)]
    answer = server.get(listed["formats"][audio_format]["url"])
    assert answer.headers["Content-Type"] == f"audio/{audio_format}"
    assert f"- stems.{audio_format}" in answer.headers["Content-Disposition"]
    joined = sound_of(answer)
    for number, stem in enumerate(STEMS):
        alone = sound_of(server.get(f"/download/{done}/{stem}?format={audio_format}"))
        assert np.array_equal(joined[2 * number : 2 * number + 2], alone), stem
    about = server.get(f"/files/{done}").json()["stems"]["formats"][audio_format]
    assert (about["ready"], about["bytes"]) == (True, len(answer.content))


def test_a_part_of_all_stems(server: Server, done: str) -> None:
    path = f"/download/{done}/stems.flac"
    whole = server.get(path)
    part = server.get(path, headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, whole.content[1000:2000])
    same = server.get(path, headers={"If-None-Match": whole.headers["ETag"]})
    assert same.status_code == 304


def test_the_file_of_all_stems_is_no_track(server: Server, done: str) -> None:
    """Programs that go through the tracks keep finding what they know."""
    status = server.get(f"/status/{done}").json()
    assert "stems" not in status["tracks"]
    assert "stems" not in {one["track"] for one in server.get(f"/files/{done}").json()["tracks"]}
    assert_problem(server.get(f"/download/{done}/stems"), "unknown_track", "stems")


def test_a_wrong_request_for_all_stems(server: Server, done: str, short_wav: Path) -> None:
    assert_problem(server.get(f"/download/{done}/stems.mp3"), "unknown_format", "8 channels")
    assert_problem(server.get(f"/download/{done}/stems.mid"), "unknown_format", "flac, wav")
    untouched = server.upload(short_wav)
    assert_problem(server.get(f"/download/{untouched}/stems.flac"), "not_ready", untouched)
    assert server.get(f"/files/{untouched}").json()["stems"] is None


def test_five_stems_are_wav_only() -> None:
    result = SoundResult(
        format="wav", sample_rate_hz=RATE_HZ, channels=2, samples=1, gain=1.0, duration_s=1.0
    )
    track = joined_track(
        "stems", "stems", ["a", "b", "c", "d", "e"], result, lambda folder: folder.upload
    )
    assert list(track.formats) == ["wav"]
    assert len(track.channels) == 10


@pytest.mark.parametrize("samples_per_pixel", [None, 512, 8192])
@pytest.mark.parametrize("track", ["vocals", "instrumental"])
def test_peaks_are_those_of_the_track(
    server: Server, done: str, track: str, samples_per_pixel: int | None
) -> None:
    zoom = f"&samples_per_pixel={samples_per_pixel}" if samples_per_pixel else ""
    answer = server.get(f"/download/{done}/{track}?format=peaks{zoom}")
    assert answer.headers["Content-Type"] == "application/json"
    assert f"{track}.peaks.json" in answer.headers["Content-Disposition"]
    sound = sound_of(server.get(f"/download/{done}/{track}?format=wav"))
    wanted = samples_per_pixel or 512
    body = json.loads(answer.content)
    assert (body["version"], body["bits"], body["channels"]) == (2, 8, 1)
    assert body["samples_per_pixel"] == wanted
    assert body["length"] == len(body["data"]) // 2 == -(-sound.shape[1] // wanted)
    low, high = np.array(body["data"]).reshape(-1, 2).T
    assert low.min() == max(round(float(sound.min()) * 128), -128)
    assert high.max() == min(round(float(sound.max()) * 128), 127)


def test_peaks_are_made_with_the_stems(server: Server, done: str) -> None:
    tracks = {one["track"]: one for one in server.get(f"/files/{done}").json()["tracks"]}
    assert {zoom: one["ready"] for zoom, one in tracks["drums"]["peaks"].items()} == {
        "512": True,
        "8192": True,
    }
    assert not tracks["no_drums"]["peaks"]["512"]["ready"]
    for about in tracks["drums"]["peaks"].values():
        assert len(server.get(about["url"]).content) == about["bytes"]


@pytest.mark.parametrize("query", ["format=peaks&samples_per_pixel=1", "samples_per_pixel=512"])
def test_a_wrong_zoom(server: Server, done: str, query: str) -> None:
    answer = server.get(f"/download/{done}/vocals?{query}")
    assert_problem(answer, "invalid_option", "512 or 8192")


@pytest.mark.parametrize("samples_per_pixel", [512, 8192])
def test_peaks_of_an_upload(server: Server, tmp_path: Path, samples_per_pixel: int) -> None:
    """At its own rate; channels of opposite phase do not cancel each other out."""
    sound = noise(1.0, rate_hz=48_000)
    sound[1] = -sound[0]
    file_id = server.upload(write_wav(tmp_path / "song.wav", sound, 48_000))
    path = f"/download/{file_id}/original?format=peaks&samples_per_pixel={samples_per_pixel}"
    answer = server.get(path)
    assert answer.headers["Content-Type"] == "application/json"
    assert "song - original.peaks.json" in answer.headers["Content-Disposition"]
    body = answer.json()
    assert (body["sample_rate"], body["samples_per_pixel"]) == (48_000, samples_per_pixel)
    starts = np.arange(0, sound.shape[1], samples_per_pixel)
    high = np.maximum.reduceat(sound.max(axis=0), starts)
    assert np.abs(np.array(body["data"][1::2]) - 128 * high).max() < 1
    assert server.get(path).headers["ETag"] == answer.headers["ETag"]


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("format=flac", "unknown_format", "'flac'"),
        ("format=peaks&samples_per_pixel=9", "invalid_option", "512 or 8192"),
        ("samples_per_pixel=512", "invalid_option", "for the format 'peaks'"),
    ],
)
def test_a_wrong_format_of_an_upload(
    server: Server, done: str, query: str, code: str, words: str
) -> None:
    assert_problem(server.get(f"/download/{done}/original?{query}"), code, words)


@pytest.mark.parametrize("file_format", ["peaks", "mp3"])
def test_a_text_has_no_sound(server: Server, tmp_path: Path, file_format: str) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("slow piano")
    file_id = server.upload(prompt)
    answer = server.get(f"/download/{file_id}/original?format={file_format}")
    assert_problem(answer, "unknown_format", "of audio")


@pytest.mark.parametrize(
    ("name", "rate_hz", "channels", "mp3_rate_hz"),
    [("song.aiff", RATE_HZ, 2, RATE_HZ), ("call.wav", 8_000, 1, 48_000)],
)
def test_an_upload_as_mp3(
    server: Server, tmp_path: Path, name: str, rate_hz: int, channels: int, mp3_rate_hz: int
) -> None:
    """It is made once, and keeps the time of the recording."""
    sound = tone(2.0, rate_hz=rate_hz)
    sound[:rate_hz] = 0
    path = tmp_path / name
    soundfile.write(path, np.stack([sound] * channels, axis=1), rate_hz, "PCM_16")
    address = f"/download/{server.upload(path)}/original?format=mp3"
    answer = server.get(address)
    assert answer.headers["Content-Type"] == "audio/mpeg"
    assert f"{path.stem} - original.mp3" in answer.headers["Content-Disposition"]
    played, played_hz = soundfile.read(io.BytesIO(answer.content), always_2d=True)
    assert (played_hz, played.shape[1]) == (mp3_rate_hz, channels)
    assert len(played) / played_hz == pytest.approx(2.0, abs=0.05)
    begins_s = np.argmax(np.abs(played[:, 0]) > 0.1) / played_hz
    assert begins_s == pytest.approx(1.0, abs=0.02)
    assert level_db(played[played_hz:, 0]) == pytest.approx(0.0, abs=0.5)
    part = server.get(address, headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, answer.content[1000:2000])
    assert part.headers["ETag"] == answer.headers["ETag"]
