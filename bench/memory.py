"""Peak memory of the server: on a short and on a long file, and with each engine."""

from pathlib import Path

from bench import material
from bench.speed import ENGINES, MB, convert, full_size_server, job
from tests.support.server import Server


def short_and_long(folder: Path, short: float, long: float) -> list[str]:
    """Fresh servers with the bundled model; lengths in minutes."""
    peaks = []
    for minutes in (short, long):
        song = material.song(folder / f"{minutes:g}.mp3", minutes * 60)
        home = folder / f"memory-{minutes:g}"
        home.mkdir()
        server = Server(home, DEMUCS_MODEL="mini", MODEL_DIR=folder / "memory").start()
        try:
            # The first job converts the graph, which takes memory of its own.
            job(server, material.song(folder / "three.wav", 3.0))
        finally:
            server.stop()
        server.start()
        try:
            peaks.append(job(server, song).peak_bytes)
        finally:
            server.stop()
    return [
        f"| {short:g} minutes | {long:g} minutes | ratio |",
        "|---|---|---|",
        f"| {peaks[0] / MB:,.0f} MB | {peaks[1] / MB:,.0f} MB | {peaks[1] / peaks[0]:.3f} |",
    ]


def by_engine(folder: Path, weights: Path, minutes: float) -> list[str]:
    """Fresh servers with the full-size htdemucs, which is already converted."""
    song = material.song(folder / "engines.wav", minutes * 60)
    convert(folder, weights)
    lines = [f"Length of the song: {minutes:g} min.", "", "| engine | peak memory |", "|---|---|"]
    for engine, settings in ENGINES.items():
        server = full_size_server(folder / f"peak-{engine.strip('`')}", weights, **settings)
        try:
            lines.append(f"| {engine} | {job(server, song).peak_bytes / MB:,.0f} MB |")
        finally:
            server.stop()
    return lines
