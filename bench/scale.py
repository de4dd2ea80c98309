"""`python -m bench.scale`: throughput and answers of many workers and web servers.

Jobs sleep, so that all else is measured: the queue, the database, and the results on a shared disk.
All processes share this machine.
"""

import argparse
import http.client
import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from uuid import uuid4

from sqlalchemy import Engine, text

from bench import measure, report
from bench.asking import steadily
from scripts.services.postgres import Postgres
from studio.inference.variants import BUNDLED
from studio.jobs.database import connect
from studio.jobs.job import Job, Request
from studio.jobs.scale.store import SharedJobStore
from tests.support.cluster import Cluster, Process
from tests.support.server import Server, until
from tests.support.sounds import noise, write_wav

PACKAGES = ["procrastinate", "psycopg", "sqlalchemy", "flask", "gunicorn"]
WORKERS = (1, 2, 4)
JOB_S, JOBS_PER_WORKER = 1.0, 12
QUEUED = 1000
POLLERS, POLLING_S = 200, 60.0
WAIT_ROUNDS = 5
MANY = 500
BUSY = " Other programs kept the machine busy: an idle one has better rates and latencies."
CANCELS = 10
# Each has fewer jobs than a file keeps.
FILES = 20
END_WITHIN_S = 300.0


@dataclass
class Studio:
    """Two web servers and workers; jobs are submitted as web servers do it."""

    cluster: Cluster
    engine: Engine
    store: SharedJobStore
    webs: list[Server]
    song: Path
    files: list[str]
    workers: list[Process]

    def connect(self, number: int) -> http.client.HTTPConnection:
        """A connection to one of the web servers from an address of its own, as of a client."""
        return http.client.HTTPConnection(
            "127.0.0.1",
            self.webs[number % len(self.webs)].port,
            source_address=(f"127.0.1.{number + 1}", 0),
            timeout=60,
        )

    def upload_again(self) -> None:
        """Files without jobs, as people have them: an answer lists all jobs of its file."""
        self.files = [self.webs[0].upload(self.song) for _ in range(FILES)]

    def submit(self, number: int, seconds: float, client: str | None = None) -> Job:
        file_id = self.files[number % FILES]
        options = {"seconds": seconds, "number": number}
        return self.store.submit(
            Request(file_id, "sleep", BUNDLED, options, uuid4().hex), client, None
        )

    def use_workers(self, number: int) -> None:
        while len(self.workers) > number:
            self.workers.pop().stop()
        while len(self.workers) < number:
            self.workers.append(self.cluster.start("worker"))

    def ended(self, jobs: list[Job]) -> list[Job]:
        """The jobs, once all have ended."""
        until(lambda: not self.store.active(), END_WITHIN_S)
        rows = [self.store.get(job.job_id) for job in jobs]
        return [row for row in rows if row is not None]

    def bytes_per_job(self) -> int:
        """What a row takes on the disk of PostgreSQL, with its indexes and its old versions."""
        with self.engine.connect() as connection:
            size = "SELECT pg_total_relation_size('jobs') / (SELECT count(*) FROM jobs)"
            return int(connection.execute(text(size)).scalar_one())

    def jobs_per_s(self, jobs: list[Job]) -> float:
        """From the begin of the first one to the end of the last one."""
        ended = self.ended(jobs)
        begins_s = [job.started_at or 0.0 for job in ended]
        ends_s = [job.finished_at or 0.0 for job in ended]
        return len(jobs) / (max(ends_s) - min(begins_s))


def linear(studio: Studio) -> list[str]:
    """Sleeping jobs on more and more workers, compared with the first row."""
    rows, alone = [], 0.0
    for workers in WORKERS:
        studio.use_workers(workers)
        jobs = [studio.submit(number, JOB_S) for number in range(workers * JOBS_PER_WORKER)]
        rate = studio.jobs_per_s(jobs)
        alone = alone or rate
        rows.append(
            f"| {len(jobs)} jobs of {JOB_S:.0f} s, workers: {workers} | ≥ 0.90 of linear | "
            f"{rate:.2f} jobs/s, {rate / alone / workers:.2f} of linear |"
        )
    return rows


def queue(studio: Studio) -> list[str]:
    """Jobs that do nothing, queued while two workers are stopped."""
    studio.use_workers(2)
    for worker in studio.workers:
        worker.send(SIGSTOP)
    began_s = time.monotonic()
    jobs = [studio.submit(number, 0.0) for number in range(QUEUED)]
    submitted_s = time.monotonic() - began_s
    for worker in studio.workers:
        worker.send(SIGCONT)
    rate = studio.jobs_per_s(jobs)
    return [
        f"| {QUEUED:,} queued jobs that do nothing, workers: 2 | ≥ 40 jobs/s | {rate:.0f} jobs/s; "
        f"submitted at {QUEUED / submitted_s:.0f} jobs/s; {studio.bytes_per_job():,} bytes per job "
        "in `jobs` |"
    ]


