"""`make bench`: this server's separation against `python -m demucs.separate`, in one run.

Both run the same full-size htdemucs (random weights: speed and memory do not depend on them) on
the same song. The server is started afresh, so that both load their model in the measured time. A
second table compares the server's peak memory on a short and on a long file.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench import material, measure
from bench.measure import Cost
from tests.support import Server

REPORT = material.ROOT / "docs" / "benchmarks.md"
MB = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the song")
    parser.add_argument("--short-minutes", type=float, default=3.0, help="short file for memory")
    parser.add_argument("--long-minutes", type=float, default=60.0, help="long file for memory")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        weights = material.full_size_weights(folder / "weights")
        lines = [
            f"Machine: {measure.machine(['torch', 'demucs'])}.",
            "",
            *speed(folder, weights, options.minutes),
            "",
            *memory(folder, weights, options.short_minutes, options.long_minutes),
        ]
    print("\n".join(lines))
    if options.write:
        REPORT.write_text(
            "# Benchmarks\n\nMade by `.venv/bin/python -m bench.separation --write` "
            "(`make bench` prints the same).\n\n" + "\n".join(lines) + "\n"
        )


def speed(folder: Path, weights: Path, minutes: float) -> list[str]:
    """Wall time, CPU time and peak memory of both programs on one song."""
    song = material.song(folder / "song.wav", minutes * 60)
    again = material.song(folder / "again.wav", minutes * 60, start_s=1.0)
    command = [sys.executable, "-m", "demucs.separate", "-n", "htdemucs", "-d", "cpu"]
    command += ["--repo", str(weights / "demucs"), "-o", str(folder / "theirs"), str(song)]
    theirs = measure.run(command, folder / "theirs.log")
    server = Server(folder / "ours", MODEL_DIR=weights, DEMUCS_MODEL="htdemucs").start()
    try:
        with measure.Latency(f"{server.url}/health") as health:
            cold = job(server, song)
        warm = job(server, again)
    finally:
        server.stop()
    rows = [("`python -m demucs.separate -n htdemucs`", theirs), ("this server, first job", cold)]
    return [
        f"One song of {minutes:g} minutes, full-size htdemucs, model loaded in both:",
        "",
        "| | wall | CPU | peak memory |",
        "|---|---|---|---|",
        *(
            f"| {name} | {c.wall_s:.1f} s | {c.cpu_s:.1f} s | {c.peak_bytes / MB:,.0f} MB |"
            for name, c in rows
        ),
        f"| ratio (above 1: the server needs less) | {theirs.wall_s / cold.wall_s:.2f} | "
        f"{theirs.cpu_s / cold.cpu_s:.2f} | {theirs.peak_bytes / cold.peak_bytes:.2f} |",
        f"| this server, second job, model already there | {warm.wall_s:.1f} s | "
        f"{warm.cpu_s:.1f} s | {warm.peak_bytes / MB:,.0f} MB |",
        "",
        f"`GET /health` during the first job, {len(health.milliseconds)} requests: median "
        f"{health.p50_ms:.1f} ms, 99th percentile {health.p99_ms:.1f} ms.",
    ]


def memory(folder: Path, weights: Path, short: float, long: float) -> list[str]:
    """Peak memory of fresh servers on a short and a long file, with the bundled model."""
    peaks = []
    for minutes in (short, long):
        song = material.song(folder / f"{minutes:g}.mp3", minutes * 60)
        server = Server(folder / f"memory-{minutes:g}", MODEL_DIR=weights, DEMUCS_MODEL="mini")
        server.start()
        try:
            peaks.append(job(server, song).peak_bytes)
        finally:
            server.stop()
    return [
        "Peak memory of a fresh server, bundled model `mini`:",
        "",
        f"| {short:g} minutes | {long:g} minutes | ratio |",
        "|---|---|---|",
        f"| {peaks[0] / MB:,.0f} MB | {peaks[1] / MB:,.0f} MB | {peaks[1] / peaks[0]:.3f} |",
    ]


def job(server: Server, song: Path) -> Cost:
    """The cost of one job, from the beginning of the upload to `completed`."""
    worker = psutil.Process(server.pid).children()[0].pid
    cpu_before_s = measure.cpu_s(worker)
    began_s = time.monotonic()
    file_id = server.upload(song)
    server.process(file_id).raise_for_status()
    status = server.wait(file_id, timeout_s=6 * 3600)
    wall_s = time.monotonic() - began_s
    if status["status"] != "completed":
        raise SystemExit(f"the job {status['status']}: {status['error']}")
    return Cost(wall_s, measure.cpu_s(worker) - cpu_before_s, measure.peak_bytes(worker))


if __name__ == "__main__":
    main()
