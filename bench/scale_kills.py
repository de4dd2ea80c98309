"""`python -m bench.scale_kills`: what many machines lose when their processes are killed.

Sleeping jobs run on web servers, workers, keepers, PostgreSQL and an object store, which are killed
at random moments of upload, job, publishing, download and webhook. Nothing may be lost or doubled.
"""

import argparse
import json
import random
import signal
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from threading import Semaphore, Thread
from typing import Any

import requests
from sqlalchemy import select
from sqlalchemy.orm import Session

from bench import report
from bench.sleeping import SAMPLES, TRACKS
from scripts.services.object_store import KINDS, ObjectStore
from scripts.services.postgres import Postgres
from studio.jobs.database import connect
from studio.jobs.housekeeping import HOUR_S, Housekeeper
from studio.jobs.job import State, result_name
from studio.jobs.outbox import Outbox
from studio.jobs.scale.changes import Changes
from studio.jobs.scale.jobs import SharedJobs
from studio.jobs.scale.store import SharedJobStore
from studio.jobs.tables import JobRow, MessageRow
from studio.jobs.uploads import UploadTable
from studio.storage.bucket_owner import OWNER
from studio.storage.folders import Folders
from studio.storage.object_storage import ObjectSettings, ObjectStorage
from studio.storage.space import DiskSpace
from tests.support.cluster import Cluster
from tests.support.object_store import object_store
from tests.support.receiver import SECRET, Receiver
from tests.support.server import Server
from tests.support.sounds import noise, write_wav

WORKERS, KEEPERS, WEBS = 3, 2, 2
# Each of the services is killed once in so many kills; the others are workers'.
SERVICES, SERVICE_EVERY = ("web", "keeper", "postgres", "store"), 12
JOBS_PER_UPLOAD = 4
LONGEST_JOB_S = 4.0
PAUSE_S = (0.2, 2.0)
ANSWER_WITHIN_S = 300.0
END_WITHIN_S = 600.0
RETRY_S = 0.5
PREFIX = "files"


@dataclass
class Outcome:
    """What happened; `problems` has a sentence for everything that was lost or doubled."""

    kills: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    jobs: int = 0
    repeated: int = 0
    deliveries: int = 0
    swept: int = 0
    seconds: float = 0.0

    def lines(self) -> list[str]:
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        retries = ", ".join(f"{name} {count}" for name, count in sorted(self.retries.items()))
        return [
            f"{self.jobs} jobs in {self.seconds:.0f} s; {self.kills.total()} kills: {kills}.",
            "",
            f"{self.repeated} jobs ran more than once, {self.deliveries} webhooks arrived, the "
            f"sweep deleted {self.swept} objects, and clients repeated requests after: "
            f"{retries or 'nothing'}.",
            "",
            *(self.problems or ["Nothing was lost, doubled or left behind."]),
        ]


class Clients:
    """Upload, start jobs, wait for them and download, as often as it takes."""

    def __init__(self, webs: list[Server], outcome: Outcome) -> None:
        self._webs = webs
        self._outcome = outcome
        # One for each job that may be started.
        self.tickets = Semaphore(0)
        self.started: dict[str, str] = {}

    def ask(self, method: str, path: str, **content: Any) -> requests.Response:
        """The answer of one of the servers to a request that is repeated after a failure."""
        ends_s = time.monotonic() + ANSWER_WITHIN_S
        while True:
            web = random.choice(self._webs)
            try:
                answer = requests.request(method, web.url + path, timeout=60, **content)
                cause = f"status {answer.status_code}"
                if answer.status_code != 503:
                    return answer
            except (requests.ConnectionError, requests.Timeout) as error:
                cause = type(error).__name__
            except requests.exceptions.ChunkedEncodingError:
                cause = "an answer that broke off"
            self._outcome.retries[cause] += 1
            if time.monotonic() > ends_s:
                raise AssertionError(f"{method} {path} was not answered: {cause}")
            time.sleep(RETRY_S)

    def start_jobs(self, sound: bytes, jobs: int, moments: random.Random) -> None:
        file_id = ""
        for number in range(jobs):
            self.tickets.acquire()
            if number % JOBS_PER_UPLOAD == 0:
                answer = self.ask("POST", "/upload", files={"file": ("song.wav", sound)})
                file_id = self._checked(answer, "file_id")
            options = {"seconds": moments.uniform(0.0, LONGEST_JOB_S), "number": number}
            answer = self.ask("POST", f"/process/sleep/{file_id}", json=options)
            self.started[self._checked(answer, "job_id")] = file_id

    def _checked(self, answer: requests.Response, name: str) -> str:
        if not answer.ok:
            raise AssertionError(f"{answer.url}: {answer.status_code}, {answer.text}")
        return str(answer.json()[name])

    def wait_and_download(self) -> None:
        """Until all jobs have ended, and the tracks of the completed ones have been fetched."""
        ends_s = time.monotonic() + END_WITHIN_S
        left = dict(self.started)
        while left and time.monotonic() < ends_s:
            for job_id, file_id in list(left.items()):
                status = self.ask("GET", f"/status/{file_id}").json()
                [job] = [one for one in status["jobs"] if one["job_id"] == job_id]
                if job["status"] not in ("queued", "processing"):
                    del left[job_id]
                    self._check(job_id, file_id, job)
            time.sleep(RETRY_S)
        self._outcome.problems += [f"The job {job_id} did not end." for job_id in left]

    def _check(self, job_id: str, file_id: str, job: dict[str, Any]) -> None:
        if job["status"] != "completed":
            self._outcome.problems.append(f"The job {job_id} is {job['status']}: {job['error']}")
            return
        for track in TRACKS:
            answer = self.ask("GET", f"/download/{file_id}/{track}")
            # 32-bit samples, and the head of the file.
            if answer.status_code != 200 or len(answer.content) < 4 * SAMPLES:
                self._outcome.problems.append(
                    f"{track} of job {job_id}: {answer.status_code}, {len(answer.content)} bytes"
                )


