"""A worker that loses its network is fenced, and works again when it is back."""

from pathlib import Path

import pytest

from scripts.services.postgres import Postgres
from tests.support import network
from tests.support.cluster import Cluster
from tests.support.network import Network
from tests.support.server import until
from tests.support.sounds import noise, write_wav

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


def test_a_worker_that_is_cut_off_is_fenced_and_works_again(tmp_path: Path) -> None:
    if not network.is_possible():
        pytest.skip(network.MISSING)
    with Network() as link:
        postgres = Postgres(network.HERE).start()
        cluster = Cluster(
            tmp_path, postgres, tmp_path / "weights", module="bench.sleeping", DEMUCS_MODEL="mini"
        )
        try:
            web = cluster.web()
            cluster.start("keeper")
            remote = postgres.url.replace("127.0.0.1", network.HERE)
            cut_off = cluster.start("worker", *link.command(), DATABASE_URL=remote)
            song = web.upload(write_wav(tmp_path / "song.wav", noise(1.0)))
            job_id = web.process(song, "sleep", seconds=6.0).json()["job_id"]
            until(lambda: web.get(f"/status/{song}").json()["stage"] == "sleeping")
            link.cut()
            other = cluster.start("worker")
            assert web.wait(song)["status"] == "completed"
            assert f"{job_id}-2" in cluster.results(song)
            assert other.stop() == 0
            link.heal()
            until(lambda: f"job {job_id} ended" in cut_off.log.read_text())
            # The worker without a network could still write to the disk.
            until(lambda: cluster.results(song) == [f"{job_id}-2"])
            web.process(song, "sleep", seconds=0.0, number=1)
            assert web.wait(song)["status"] == "completed"
        finally:
            cluster.stop()
            postgres.remove()
