"""Music from a sentence, over HTTP: the way of a prompt to tracks, with a tiny random model."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config import Config
from models import Models
from studio.audio.loudness import integrated_lufs
from studio.errors import NotReady
from studio.jobs.database import connect
from studio.jobs.job import Job, State
from studio.jobs.store import JobStore
from studio.storage.uploads import Upload
from tests.support.music import heard, make, make_music_model, prompt
from tests.support.problems import assert_problem
from tests.support.server import Server
from tests.support.sounds import Sound, decode_all, level_db, noise, read_sound, write_wav
from tests.support.storage import disk_storage, prompt_to

RATE_HZ = 32_000
FRAME_S = 0.02


def test_a_sentence_becomes_music(player: Server, tmp_path: Path) -> None:
    file_id = prompt(player)
    job = make(player, file_id, seed=5, duration=2.0)
    assert (job["model"], job["variant"], job["tracks"]) == ("musicgen", "tiny", ["music"])
    result = job["result"]
    assert (result["sample_rate_hz"], result["channels"]) == (RATE_HZ, 1)
    assert (result["steps"], result["seed"]) == (2 * 50 + 3, 5)
    assert result["duration_s"] == 2.0
    assert (result["engine"], result["precision"], result["note"]) == ("torch", "f32", None)
    music = heard(player, tmp_path, file_id)
    assert music.shape == (1, 2 * RATE_HZ)
    assert np.abs(music).max() > 0.01
    listed = player.get(f"/files/{file_id}").json()
    assert [track["track"] for track in listed["tracks"]] == ["music"]
    assert listed["tracks"][0]["duration_s"] == 2.0
    with zipfile.ZipFile(io.BytesIO(player.get(listed["archive"]).content)) as opened:
        assert [name.rpartition(" - ")[2] for name in opened.namelist()] == ["music.wav"]
    for name, kind in (("flac", "audio/flac"), ("mp3", "audio/mpeg"), ("ogg", "audio/ogg")):
        answer = player.get(f"/download/{file_id}/music?format={name}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)
    assert_problem(player.get(f"/download/{file_id}/music?format=txt"), "unknown_format", "music")


def test_a_seed_repeats_exactly_and_a_prompt_counts(player: Server, tmp_path: Path) -> None:
    first, other = prompt(player), prompt(player, "fast drums")
    make(player, first, seed=1)
    again = make(player, first, seed=1, top_k=250)
    assert again["job_id"] == player.get(f"/status/{first}").json()["jobs"][-1]["job_id"]
    music = heard(player, tmp_path, first)
    # Other options that do not change the sound make it anew.
    make(player, first, seed=1, format="flac")
    assert np.array_equal(heard(player, tmp_path, first), music)
    make(player, other, seed=1)
    assert not np.allclose(heard(player, tmp_path, other), music, atol=1e-3)
    make(player, first, seed=2)
    assert not np.allclose(heard(player, tmp_path, first), music, atol=1e-3)


def test_without_a_seed_each_time_is_another(player: Server, tmp_path: Path) -> None:
    file_id = prompt(player)
    seeds, sounds = [], []
    for _ in range(2):
        seeds.append(make(player, file_id)["options"]["seed"])
        sounds.append(heard(player, tmp_path, file_id))
    assert seeds[0] != seeds[1]
    assert not np.allclose(sounds[0], sounds[1], atol=1e-3)
    make(player, file_id, seed=seeds[0])
    assert np.array_equal(heard(player, tmp_path, file_id), sounds[0])


@pytest.mark.parametrize("duration", [1, 1.013, 1.5])
def test_the_duration_is_exact_to_one_frame(player: Server, duration: float) -> None:
    job = make(player, prompt(player), duration=duration, seed=3)
    assert abs(job["result"]["duration_s"] - duration) <= FRAME_S
    assert job["result"]["samples"] == round(job["result"]["duration_s"] * RATE_HZ)


def test_variations_come_from_one_batch(player: Server, tmp_path: Path) -> None:
    file_id = prompt(player)
    job = make(player, file_id, variations=3, seed=4)
    assert job["tracks"] == ["music", "music_2", "music_3"]
    assert job["result"]["steps"] == 53
    three = [heard(player, tmp_path, file_id, track) for track in job["tracks"]]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not np.allclose(three[one], three[other], atol=1e-3)
    make(player, file_id, seed=4)
    assert np.abs(heard(player, tmp_path, file_id) - three[0]).max() < 1e-4


def test_stereo(player: Server, tmp_path: Path) -> None:
    file_id = prompt(player)
    job = make(player, file_id, model_variant="wide", seed=1)
    assert job["result"]["channels"] == 2
    left, right = heard(player, tmp_path, file_id)
    assert not np.allclose(left, right, atol=1e-3)


@pytest.mark.parametrize(
    ("text", "is_understood"),
    [
        ("slow 🎹 piano", True),
        ("🎹🎹🎹 🌧️ piano", False),
        ("медленное пианино", False),
        ("ゆっくりしたピアノ", False),
        ("بيانو بطيء", False),
        ("Ünïcödé — piano", False),
    ],
)
def test_prompts_in_any_script(player: Server, text: str, is_understood: bool) -> None:
    """All of them are played; where the model knows few of the words the result says so."""
    job = make(player, prompt(player, text), seed=1)
    assert (job["result"]["note"] is None) == is_understood


def test_the_first_line_may_carry_options(player: Server) -> None:
    file_id = prompt(player, '\ufeff{"duration": 1.5, "seed": 9}\nslow piano\n')
    assert player.process(file_id, "musicgen", seed=10).status_code == 202
    job = player.wait(file_id)["jobs"][0]
    assert (job["result"]["duration_s"], job["options"]["seed"]) == (1.5, 10)
    bad = prompt(player, '{"duration": 999}\nslow piano')
    assert_problem(player.process(bad, "musicgen"), "invalid_option", "'duration'")


def test_a_track_goes_on_from_a_sound(player: Server, tmp_path: Path) -> None:
    given = noise(2.5, channels=2, rate_hz=48_000, seed=8)
    other = player.upload(write_wav(tmp_path / "song.wav", given, 48_000))
    file_id = prompt(player)
    job = make(player, file_id, continue_from=other, seed=2)
    assert job["result"]["duration_s"] == pytest.approx(3.5, abs=FRAME_S)
    assert (job["result"]["generated_s"], job["result"]["steps"]) == (1.0, 53)
    music = heard(player, tmp_path, file_id)
    begins = job["result"]["samples"] - RATE_HZ
    # The beginning is the given sound itself, until it fades into the new one.
    expected = decode_all(tmp_path / "song.wav", RATE_HZ, 1)
    kept = begins - RATE_HZ // 10
    assert np.abs(music[:, :kept] - expected[:, :kept]).max() < 1e-6
    jumps = np.abs(np.diff(music[0]))
    around = slice(kept - 10, begins + 10)
    assert jumps[around].max() <= 1.5 * jumps.max(initial=0.0, where=_outside(jumps, around))
    same = player.upload(tmp_path / "song.wav")
    again = make(player, file_id, continue_from=same, seed=2)
    assert again["job_id"] == job["job_id"], "the same content under another ID"


def _outside(values: Any, inside: slice) -> Any:
    mask = np.ones(len(values), bool)
    mask[inside] = False
    return mask


def test_generated_music_can_be_continued_and_separated(player: Server, tmp_path: Path) -> None:
    first = prompt(player)
    answer = player.process(first, "demucs", source="music")
    assert_problem(answer, "not_ready", "/process/musicgen/")
    make(player, first, seed=6, duration=1.5)
    music = heard(player, tmp_path, first)
    second = prompt(player, "fast drums")
    make(player, second, continue_from=first, seed=6)
    longer = heard(player, tmp_path, second)
    kept = music.shape[1] - RATE_HZ // 10
    assert longer.shape[1] == music.shape[1] + RATE_HZ
    assert np.abs(longer[:, :kept] - music[:, :kept]).max() < 1e-6

    assert player.process(first, "demucs", source="music").status_code == 202
    status = player.wait(first)
    assert status["status"] == "completed", status
    assert set(status["tracks"]) >= {"music", "vocals", "no_vocals", "instrumental"}
    assert status["jobs"][0]["result"]["source"] == "music"
    halves = [heard(player, tmp_path, first, track) for track in ("vocals", "instrumental")]
    assert halves[0].shape == (2, round(1.5 * 44_100))
    both = halves[0] + halves[1]
    assert abs(level_db(both[0]) - level_db(music[0])) < 0.5
    archive = player.get(f"/download/{first}/all.zip?format=flac").content
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        held = {name.rpartition(" - ")[2] for name in opened.namelist()}
    assert held == {"music.flac", "drums.flac", "bass.flac", "other.flac", "vocals.flac"}
    assert np.array_equal(heard(player, tmp_path, first), music)


def test_a_queued_job_reads_the_track_that_it_was_requested_for(tmp_path: Path) -> None:
    make_music_model(tmp_path / "models" / "musicgen" / "tiny")
    storage = disk_storage(tmp_path / "uploads", tmp_path / "outputs")
    storage.open()
    store = JobStore(connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}"))
    store.open()
    settings = {"MODEL_DIR": str(tmp_path / "models"), "MUSICGEN_ENGINE": "torch"}
    processor = Models(Config.load(settings, dotenv=None), storage, store).get("musicgen")
    first, second = prompt_to(storage), prompt_to(storage)

    def requested(upload: Upload, **options: Any) -> Job:
        body = {"model_variant": "tiny", "duration": 1.0, "seed": 1, **options}
        return store.add(processor.request(upload, body))

    def done(job: Job) -> Sound:
        result = processor.run(job, lambda *_: None)
        store.finish(job, State.COMPLETED, result=result)
        return read_sound(storage.result(job.result_id).file("music.wav").path)

    made = requested(first)
    music = done(made)
    waiting = [requested(second, continue_from=first.file_id, seed=seed) for seed in (3, 4)]
    assert not np.array_equal(done(requested(first, seed=2)), music)
    kept = music.shape[1] - RATE_HZ // 10
    assert np.abs(done(waiting[0])[:, :kept] - music[:, :kept]).max() < 1e-6
    store.forget(made.job_id)
    with pytest.raises(NotReady, match=r"'music' of 'prompt\.txt' .* has been deleted"):
        done(waiting[1])
    store.close()


def test_a_melody_is_followed_by_melody_variants_only(player: Server, tmp_path: Path) -> None:
    tune = player.upload(write_wav(tmp_path / "tune.wav", noise(1.0)))
    file_id = prompt(player)
    answer = player.process(file_id, "musicgen", melody_from=tune)
    assert_problem(answer, "invalid_option", "melody variant")
    plain = make(player, file_id, model_variant="tune", seed=1, temperature=0.0)
    music = heard(player, tmp_path, file_id)
    make(player, file_id, model_variant="tune", seed=1, temperature=0.0, melody_from=tune)
    assert plain["result"]["steps"] == 53
    assert not np.allclose(heard(player, tmp_path, file_id), music, atol=1e-4)


def test_tracks_have_the_wanted_loudness(player: Server, tmp_path: Path) -> None:
    file_id = prompt(player)
    plain = make(player, file_id, seed=1, duration=2)["result"]
    job = make(player, file_id, seed=1, duration=2, loudness=-30.0)["result"]
    assert job["loudness_lufs"] == [pytest.approx(-30.0, abs=0.02)]
    assert plain["loudness_lufs"] != job["loudness_lufs"]
    assert integrated_lufs([heard(player, tmp_path, file_id)], RATE_HZ) == pytest.approx(
        -30.0, abs=0.05
    )
    loud = make(player, file_id, seed=1, duration=2, loudness=-8.0)["result"]
    peak = np.abs(heard(player, tmp_path, file_id)).max()
    assert peak <= 0.981
    assert loud["loudness_lufs"][0] <= -7.9