class Machines:
    """All processes, of which some are killed and replaced."""

    def __init__(self, cluster: Cluster, store: ObjectStore, outcome: Outcome) -> None:
        self._cluster = cluster
        self._store = store
        self._outcome = outcome
        self.webs = [cluster.web() for _ in range(WEBS)]
        self._processes = {
            "keeper": [cluster.start("keeper") for _ in range(KEEPERS)],
            "worker": [cluster.start("worker") for _ in range(WORKERS)],
        }

    def kill(self, victim: str, moments: random.Random) -> None:
        """Kill one, at once or, a worker, in an orderly way; then start another one."""
        match victim:
            case "web":
                web = moments.choice(self.webs)
                web.kill()
                web.start(application=self._cluster.application)
            case "postgres":
                self._cluster.postgres.kill()
                time.sleep(moments.uniform(*PAUSE_S))
                self._cluster.postgres.start()
            case "store":
                kind = moments.choice(KINDS)
                victim = f"{kind} server of the store"
                self._store.kill(kind)
                time.sleep(moments.uniform(*PAUSE_S))
                self._store.start(kind)
            case _:
                processes = self._processes[victim]
                process = processes.pop(moments.randrange(len(processes)))
                if victim == "worker" and moments.random() < 0.3:
                    victim = "worker (SIGTERM)"
                    process.send(signal.SIGTERM)
                else:
                    process.kill()
                processes.append(self._cluster.start(process.role))
        self._outcome.kills[victim] += 1
        print(f"killed: {victim}", flush=True)

    def stop_background(self) -> None:
        for processes in self._processes.values():
            for process in processes:
                process.stop()


class Ledger:
    """Compares what clients were told with the database, the object store and the webhooks."""

    def __init__(self, postgres: Postgres, store: ObjectStore, outcome: Outcome) -> None:
        self._engine = connect(postgres.url)
        self._bucket = store.bucket(PREFIX)
        self._outcome = outcome

    def close(self) -> None:
        self._engine.dispose()

    def wait_for_webhooks(self) -> None:
        ends_s = time.monotonic() + END_WITHIN_S
        with Session(self._engine) as session:
            while session.scalar(select(MessageRow.message_id).limit(1)) is not None:
                session.rollback()
                if time.monotonic() > ends_s:
                    self._problem("There are still unsent webhooks.")
                    return
                time.sleep(RETRY_S)

    def check(self, started: dict[str, str], delivered: dict[str, Counter[str]]) -> None:
        """Every job that was accepted has one result, which is whole, and one webhook."""
        jobs = self._jobs()
        if len(started) != self._outcome.jobs:
            self._problem(f"Only {len(started)} of {self._outcome.jobs} jobs were started.")
        for job_id in started.keys() - jobs.keys():
            self._problem(f"The job {job_id} is unknown.")
        made = Counter(row.fingerprint for row in jobs.values() if not row.shares)
        for fingerprint, count in made.items():
            if count > 1:
                self._problem(f"{count} jobs did the same work ({fingerprint}).")
        for row in jobs.values():
            self._check_result(row)
            messages = delivered.get(row.job_id, Counter())
            if len(messages) != 1:
                self._problem(f"Webhooks of job {row.job_id} had {len(messages)} IDs.")
        self._outcome.repeated = sum(row.attempt > 1 for row in jobs.values())
        self._outcome.deliveries = sum(one.total() for one in delivered.values())

    def _check_result(self, row: JobRow) -> None:
        if row.state != State.COMPLETED or row.shares:
            return
        prefix = f"results/{row.file_id}/{result_name(row.job_id, row.attempt)}/"
        sizes = {
            key.removeprefix(prefix): info.size_bytes
            for key, info in self._bucket.infos(prefix).items()
        }
        whole = [sizes.get(f"{track}.wav", 0) >= 4 * SAMPLES for track in TRACKS]
        if not all(whole):
            self._problem(f"The result of job {row.job_id} is incomplete: {sizes}")

    def sweep(self, folder: Path) -> None:
        """Delete what was left behind, as a keeper does hours later; the rest has a row."""
        storage = ObjectStorage(
            self._bucket,
            UploadTable(self._engine),
            Folders(folder / "uploads", folder / "outputs"),
            DiskSpace(folder / "uploads", folder / "outputs"),
            settings=ObjectSettings(0, False),
            is_shared=(store := SharedJobStore(self._engine)).is_shared,
        )
        storage.open()
        jobs = SharedJobs(store, Changes(store.url), lambda _: None)
        before = self._objects()
        Housekeeper(
            storage, store, jobs, Outbox(self._engine), 0, clock=lambda: time.time() + 2 * HOUR_S
        ).sweep()
        storage.close()
        after = self._objects()
        self._outcome.swept = len(before - after)
        known = {f"uploads/{file_id}" for file_id in UploadTable(self._engine).file_ids()}
        for row in self._jobs().values():
            known.add(f"results/{row.file_id}/{result_name(row.job_id, row.attempt)}")
            self._check_result(row)
        for key in after:
            if key.rpartition("/")[0] not in known:
                self._problem(f"The object {key} belongs to nothing.")

    def _objects(self) -> set[str]:
        return set(self._bucket.infos("")) - {OWNER}

    def _jobs(self) -> dict[str, JobRow]:
        with Session(self._engine) as session:
            return {row.job_id: row for row in session.scalars(select(JobRow))}

    def _problem(self, sentence: str) -> None:
        self._outcome.problems.append(sentence)


