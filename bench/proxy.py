"""`python -m bench.proxy`: answers, transfers and restarts of the deployed server.

production.py runs behind a real nginx over TLS, as on a server of one's own. While the job thread
separates a long song and four people speak, `/health` and `/status` are asked at a steady rate and
polled by many; then a large file is uploaded, and the server started anew.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile

from bench import material, measure, report
from bench.asking import steadily
from bench.speaker import speakers
from scripts.services import nginx
from tests.support.proxy import Proxy, make_certificate
from tests.support.server import LAUNCHER, Server
from tests.support.sounds import RATE_HZ

PACKAGES = ["flask", "flask-socketio", "gunicorn"]
MB = 1e6
SPEAKERS = 4
ASKERS = 10
REQUESTS_S = 50.0
UPLOAD_BYTES = 500_000_000
UPLOADS = 3
# Of the same song with other options: enough work for the whole time.
MAX_JOBS = 16
SECRET = "only-for-this-benchmark-0123456789"


@dataclass(frozen=True)
class Deployed:
    """The server, nginx before it, and a song whose job keeps the worker busy."""

    server: Server
    proxy: Proxy
    folder: Path

    def connect(self, number: int) -> http.client.HTTPSConnection:
        """A connection from an address of its own: the rate limit counts each alone."""
        return http.client.HTTPSConnection(
            "127.0.0.1",
            self.proxy.port,
            context=ssl.create_default_context(cafile=str(self.proxy.certificate)),
            source_address=(f"127.0.1.{number + 1}", 0),
            timeout=30,
        )

    def processes(self) -> list[int]:
        served = [child.pid for child in psutil.Process(self.server.pid).children()]
        return [*served, *self.proxy.workers()]


def deploy(folder: Path) -> Deployed:
    server = Server(
        folder,
        SECRET_KEY=SECRET,
        DEMUCS_MODEL="mini",
        WHISPER_MODEL="mini",
        TRUSTED_PROXIES=1,
        RATE_LIMIT="",
    )
    server.start(command=LAUNCHER)
    assert server.until_loaded().json()["ready"]
    certificate = make_certificate(folder / "certificate")
    proxy = Proxy(folder / "nginx", certificate, f"127.0.0.1:{server.port}").start()
    return Deployed(server, proxy, folder)


def speak(url: str, number: int) -> None:
    """Say the bundled recording again and again, until the process is ended."""
    while True:
        speakers(SPEAKERS, 2)[number].speak(url)


@contextmanager
def busy(deployed: Deployed) -> Iterator[str]:
    """A long song is separated and SPEAKERS people speak meanwhile; the song's id."""
    server = deployed.server
    file_id = server.upload(material.song(deployed.folder / "long.flac", 900))
    for number in range(MAX_JOBS):
        server.process(file_id, overlap=round(0.1 + number / 100, 2))
    spawn = multiprocessing.get_context("spawn")
    speaking = [
        spawn.Process(target=speak, args=(server.url, number), daemon=True)
        for number in range(SPEAKERS)
    ]
    for process in speaking:
        process.start()
    try:
        while not jobs(server, file_id, "processing"):
            time.sleep(0.2)
        yield file_id
        assert jobs(server, file_id, "queued"), "the jobs ended too early"
    finally:
        for process in speaking:
            process.terminate()
            process.join()
        server.delete(f"/cleanup/{file_id}")


def jobs(server: Server, file_id: str, state: str) -> list[Any]:
    """The jobs of a file that are in a state."""
    found = server.get(f"/status/{file_id}").json()["jobs"]
    return [job for job in found if job["status"] == state]


def answers(deployed: Deployed, seconds: float, polling_s: float) -> list[str]:
    with busy(deployed) as file_id:
        status = f"/status/{file_id}"
        rows = [
            steadily(deployed.connect, path, ASKERS, REQUESTS_S, seconds).row(
                f"`GET {name}`, {REQUESTS_S:.0f} requests/s", target
            )
            for path, name, target in (
                ("/health", "/health", "p99 ≤ 50 ms"),
                (status, "/status", "p99 ≤ 80 ms"),
            )
        ]
        polled = steadily(deployed.connect, status, 100, 100.0, polling_s)
        name = f"100 clients polling `/status` every second for {polling_s:.0f} s"
        rows.append(polled.row(name, "no errors"))
    return rows


def upload(deployed: Deployed) -> str:
    """curl sends a file of 500 MB that lies in the page cache; the median of UPLOADS times."""
    path = deployed.folder / "long.wav"
    with soundfile.SoundFile(str(path), "w", RATE_HZ, 2, "PCM_16") as file:
        block = np.zeros((RATE_HZ, 2), np.int16)
        for _ in range((UPLOAD_BYTES - 44) // block.nbytes):
            file.write(block)
    before = {pid: measure.forget_peak(pid) for pid in deployed.processes()}
    command = ["curl", "-sS", "--cacert", str(deployed.proxy.certificate), "-F", f"file=@{path}"]
    command += ["-w", "\n%{time_total}", f"{deployed.proxy.url}/upload"]
    times_s = []
    for _ in range(UPLOADS):
        # What was written before is not to be brought to the disk during the measurement.
        os.sync()
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        body, _, total_s = told.rpartition("\n")
        times_s.append(float(total_s))
        deployed.server.delete(f"/cleanup/{json.loads(body)['file_id']}")
    grown = sum(measure.peak_bytes(pid) - resident for pid, resident in before.items())
    path.unlink()
    middle_s = statistics.median(times_s)
    return (
        f"| upload of {UPLOAD_BYTES / MB:.0f} MB | ≥ 200 MB/s, memory growth < 100 MB | "
        f"{UPLOAD_BYTES / MB / middle_s:.0f} MB/s, response after {middle_s:.1f} s, "
        f"memory growth {grown / MB:.0f} MB |"
    )


def restart(deployed: Deployed) -> str:
    began_s = time.monotonic()
    deployed.server.stop()
    stopped_s = time.monotonic()
    deployed.server.start(command=LAUNCHER)
    started_s = time.monotonic()
    deployed.server.until_loaded()
    return (
        f"| restart, until the first response | < 3 s | {started_s - stopped_s:.1f} s (shutdown "
        f"before: {stopped_s - began_s:.1f} s; models loaded after: "
        f"{time.monotonic() - started_s:.1f} s) |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each steady asking")
    parser.add_argument("--polling", type=float, default=60.0, help="seconds of polling")
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    options = parser.parse_args()
    if nginx.BINARY is None:
        raise SystemExit("nginx is not installed.")
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as cleanup:
        deployed = deploy(Path(name))
        cleanup.callback(deployed.server.stop)
        cleanup.callback(deployed.proxy.stop)
        lines = [
            f"Machine: {measure.machine(PACKAGES)}.",
            "",
            "The first three rows were measured during a separation and four live sessions.",
            "",
            "| | goal | measured |",
            "|---|---|---|",
            *answers(deployed, options.seconds, options.polling),
            upload(deployed),
            restart(deployed),
        ]
    print("\n".join(lines), flush=True)
    if options.write:
        report.write("proxy", "Behind nginx", lines)


if __name__ == "__main__":
    main()
