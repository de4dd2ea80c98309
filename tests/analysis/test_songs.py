"""The analysis of a few songs; `bench.analysis` measures more songs with better instruments."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bench.analysis import GOALS, scores
from studio.analysis.analyse import analyse
from studio.analysis.catalogue import WEIGHTS
from studio.analysis.model import AnalysisModel
from studio.analysis.options import AnalysisOptions
from studio.family import JobContext
from studio.sources import Source
from tests.support.server import ROOT
from tests.support.sounds import RATE_HZ, SONG, Sound, noise, read_sound, tone, write_wav
from tests.support.tunes import tune
from training.analysis import FOLDER
from training.annotations import annotate
from training.songs import make_song

SEEDS = (0, 3, 7, 19)
MODEL = FOLDER / WEIGHTS
# Runs in a separate process, so that the peak is that of one job.
JOB = """
import os, sys
from pathlib import Path
from bench.measure import peak_bytes
from studio.analysis.analyse import analyse
from studio.analysis.model import AnalysisModel
from studio.analysis.options import AnalysisOptions
from studio.family import JobContext
from studio.inference.process import prepare_process
from studio.sources import Source

source, weights, work, seconds = sys.argv[1:]
prepare_process()
model = AnalysisModel.load(Path(weights))
analyse(model, Source(Path(source), float(seconds)), 2, JobContext(AnalysisOptions(), Path(work)))
print(peak_bytes(os.getpid()))
"""


def analysed(folder: Path, sound: Sound, **options: Any) -> dict[str, Any]:
    path = write_wav(folder / "song.wav", sound, subtype="FLOAT")
    source = Source(path, sound.shape[1] / RATE_HZ)
    context = JobContext(AnalysisOptions(**options), folder)
    analyse(AnalysisModel.load(MODEL), source, len(sound), context)
    found: dict[str, Any] = json.loads((folder / "analysis.json").read_text("utf-8"))
    return found


@pytest.mark.slow
def test_tempo_beats_key_and_chords_of_songs(tmp_path: Path) -> None:
    reached = []
    for seed in SEEDS:
        truth, sound = tune(seed)
        reached.append(scores(truth, analysed(tmp_path, sound)))
    means = {name: float(np.mean([one[name] for one in reached])) for name in GOALS}
    assert all(means[name] >= goal for name, goal in GOALS.items()), reached


def test_the_sample_song(tmp_path: Path) -> None:
    truth = annotate(make_song(2, held_out=True, duration_s=30.0))
    found = analysed(tmp_path, read_sound(SONG / "mixture.flac"))
    assert found["tempo_bpm"] == pytest.approx(truth.tempo_bpm, rel=0.005)
    assert (found["key"], found["beats_per_bar"]) == ("Eb major", 3)
    assert [chord["name"] for chord in found["chords"][:4]] == ["Eb", "Cm", "Ab", "Bb"]
    assert found["loudness_lufs"] == pytest.approx(-20.2, abs=0.1)
    assert abs(found["tuning_cents"]) < 2


def test_a_given_tempo_decides_between_half_and_double(tmp_path: Path) -> None:
    truth, sound = tune(0)
    found = analysed(tmp_path, sound, tempo_bpm=round(truth.tempo_bpm / 2), beats_per_bar=2)
    assert found["tempo_bpm"] == pytest.approx(truth.tempo_bpm / 2, rel=0.01)
    assert {beat["beat"] for beat in found["beats"]} == {1, 2}


@pytest.mark.parametrize("bpm", [42, 248])
def test_a_given_tempo_may_be_very_slow_or_fast(tmp_path: Path, bpm: int) -> None:
    """Beats, and off-beats of half their loudness."""
    sound = np.zeros((1, 30 * RATE_HZ), np.float32)
    starts = (np.arange(0.5, 29.5, 30 / bpm) * RATE_HZ).astype(int)
    for number, start in enumerate(starts):
        sound[:, start : start + 1000] = noise(1000 / RATE_HZ, 1) / (1 + number % 2)
    found = analysed(tmp_path, sound, tempo_bpm=bpm, chords=False)
    assert found["tempo_bpm"] == pytest.approx(bpm, rel=0.005)
    beats_s = np.array([beat["time_s"] for beat in found["beats"]])
    near = np.abs(beats_s[:, None] - starts / RATE_HZ).min(axis=1) < 0.03
    assert near.mean() > 0.95


@pytest.mark.parametrize("cents", [-30, 20])
def test_tuning(tmp_path: Path, cents: int) -> None:
    hz = 440 * 2 ** (cents / 1200)
    notes = [tone(4.0, hz * 2 ** (above / 12), RATE_HZ) for above in (0, 4, 7)]
    found = analysed(tmp_path, 0.2 * np.stack(notes).sum(axis=0, keepdims=True))
    assert found["tuning_cents"] == pytest.approx(cents, abs=3)
    assert {chord["name"] for chord in found["chords"]} == {"A"}


def test_nothing_is_invented_for_silence_and_noise(tmp_path: Path) -> None:
    silence = analysed(tmp_path, np.zeros((2, 10 * RATE_HZ), np.float32))
    assert (silence["tempo_bpm"], silence["key"], silence["loudness_lufs"]) == (None, None, None)
    rng = np.random.default_rng(5)
    hiss = analysed(tmp_path, rng.normal(0, 0.1, (2, 10 * RATE_HZ)).astype(np.float32))
    assert (hiss["tempo_bpm"], hiss["beats"], hiss["key"], hiss["chords"]) == (None, [], None, [])
    assert analysed(tmp_path, np.zeros((1, 50), np.float32))["beats"] == []


def write_long(path: Path, seconds: int) -> Path:
    """A song again and again, written piece by piece."""
    frames = (tune(SEEDS[0])[1].T[: 20 * RATE_HZ] * 32767).astype(np.int16)
    with soundfile.SoundFile(str(path), "w", RATE_HZ, 2, "PCM_16") as file:
        for _ in range(seconds // 20):
            file.write(frames)
    return path


@pytest.mark.slow
def test_memory_does_not_grow_with_the_song(tmp_path: Path) -> None:
    peaks = []
    for seconds in (180, 1800):
        path = write_long(tmp_path / f"{seconds}.wav", seconds)
        command = [sys.executable, "-c", JOB, str(path), str(MODEL), str(tmp_path), str(seconds)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
        path.unlink()
    assert peaks[1] <= 1.1 * peaks[0], peaks
