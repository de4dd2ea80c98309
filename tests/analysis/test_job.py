"""An analysis is a job like the others, with the tracks `analysis` and `click`."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from studio.analysis.click import RATE_HZ, clicks_of
from studio.analysis.metre import Bars
from tests.support.problems import assert_problem
from tests.support.server import Server
from tests.support.sounds import write_wav
from tests.support.tunes import tune


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("song") / "Lied 歌.wav", tune(0)[1])


@pytest.fixture(scope="module")
def file_id(server: Server, song: Path) -> str:
    file_id = server.upload(song)
    assert server.process(file_id, "analysis").status_code == 202
    assert server.wait(file_id)["status"] == "completed"
    return file_id


def heard_clicks(sound: np.ndarray) -> np.ndarray:
    """The times at which clicks begin, in seconds."""
    loud = np.flatnonzero(np.abs(sound) > 0.05)
    starts: np.ndarray = loud[np.diff(loud, prepend=-RATE_HZ) > 0.1 * RATE_HZ]
    return starts / RATE_HZ


def test_the_click_is_on_the_beats_in_every_format(server: Server, file_id: str) -> None:
    found = server.get(f"/download/{file_id}/analysis").json()
    beats_s = np.array([beat["time_s"] for beat in found["beats"]])
    for audio_format in ("wav", "flac", "mp3", "ogg"):
        answer = server.get(f"/download/{file_id}/click?format={audio_format}")
        sound, rate_hz = soundfile.read(io.BytesIO(answer.content))
        assert (rate_hz, len(sound)) == (RATE_HZ, round(found["duration_s"] * RATE_HZ))
        assert np.abs(heard_clicks(sound) - beats_s).max() < 0.005, audio_format


def test_the_result_describes_the_song(server: Server, file_id: str) -> None:
    truth, _ = tune(0)
    [job] = server.get(f"/status/{file_id}").json()["jobs"]
    assert job["tracks"] == ["analysis", "click"]
    assert job["result"]["tempo_bpm"] == pytest.approx(truth.tempo_bpm, rel=0.01)
    assert (job["result"]["key"], job["result"]["note"]) == (truth.key, None)
    assert job["result"]["beats"] == pytest.approx(len(truth.beats_s), abs=2)
    assert_problem(server.get(f"/download/{file_id}/analysis?format=mp3"), "unknown_format", "json")


def test_a_count_in_goes_before_the_song(server: Server, file_id: str) -> None:
    plain = server.get(f"/download/{file_id}/analysis").json()
    assert server.process(file_id, "analysis", count_in_bars=2, format="flac").status_code == 202
    assert server.wait(file_id)["status"] == "completed"
    found = server.get(f"/download/{file_id}/analysis").json()
    answer = server.get(f"/download/{file_id}/click")
    assert answer.headers["Content-Type"] == "audio/flac"
    sound, _ = soundfile.read(io.BytesIO(answer.content))
    length_s = len(sound) / RATE_HZ
    assert length_s == pytest.approx(found["duration_s"] + found["count_in_s"], abs=0.01)
    count = 2 * found["beats_per_bar"]
    clicks_s = heard_clicks(sound)
    assert len(clicks_s) == len(found["beats"]) + count
    beats_s = [beat["time_s"] + found["count_in_s"] for beat in plain["beats"]]
    assert np.abs(clicks_s[count:] - beats_s).max() < 0.005
    tracks = {one["track"]: one for one in server.get(f"/files/{file_id}").json()["tracks"]}
    assert tracks["click"]["duration_s"] == pytest.approx(length_s, abs=0.01)


def test_a_pickup_keeps_its_place_in_the_bar() -> None:
    bars = Bars(np.array([2.0, 2.5, 3.0]), [4, 1, 2], 4, 0.0)
    clicks = clicks_of(bars, 1)
    assert clicks.count_in_s == 0
    assert clicks.times_s.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert list(clicks.is_downbeat) == [False, True, False, False, False, True, False]


def test_options_are_checked(server: Server, file_id: str) -> None:
    for options, word in (
        ({"count_in_bars": 5}, "count_in_bars"),
        ({"tempo_bpm": 10}, "tempo_bpm"),
        ({"beats_per_bar": 1}, "beats_per_bar"),
        ({"click": False, "count_in_bars": 1}, "click"),
    ):
        assert_problem(server.process(file_id, "analysis", **options), "invalid_option", word)
    assert_problem(server.process(file_id, "analysis", beats=True), "unknown_option", "chords")


def test_chords_and_click_can_be_left_out(server: Server, song: Path) -> None:
    file_id = server.upload(song)
    server.process(file_id, "analysis", chords=False, click=False)
    status = server.wait(file_id)
    assert status["tracks"] == ["analysis"]
    assert status["jobs"][0]["result"]["key"] is None


def test_it_is_canceled_within_a_step(server: Server, tmp_path: Path) -> None:
    long = write_wav(tmp_path / "long.wav", np.tile(tune(0)[1], 12))
    file_id = server.upload(long)
    server.process(file_id, "analysis")
    while not 0 < server.get(f"/status/{file_id}").json()["progress"] < 1:
        pass
    assert server.post(f"/cancel/{file_id}").json()["status"] == "canceled"
    assert server.get(f"/status/{file_id}").json()["tracks"] == []


def test_a_count_in_has_the_tempo_of_the_beginning() -> None:
    slow, fast = np.arange(16), 15 + 0.5 * np.arange(1, 101)
    times_s = np.concatenate([slow, fast])
    clicks = clicks_of(Bars(times_s, [1, 2, 3, 4] * 29, 4, 0.0), 1)
    assert clicks.count_in_s == 4
    assert clicks.times_s[:6].tolist() == [0, 1, 2, 3, 4, 5]
