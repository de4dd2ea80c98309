"""`python -m bench.analysis`: the analysis of songs whose tempo, beats, key and chords are known.

The songs are those of the held-out split of `training/`: `python -m training.render --count 30
--held-out`. No song of this split was used to train or to adjust anything.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile

from bench import material, measure, report
from bench.speed import MB, job
from studio.analysis.analyse import analyse
from studio.analysis.catalogue import WEIGHTS
from studio.analysis.model import AnalysisModel
from studio.analysis.options import AnalysisOptions
from studio.family import JobContext
from studio.sources import Source
from tests.support.server import Server
from training.analysis import FOLDER, rendered
from training.annotations import Annotation
from training.mix import RATE_HZ

SONGS = 30
TEMPO_TOLERANCE = 0.02
GOALS = {"tempo": 0.95, "beats": 0.9, "key": 0.8, "chords": 0.75}
NAMES = {
    "tempo": "tempo within 2 %, or half or double of it",
    "same_tempo": "tempo within 2 %",
    "beats": "beats, F-measure at 70 ms",
    "downbeats": "downbeats, F-measure at 70 ms",
    "beats_per_bar": "beats per bar",
    "key": "key",
    "chords": "chords, overlap (major, minor)",
}
SHORT_MINUTES, LONG_MINUTES = 3.0, 60.0


def scores(truth: Annotation, found: dict[str, Any]) -> dict[str, float]:
    """How well an `analysis.json` agrees with the truth, each 0 to 1."""
    import mir_eval

    tempo = found["tempo_bpm"] or 0.0
    beats = np.array([beat["time_s"] for beat in found["beats"]])
    downbeats = np.array([beat["time_s"] for beat in found["beats"] if beat["beat"] == 1])
    intervals = np.array([chord[:2] for chord in truth.chords])
    labels = [chord[2] for chord in truth.chords]
    heard = np.array([(one["start_s"], one["end_s"]) for one in found["chords"]])
    names = [harte(one["name"]) for one in found["chords"]]
    return {
        "tempo": float(any(near(tempo, truth.tempo_bpm * factor) for factor in (1, 2, 0.5))),
        "same_tempo": float(near(tempo, truth.tempo_bpm)),
        "beats": mir_eval.beat.f_measure(np.array(truth.beats_s), beats),
        "downbeats": mir_eval.beat.f_measure(np.array(truth.downbeats_s), downbeats),
        "beats_per_bar": float(found["beats_per_bar"] == truth.beats_s.index(truth.downbeats_s[1])),
        "key": float(mir_eval.key.weighted_score(truth.key, found["key"]) == 1),
        "chords": mir_eval.chord.evaluate(intervals, labels, heard, names)["majmin"],
    }


def near(tempo: float, other: float) -> bool:
    return abs(tempo - other) <= TEMPO_TOLERANCE * other


def harte(name: str) -> str:
    """A chord in the syntax of Harte et al.: F#:min."""
    if name == "N":
        return name
    return f"{name[:-1]}:min" if name.endswith("m") else f"{name}:maj"


def analysed(model: AnalysisModel, mixture: Any, folder: Path) -> dict[str, Any]:
    """The `analysis.json` of a song float32 (2, samples) at RATE_HZ."""
    path = folder / "song.wav"
    soundfile.write(path, mixture.T, RATE_HZ, "FLOAT")
    source = Source(path, mixture.shape[1] / RATE_HZ)
    analyse(model, source, 2, JobContext(AnalysisOptions(), folder))
    found: dict[str, Any] = json.loads((folder / "analysis.json").read_text("utf-8"))
    return found


def accuracy(folder: Path, held_out: bool = True, songs: int = SONGS) -> list[str]:
    model = AnalysisModel.load(FOLDER / WEIGHTS)
    began_s = time.process_time()
    reached, seconds = [], 0.0
    for truth, mixture in rendered(held_out, songs):
        reached.append(scores(truth, analysed(model, mixture, folder)))
        seconds += mixture.shape[1] / RATE_HZ
    cpu_s = time.process_time() - began_s
    rows = [
        f"| {text} | {np.mean([one[name] for one in reached]):.1%} | {_goal(name)} |"
        for name, text in NAMES.items()
    ]
    return [
        f"## {songs} held-out rendered songs of {seconds / songs:.0f} s",
        "",
        "| | mean | goal |",
        "|---|---:|---:|",
        *rows,
        "",
        f"CPU time without ffmpeg: {cpu_s / seconds * 60:.2f} s for each minute of music.",
        "",
    ]


def _goal(name: str) -> str:
    return f"{GOALS[name]:.0%}" if name in GOALS else ""


def memory(folder: Path) -> list[str]:
    """Peak memory of the server while it analyses a short and a long song."""
    peaks = []
    for minutes in (SHORT_MINUTES, LONG_MINUTES):
        song = material.song(folder / f"{minutes:g}.mp3", minutes * 60)
        home = folder / f"memory-{minutes:g}"
        home.mkdir()
        server = Server(home, DEMUCS_MODEL="mini").start()
        try:
            peaks.append(job(server, song, "analysis").peak_bytes)
        finally:
            server.stop()
    return [
        "## Peak memory of the server",
        "",
        f"| {SHORT_MINUTES:g} minutes | {LONG_MINUTES:g} minutes | ratio (goal: at most 1.1) |",
        "|---:|---:|---:|",
        f"| {peaks[0] / MB:,.0f} MB | {peaks[1] / MB:,.0f} MB | {peaks[1] / peaks[0]:.3f} |",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    parser.add_argument("--training", action="store_true", help="measure songs for training")
    given = parser.parse_args(arguments)
    with TemporaryDirectory() as name:
        lines = accuracy(Path(name), held_out=not given.training)
        if not given.training:
            lines += memory(Path(name))
    print(*lines, sep="\n")
    if given.write:
        machine = f"Machine: {measure.machine(['numpy', 'scipy'])}."
        report.write("analysis", "Song analysis", [machine, "", *lines])


if __name__ == "__main__":
    main()