def fair_share(studio: Studio) -> list[str]:
    """How many jobs of one client begin before the single job of another one."""
    studio.use_workers(1)
    many = [studio.submit(number, 0.1, "ann") for number in range(MANY)]
    until(partial(_begun, studio, many[0]))
    single = studio.submit(MANY, 0.1, "bob")
    until(partial(_begun, studio, single))
    begun_s = _begun(studio, single)
    before = [job for job in many if single.created_at < _begun(studio, job) < begun_s]
    for file_id in studio.files:
        studio.store.cancel(file_id)
    studio.ended([])
    return [
        f"| a client's single job while another one has {MANY}, workers: 1 | delayed by at most 1 "
        f"job | {len(before)} of the other's jobs began before it |"
    ]


def _begun(studio: Studio, job: Job) -> float:
    """When a job began, in Unix seconds; 0 if it has not."""
    found = studio.store.get(job.job_id)
    return (found and found.started_at) or 0.0


def cancels(studio: Studio) -> list[str]:
    """From the request to cancel a running job until its worker begins the next one."""
    studio.use_workers(1)
    seconds = []
    for number in range(CANCELS):
        running = studio.submit(0, 600.0)
        until(partial(_begun, studio, running))
        following = studio.submit(1 + number % (FILES - 1), 0.0)
        asked_s = time.time()
        web = studio.webs[number % len(studio.webs)]
        web.post(f"/cancel/{studio.files[0]}").raise_for_status()
        [ended] = studio.ended([following])
        seconds.append((ended.started_at or 0.0) - asked_s)
    return [
        "| cancel a running job, until its worker begins the next one | ≤ 2 s | median "
        f"{statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s; {CANCELS} jobs |"
    ]


def wakes(studio: Studio) -> list[str]:
    """From the commit that ends a job until the answer to `?wait` has arrived."""
    studio.use_workers(0)
    studio.upload_again()
    milliseconds = []
    with ThreadPoolExecutor(FILES) as clients, measure.no_garbage_collection():
        for _ in range(WAIT_ROUNDS):
            for number in range(FILES):
                studio.submit(number, JOB_S)
            answers = [
                clients.submit(_answered_s, studio.connect(number), file_id)
                for number, file_id in enumerate(studio.files)
            ]
            # All of them wait by then.
            time.sleep(2.0)
            ended_s = []
            for file_id in studio.files:
                studio.store.cancel(file_id)
                ended_s.append(time.monotonic())
                time.sleep(0.05)
            for at_s, answer in zip(ended_s, answers, strict=True):
                milliseconds.append((answer.result() - at_s) * 1000)
    p99_ms = statistics.quantiles(milliseconds, n=100)[98]
    return [
        f"| `?wait` on two web servers, after the commit that ends the job | p99 ≤ 100 ms | p50 "
        f"{statistics.median(milliseconds):.1f} ms, p99 {p99_ms:.1f} ms; {len(milliseconds)} "
        "requests |"
    ]


def _answered_s(caller: http.client.HTTPConnection, file_id: str) -> float:
    """When the job of a file had ended, as a client that waits for it sees it."""
    caller.request("GET", f"/status/{file_id}?wait=30")
    status = json.loads(caller.getresponse().read())["status"]
    answered_s = time.monotonic()
    caller.close()
    assert status == "canceled", status
    return answered_s


def polling(studio: Studio) -> list[str]:
    """Many clients poll the status of a running job from two web servers."""
    studio.use_workers(1)
    studio.upload_again()
    studio.submit(0, POLLING_S + 30)
    path = f"/status/{studio.files[0]}"
    responses = steadily(studio.connect, path, POLLERS, float(POLLERS), POLLING_S)
    studio.store.cancel(studio.files[0])
    name = f"{POLLERS} clients polling `/status` of two web servers every second, {POLLING_S:.0f} s"
    return [responses.row(name, "no errors, p99 ≤ 100 ms")]


PARTS = {part.__name__: part for part in (linear, queue, fair_share, cancels, wakes, polling)}


def start(folder: Path, started: ExitStack) -> Studio:
    postgres = Postgres()
    started.callback(postgres.remove)
    postgres.start()
    cluster = Cluster(
        folder,
        postgres,
        folder / "weights",
        module="bench.sleeping",
        DEMUCS_MODEL="mini",
        MAX_QUEUED_JOBS=10_000,
    )
    started.callback(cluster.stop)
    webs = [cluster.web(), cluster.web()]
    engine = connect(postgres.url)
    store = SharedJobStore(engine, max_queued=10_000)
    started.callback(store.close)
    song = write_wav(folder / "song.wav", noise(1.0))
    studio = Studio(cluster, engine, store, webs, song, [], [])
    studio.upload_again()
    return studio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to measure (default: all)")
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write needs all parts")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as started:
        studio = start(Path(name), started)
        lines = [
            f"Machine: {measure.machine(PACKAGES)}. Load average before: {load:.1f}.",
            "",
            "PostgreSQL, two web servers, workers and clients shared the machine. Jobs sleep."
            f"{BUSY if load > 1 else ''}",
            "",
            "| | goal | measured |",
            "|---|---|---|",
        ]
        print("\n".join(lines), flush=True)
        for part in options.only or PARTS:
            rows = PARTS[part](studio)
            print("\n".join(rows), flush=True)
            lines += rows
    if options.write:
        report.write("scale", "Many machines", lines)


if __name__ == "__main__":
    main()