def received(receiver: Receiver) -> dict[str, Counter[str]]:
    """How often each message arrived, by job and by the ID of the message."""
    delivered: dict[str, Counter[str]] = defaultdict(Counter)
    while True:
        try:
            delivery = receiver.got.get_nowait()
        except Empty:
            return delivered
        job_id = json.loads(delivery.body)["data"]["job_id"]
        delivered[job_id][delivery.headers["webhook-id"]] += 1


@contextmanager
def _shared(folder: Path) -> Iterator[tuple[Postgres, ObjectStore, Receiver]]:
    """What all machines share, and the receiver of their webhooks."""
    with ExitStack() as started:
        store = started.enter_context(object_store(folder / "store"))
        postgres = Postgres()
        started.callback(postgres.remove)
        yield postgres.start(), store, started.enter_context(Receiver())


def victims(kills: int, moments: random.Random) -> list[str]:
    """Who is killed, in a random order."""
    services = list(SERVICES) * max(1, kills // SERVICE_EVERY)
    chosen = [*services, *["worker"] * (kills - len(services))][:kills]
    moments.shuffle(chosen)
    return chosen


def run(folder: Path, jobs: int, kills: int, seed: int) -> Outcome:
    """Run the series with all processes in folders of their own."""
    outcome, moments, began_s = Outcome(jobs=jobs), random.Random(seed), time.monotonic()
    sound = write_wav(folder / "song.wav", noise(1.0)).read_bytes()
    with _shared(folder) as (postgres, store, receiver):
        cluster = Cluster(
            folder,
            postgres,
            folder / "weights",
            store.settings(PREFIX),
            module="bench.sleeping",
            DEMUCS_MODEL="mini",
            MAX_QUEUED_JOBS=1000,
            WEBHOOK_SECRET=SECRET,
            WEBHOOK_URL=receiver.url,
        )
        try:
            machines = Machines(cluster, store, outcome)
            clients = Clients(machines.webs, outcome)
            busy = Thread(target=clients.start_jobs, args=(sound, jobs, random.Random(seed)))
            busy.start()
            for number, victim in enumerate(victims(kills, moments)):
                # Jobs run at every kill.
                for _ in range(jobs // kills + (number < jobs % kills)):
                    clients.tickets.release()
                time.sleep(moments.uniform(*PAUSE_S))
                machines.kill(victim, moments)
            busy.join()
            clients.wait_and_download()
            with closing(Ledger(postgres, store, outcome)) as ledger:
                ledger.wait_for_webhooks()
                machines.stop_background()
                ledger.check(clients.started, received(receiver))
                ledger.sweep(folder / "sweeper")
        finally:
            cluster.stop()
    outcome.seconds = time.monotonic() - began_s
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    options = parser.parse_args()
    if options.kills < 1:
        parser.error(f"--kills is {options.kills}; it must be at least 1")
    print(f"Seed: {options.seed}.", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        outcome = run(Path(name), options.jobs, options.kills, options.seed)
    lines = [f"Seed {options.seed}.", *outcome.lines()]
    print("\n".join(lines), flush=True)
    if outcome.problems:
        raise SystemExit(1)
    if options.write:
        report.write("scale_kills", "Many machines: random kills", lines)


if __name__ == "__main__":
    main()
