"""Wall time, CPU time and peak memory of separating one song, and of two songs at once."""

import math
import sys
import time
from pathlib import Path

import psutil

from bench import bound, material, measure
from bench.measure import Cost
from studio.separation.openvino.network import LAYERS
from tests.support.server import Server

MB = 1e6
ENGINES = {
    "`auto`": {},
    "f32": {"SEPARATION_PRECISION": "f32"},
    "PyTorch": {"SEPARATION_ENGINE": "torch"},
}
DEMUCS = "`python -m demucs.separate -n htdemucs`"


def against_demucs(folder: Path, weights: Path, minutes: float) -> list[str]:
    """The command line of demucs, and this server with each engine; each loads its model."""
    song = material.song(folder / "song.wav", minutes * 60)
    command = [sys.executable, "-m", "demucs.separate", "-n", "htdemucs", "-d", "cpu"]
    command += ["--repo", str(weights / "demucs"), "-o", str(folder / "theirs"), str(song)]
    theirs = measure.run(command, folder / "theirs.log")
    converted_s = convert(folder, weights)
    lines = [
        f"{minutes:g} minutes, full-size htdemucs, from the start of the upload to `completed`, on "
        "a freshly started server, so the times include loading the model. The graph had been "
        f"converted beforehand, in {converted_s:.0f} s. A ratio above 1 means that the server "
        "needs less.",
        "",
        "| | wall | CPU | peak memory | wall ratio | CPU ratio |",
        "|---|---|---|---|---|---|",
        _row(DEMUCS, theirs, theirs),
    ]
    for engine, settings in ENGINES.items():
        name = f"this server, {engine}"
        server = full_size_server(folder / engine.strip("`"), weights, **settings)
        try:
            with measure.Latency(f"{server.url}/health") as health:
                cost = job(server, song)
        finally:
            server.stop()
        if not settings:
            busy = health
        lines.append(_row(name, cost, theirs))
    return [
        *lines,
        "",
        _bound(weights, minutes, theirs),
        "",
        f"`GET /health` during the job with `auto`, {len(busy.milliseconds)} requests: median "
        f"{busy.p50_ms:.1f} ms, 99th percentile {busy.p99_ms:.1f} ms.",
    ]


def _bound(weights: Path, minutes: float, theirs: Cost) -> str:
    """The lower bound on the time of any engine that computes the same products."""
    layers = next(weights.rglob(f"{LAYERS}.xml"))
    stride_s = 0.75 * float(material.SEGMENT)
    segments = math.ceil(minutes * 60 / stride_s)
    each = bound.products(layers)
    texts = []
    for precision in ("f32", "bf16"):
        speed = bound.per_second(precision)
        least_s = segments * each / speed
        texts.append(
            f"at least {least_s:.1f} s in {precision}, at {speed / 1e9:,.0f} GFLOP/s, which limits "
            f"the speed-up to {theirs.wall_s / least_s:.2f}"
        )
    return (
        f"The matrix products of the network alone, {each / 1e9:.0f} GFLOP for each of {segments} "
        f"segments, take {', and '.join(texts)}. OpenVINO multiplies matrices of that size at "
        "these rates on this machine."
    )


def two_songs(folder: Path, weights: Path, minutes: float) -> list[str]:
    """Two songs at once (WORKERS=2) against one after the other (WORKERS=1)."""
    songs = [
        material.song(folder / f"pair{start}.wav", minutes * 60, start_s=start) for start in (1, 2)
    ]
    convert(folder, weights)
    seconds = {}
    for workers in (1, 2):
        server = full_size_server(folder / f"pair-{workers}", weights, WORKERS=workers)
        try:
            file_ids = [server.upload(song) for song in songs]
            began_s = time.monotonic()
            for file_id in file_ids:
                server.process(file_id).raise_for_status()
            for file_id in file_ids:
                completed(server.wait(file_id, timeout_s=6 * 3600))
            seconds[workers] = time.monotonic() - began_s
        finally:
            server.stop()
    return [
        f"Length of each song: {minutes:g} min. Full-size htdemucs.",
        "",
        "| in sequence | at once | ratio |",
        "|---|---|---|",
        f"| {seconds[1]:.1f} s | {seconds[2]:.1f} s | {seconds[2] / seconds[1]:.3f} |",
    ]


def job(server: Server, song: Path, model: str = "demucs") -> Cost:
    """The cost of one job, from the beginning of the upload to `completed`."""
    worker = psutil.Process(server.pid).children()[0].pid
    cpu_before_s = measure.cpu_s(worker)
    began_s = time.monotonic()
    file_id = server.upload(song)
    server.process(file_id, model).raise_for_status()
    completed(server.wait(file_id, timeout_s=6 * 3600))
    wall_s = time.monotonic() - began_s
    return Cost(wall_s, measure.cpu_s(worker) - cpu_before_s, measure.peak_bytes(worker))


def full_size_server(folder: Path, weights: Path, **settings: object) -> Server:
    folder.mkdir(parents=True, exist_ok=True)
    return Server(folder, MODEL_DIR=weights, DEMUCS_MODEL="htdemucs", **settings).start()


def convert(folder: Path, weights: Path) -> float:
    """Let a server make and keep the graph; seconds of its first job on three seconds of sound."""
    server = full_size_server(folder / f"convert-{time.monotonic_ns()}", weights)
    try:
        return job(server, material.song(folder / "three.wav", 3.0)).wall_s
    finally:
        server.stop()


def completed(status: dict[str, object]) -> None:
    """Raises SystemExit if a job has another status."""
    if status["status"] != "completed":
        raise SystemExit(f"the job {status['status']}: {status['error']}")


def _row(name: str, cost: Cost, theirs: Cost) -> str:
    return (
        f"| {name} | {cost.wall_s:.1f} s | {cost.cpu_s:.1f} s | {cost.peak_bytes / MB:,.0f} MB | "
        f"{theirs.wall_s / cost.wall_s:.2f} | {theirs.cpu_s / cost.cpu_s:.2f} |"
    )
