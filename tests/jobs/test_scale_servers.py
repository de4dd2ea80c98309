"""Several processes with one PostgreSQL: they share jobs, and the death of one loses none."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scripts.services.postgres import Postgres
from tests.support.cluster import Cluster, Process
from tests.support.object_store import object_store
from tests.support.server import Server, until
from tests.support.sounds import noise, write_wav

# tests/jobs/test_contract.py and test_scale_store.py are the short proof.
pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@dataclass
class Studio:
    cluster: Cluster
    one: Server
    two: Server
    worker: Process
    song: Path
    # They differ from job to job: an identical request gets the results of an earlier one.
    options: dict[str, Any] = field(default_factory=lambda: {"shifts": 2, "overlap": 0.25})

    def start_long_job(self) -> tuple[str, str]:
        """The file and the job of a separation that runs."""
        self.options["overlap"] += 0.01
        file_id = self.one.upload(self.song)
        job_id = self.one.process(file_id, **self.options).json()["job_id"]
        until(lambda: self.status(file_id)["progress"] > 0)
        return file_id, job_id

    def status(self, file_id: str) -> dict[str, Any]:
        status: dict[str, Any] = self.two.get(f"/status/{file_id}").json()
        return status

    def check_done(self, file_id: str, result: str) -> None:
        """The job of a file is completed, with one result."""
        assert self.two.wait(file_id)["status"] == "completed"
        assert self.cluster.results(file_id) == [result]
        assert self.one.get(f"/download/{file_id}/vocals").content[:4] == b"RIFF"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    postgres = Postgres().start()
    cluster = Cluster(folder, postgres, weights)
    try:
        one, two = cluster.web(), cluster.web()
        cluster.start("keeper")
        # Workers report every two seconds, and the job outlasts several reports.
        song = write_wav(folder / "song.wav", noise(90.0))
        yield Studio(cluster, one, two, cluster.start("worker"), song)
    finally:
        cluster.stop()
        postgres.remove()


@pytest.mark.s3
def test_machines_need_no_shared_disk(
    tmp_path: Path, weights: Path, postgresql: Postgres, short_wav: Path
) -> None:
    """Files are in an object store; a worker dies, and another one separates the song."""
    with object_store(tmp_path / "store") as store:
        cluster = Cluster(tmp_path, postgresql, weights, store.settings("studio"))
        try:
            web, worker = cluster.web(), cluster.start("worker")
            cluster.start("keeper")
            file_id = web.upload(short_wav)
            web.process(file_id, shifts=9)
            until(lambda: web.get(f"/status/{file_id}").json()["progress"] > 0)
            worker.send(signal.SIGKILL)
            cluster.start("worker")
            assert web.wait(file_id)["status"] == "completed"
            assert web.get(f"/download/{file_id}/vocals").content[:4] == b"RIFF"
            mp3 = web.get(f"/download/{file_id}/vocals?format=mp3")
            assert mp3.status_code == 200 and len(mp3.content) > 1_000
            # Nothing of the job is on the machine of the web server but what it has sent.
            assert not (web.outputs / file_id).exists()
            # A second upload of the same song has the same objects.
            again = web.upload(short_wav)
            assert web.process(again, shifts=9).json()["status"] == "completed"
            assert not store.bucket("studio").infos(f"results/{again}/")
            assert web.delete(f"/cleanup/{file_id}").status_code == 200
            assert web.get(f"/download/{again}/vocals").status_code == 200
        finally:
            cluster.stop()


def test_servers_share_jobs(studio: Studio, short_wav: Path) -> None:
    """Equal requests to both make one job, and one cancels what was asked of the other."""
    file_id, job_id = studio.start_long_job()
    assert studio.two.process(file_id, **studio.options).json()["job_id"] == job_id
    assert studio.two.post(f"/cancel/{file_id}").status_code == 200
    assert studio.one.wait(file_id)["status"] == "canceled"
    other = studio.two.upload(short_wav)
    done = studio.one.process(other).json()["job_id"]
    studio.check_done(other, done)
    assert studio.cluster.results(file_id) == []


def test_a_killed_worker_loses_no_job(studio: Studio) -> None:
    file_id, job_id = studio.start_long_job()
    studio.worker.send(signal.SIGKILL)
    studio.worker = studio.cluster.start("worker")
    studio.check_done(file_id, f"{job_id}-2")


def test_a_stopped_worker_returns_its_job(studio: Studio) -> None:
    file_id, job_id = studio.start_long_job()
    assert studio.worker.stop() == 0
    assert studio.status(file_id)["status"] == "queued"
    studio.worker = studio.cluster.start("worker")
    studio.check_done(file_id, f"{job_id}-2")


def test_a_frozen_worker_is_fenced_and_works_again(studio: Studio, short_wav: Path) -> None:
    file_id, job_id = studio.start_long_job()
    studio.worker.send(signal.SIGSTOP)
    other = studio.cluster.start("worker")
    studio.check_done(file_id, f"{job_id}-2")
    assert other.stop() == 0
    studio.worker.send(signal.SIGCONT)
    until(lambda: f"job {job_id} ended" in studio.worker.log.read_text())
    assert studio.cluster.results(file_id) == [f"{job_id}-2"]
    short = studio.one.upload(short_wav)
    studio.check_done(short, studio.one.process(short, shifts=1).json()["job_id"])


def test_jobs_go_on_while_postgresql_restarts(studio: Studio) -> None:
    file_id, job_id = studio.start_long_job()
    studio.cluster.postgres.kill()
    away = studio.one.get(f"/status/{file_id}")
    assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
    assert away.json()["code"] == "storage_unavailable"
    studio.cluster.postgres.start()
    studio.check_done(file_id, job_id)
    studio.check_done(*studio.start_long_job())
